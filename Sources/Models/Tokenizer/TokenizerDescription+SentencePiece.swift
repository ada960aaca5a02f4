import Formats

/// SentencePiece vocabularies from `tokenizer.model`, with the changes that the JSON files beside it make.
extension TokenizerDescription {
    /// The score that the reference gives to tokens added later.
    private static let addedScore: Float = -1000

    init(sentencePiece file: (name: String, bytes: TensorBytes), source: HuggingFaceTokenizer) throws(ModelError) {
        let model = try SentencePieceModel(parsing: file.bytes, path: file.name)
        // A unigram model of these is written as "llama" all the same, because the reference writes it so.
        let decoders = ["llama", "mistral", "mixtral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "gemma3_text", "phi3"]
        let isUnigram = model.kind == .unigram && !decoders.contains(source.modelType)
        self.init(
            model: isUnigram ? .unigram : .sentencePieceBPE, tokens: model.pieces,
            tokenTypes: model.types.map { $0 == .userDefined ? .normal : $0 })
        scores = model.scores
        originalFiles = [file.name: file.bytes]
        preTokenizer = "default"

        var changes = Changes(limit: source.vocabularySize ?? tokens.count)
        for (content, id) in try source.addedTokensFile() { changes.set(id, content, .userDefined) }
        if isUnigram {
            addSpacePrefix = model.addsDummyPrefix
            removeExtraWhitespaces = model.removesExtraWhitespaces
            precompiledCharsmap = model.precompiledCharsmap
        } else {
            let isPhi = source.modelType == "phi3"
            for (id, entry) in try source.decoderEntries() {
                guard let content = entry["content"]?.string else { continue }
                let isSpecial = entry["special"]?.bool ?? false
                if isPhi {
                    changes.set(id, content, isSpecial ? .control : .userDefined)
                } else if isSpecial || looksSpecial(content) {
                    changes.set(id, content, .control)
                } else {
                    changes.set(id, withSpaces(content), .userDefined)
                }
            }
            if isPhi {
                for token in source.addedTokens { changes.set(token.id, token.content, token.isSpecial ? .control : .userDefined) }
            }
        }
        apply(changes)
    }

    /// Tokens that later files change. Those past the embedding's rows are left out, as the reference does.
    private struct Changes {
        let limit: Int
        var tokens: [Int: (text: String, type: TokenType)] = [:]

        mutating func set(_ id: Int, _ text: String, _ type: TokenType) {
            if id < limit { tokens[id] = (text, type) }
        }
    }

    private mutating func apply(_ changes: Changes) {
        guard let last = changes.tokens.keys.max() else { return }
        var table = StringTable()
        for id in 0..<max(tokens.count, last + 1) {
            if id >= tokenTypes.count {
                tokenTypes.append(.unused)
                scores?.append(-10000)
            }
            if let (text, type) = changes.tokens[id] {
                table.append(text)
                tokenTypes[id] = type
                scores?[id] = Self.addedScore
            } else {
                table.append(id < tokens.count ? tokens[id] : "[PAD\(id)]")
            }
        }
        tokens = table
    }

    /// A SentencePiece vocabulary of which only `tokenizer.json` is left: BPE over characters with byte tokens.
    ///
    /// Its merges were once made from the scores, most important first, so their order gives scores back. llama.cpp's
    /// converter writes -1000 for all, which makes llama.cpp merge from left to right and read other tokens.
    init(sentencePieceLike vocabulary: Vocabulary, merges: StringTable, source: HuggingFaceTokenizer) throws(ModelError) {
        self.init(model: .sentencePieceBPE, tokens: vocabulary.tokens, tokenTypes: vocabulary.types)
        preTokenizer = "default"
        markByteTokens()
        if let unknown = source.tokenizer?["model"]?["unk_token"]?.string, let id = StringIndex(tokens).find(unknown) {
            tokenTypes[id] = .unknown
        }
        scores = try scores(fromMerges: merges)
    }

    /// - Throws: `.unsupportedTokenizer` when scores cannot do what the merges do: SentencePiece merges *any* two tokens that
    ///   make a third, so every such pair must be among the merges, and all pairs that make one token must stand together.
    private func scores(fromMerges merges: StringTable) throws(ModelError) -> [Float] {
        let expected = derivedMerges(order: [Int](repeating: 0, count: tokens.count))
        let index = StringIndex(tokens)
        var scores = tokenTypes.map { $0 == .normal || $0 == .byte || $0 == .unknown ? Float(0) : -1000 }
        var rank = 0
        var last = -1
        var made: Set<Int> = []
        var known: Set<ExactString> = []
        for merge in merges.indices {
            let text = merges[merge]
            var joined = Array(text.utf8)
            if let separator = merges.separator(at: merge) { joined.remove(at: separator - merges.range(at: merge).lowerBound) }
            guard let id = index.find(joined.span) else { continue }
            known.insert(ExactString(text))
            if id != last {
                guard made.insert(id).inserted else { throw notScored("the merges that make '\(printable(tokens[id]))' do not stand together") }
                last = id
                rank += 1
                scores[id] = -Float(rank)
            }
        }
        for merge in expected.indices where !known.contains(ExactString(expected[merge])) {
            throw notScored("'\(printable(expected[merge]))' is no merge although it makes a token")
        }
        return scores
    }

    private func notScored(_ why: String) -> ModelError {
        ModelError(
            .unsupportedTokenizer(
                what: "its merges cannot be written as SentencePiece scores (\(why)); tokenizer.model would tell the scores"),
            path: "tokenizer.json")
    }

    /// All pairs of tokens that make a token, as merges.
    /// - Parameter order: for each token, its place among the tokens that are made (smaller is earlier).
    func derivedMerges(order: [Int]) -> StringTable {
        let index = StringIndex(tokens)
        let isMergeable = tokenTypes.map { $0 == .normal || $0 == .unused }
        let ids = tokens.indices.filter { isMergeable[$0] && !isPadding($0) }.sorted { (order[$0], $0) < (order[$1], $1) }
        let bytes = tokens.utf8.span
        var merges = StringTable()
        for id in ids {
            let range = tokens.range(at: id)
            var split = range.upperBound - 1
            while split > range.lowerBound {
                // Only between characters; the longest left part first, as Hugging Face orders them.
                if bytes[split] & 0xC0 != 0x80, let left = index.find(bytes.extracting(range.lowerBound..<split)), isMergeable[left],
                    let right = index.find(bytes.extracting(split..<range.upperBound)), isMergeable[right]
                {
                    merges.append("\(tokens[left]) \(tokens[right])")
                }
                split -= 1
            }
        }
        return merges
    }
}
