import Formats

/// BPE with ranked merges, from `tokenizer.json` or from the older pair `vocab.json` and `merges.txt`.
extension TokenizerDescription {
    init(bpe source: HuggingFaceTokenizer, preTokenizer: String?) throws(ModelError) {
        let bpe = source.tokenizer?["model"]
        let usesByteFallback = bpe?["byte_fallback"]?.bool ?? false
        for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
            if let affix = bpe?[key]?.string, !affix.isEmpty {
                throw ModelError(.unsupportedTokenizer(what: "its BPE has a \(key)"), path: "tokenizer.json")
            }
        }
        let vocabulary = try source.vocabulary()
        var table = try Vocabulary(entries: vocabulary, path: source.vocabularyPath)
        let merges = try source.merges()
        try checkMerges(merges, table.tokens, path: source.mergesPath)
        try table.add(source.addedTokens, named: source.namedSpecialTokens())

        if usesByteFallback, ["llama", "mistral", "mixtral"].contains(source.modelType), preTokenizer == nil {
            try self.init(sentencePieceLike: table, merges: merges, source: source)
            return
        }
        let isByteLevel = source.hasByteLevelDecoder
        if isByteLevel { table.decodeAddedTokens() }
        self.init(model: .byteLevelBPE, tokens: table.tokens, tokenTypes: table.types, merges: merges)
        if usesByteFallback { markByteTokens() }
        if ["gemma4", "gemma4_text"].contains(source.modelType) {
            model = .characterBPE
            scores = [Float](repeating: -1000, count: tokens.count)
            for text in ["<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", "<|\"|>"] {
                // The chat parser needs to see these, so they must not vanish like other control tokens.
                if let id = StringIndex(tokens).find(text) { tokenTypes[id] = .userDefined }
            }
            return
        }
        if let preTokenizer {
            self.preTokenizer = preTokenizer
        } else {
            let index = StringIndex(tokens)
            self.preTokenizer = try PreTokenizer.name(
                preTokenizer: source.preTokenizer, normalizer: source.normalizer,
                ignoresMerges: bpe?["ignore_merges"]?.bool ?? false, isByteLevel: isByteLevel
            ) { index.find($0) }
        }
    }

    /// Tokens named `<0x00>` ... `<0xFF>` stand for single bytes.
    mutating func markByteTokens() {
        for id in tokens.indices where tokens.byte(at: id) != nil { tokenTypes[id] = .byte }
    }
}

/// A vocabulary being gathered: texts and types by id.
struct Vocabulary {
    var tokens = StringTable()
    var types: [TokenizerDescription.TokenType] = []
    /// Ids of added tokens that are looked for in the text as it came.
    private var rawAddedTokens: [Int] = []

    /// - Parameter entries: texts with their ids, each id once.
    init(entries: [(text: String, id: Int)], path: String) throws(ModelError) {
        // Ids may leave gaps, but a vocabulary of a few tokens does not get to ask for a table of billions.
        let limit = entries.count + 262_144
        var texts: [String?] = []
        for (text, id) in entries {
            guard id >= 0, id < limit else {
                throw ModelError(
                    .invalidKey(key: "id of '\(printable(text))'", found: "\(id)", expected: "0..<\(limit)"), path: path)
            }
            while texts.count <= id { texts.append(nil) }
            if let other = texts[id] {
                throw ModelError(
                    .invalidKey(
                        key: "id of '\(printable(text))'", found: "\(id), which is the id of '\(printable(other))'",
                        expected: "an id of its own"), path: path)
            }
            texts[id] = text
        }
        for (id, text) in texts.enumerated() {
            tokens.append(text ?? "[PAD\(id)]")
            types.append(text == nil ? .unused : .normal)
        }
    }

    /// Puts added tokens in their places: control tokens when special, else user-defined.
    mutating func add(_ added: [HuggingFaceTokenizer.AddedToken], named: Set<ExactString>) throws(ModelError) {
        let limit = tokens.count + added.count + 262_144
        var seen: Set<ExactString> = []
        // A copy per token would be quadratic: changed texts are gathered and the table is made anew.
        var changes: [Int: String] = [:]
        for token in added {
            seen.insert(ExactString(token.content))
            guard token.id < limit else {
                throw ModelError(
                    .invalidKey(
                        key: "id of the added token '\(printable(token.content))'", found: "\(token.id)", expected: "0..<\(limit)"))
            }
            while tokens.count <= token.id {
                tokens.append("[PAD\(tokens.count)]")
                types.append(.unused)
            }
            if types[token.id] == .unused || changes[token.id] != nil {
                if let other = changes[token.id], !(ExactString(other) == ExactString(token.content)) {
                    throw clash(token, with: other)
                }
            } else if !tokens.isEqual(at: token.id, to: token.content) {
                throw clash(token, with: tokens[token.id])
            }
            changes[token.id] = token.content
            if token.isSpecial || looksSpecial(token.content) {
                types[token.id] = .control
            } else {
                types[token.id] = .userDefined
                changes[token.id] = withSpaces(token.content)
            }
            if !token.isNormalized { rawAddedTokens.append(token.id) }
        }
        let index = StringIndex(tokens)
        for name in named where !seen.contains(name) {
            if let id = index.find(name.string), types[id] == .normal { types[id] = .control }
        }
        replace(changes)
    }

    private func clash(_ token: HuggingFaceTokenizer.AddedToken, with other: String) -> ModelError {
        ModelError(
            .invalidKey(
                key: "id of the added token '\(printable(token.content))'",
                found: "\(token.id), which is the id of '\(printable(other))'", expected: "an id of its own"))
    }

    /// Added tokens that are looked for in the raw text are written as the text that they decode to.
    mutating func decodeAddedTokens() {
        var changes: [Int: String] = [:]
        for id in rawAddedTokens { changes[id] = ByteAlphabet.decoded(tokens[id]) }
        replace(changes)
    }

    private mutating func replace(_ changes: [Int: String]) {
        guard changes.contains(where: { !tokens.isEqual(at: $0.key, to: $0.value) }) else { return }
        var table = StringTable()
        for id in tokens.indices { table.append(changes[id] ?? tokens[id]) }
        tokens = table
    }
}

/// The text with SentencePiece's "▁" as spaces, as llama.cpp wants user-defined tokens.
func withSpaces(_ text: String) -> String {
    guard text.unicodeScalars.contains("\u{2581}") else { return text }
    var scalars = String.UnicodeScalarView()
    for scalar in text.unicodeScalars { scalars.append(scalar == "\u{2581}" ? " " : scalar) }
    return String(scalars)
}

extension StringTable {
    /// The byte that a token `<0xNN>` stands for.
    func byte(at index: Int) -> UInt8? {
        let range = range(at: index)
        guard range.count == 6, isEqualPrefix(range.lowerBound), utf8[range.upperBound - 1] == UInt8(ascii: ">"),
            let high = hexDigit(utf8[range.lowerBound + 3]), let low = hexDigit(utf8[range.lowerBound + 4])
        else { return nil }
        return high << 4 | low
    }

    private func isEqualPrefix(_ start: Int) -> Bool {
        utf8[start] == UInt8(ascii: "<") && utf8[start + 1] == UInt8(ascii: "0") && utf8[start + 2] == UInt8(ascii: "x")
    }

    private func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}

/// Checks that a merge's two parts and what they make are tokens: a loader of `tokenizer.json` refuses others.
func checkMerges(_ merges: StringTable, _ tokens: StringTable, path: String?, key: String = "merges") throws(ModelError) {
    let index = StringIndex(tokens)
    var joined: [UInt8] = []
    for merge in merges.indices {
        let range = merges.range(at: merge)
        let separator = merges.separator(at: merge)
        guard let separator else {
            throw ModelError(
                .invalidKey(key: "\(key)[\(merge)]", found: "'\(printable(merges[merge]))'", expected: "two tokens and a space between"),
                path: path)
        }
        let bytes = merges.utf8.span
        joined.removeAll(keepingCapacity: true)
        for offset in range where offset != separator { joined.append(bytes[offset]) }
        let parts = [
            index.find(bytes.extracting(range.lowerBound..<separator)), index.find(bytes.extracting(separator + 1..<range.upperBound)),
            index.find(joined.span),
        ]
        guard !parts.contains(nil) else {
            throw ModelError(
                .invalidKey(
                    key: "\(key)[\(merge)]", found: "'\(printable(merges[merge]))'",
                    expected: "two tokens of the vocabulary that together are a third"), path: path)
        }
    }
}

extension StringTable {
    /// Where the space stands that parts the two tokens of a merge: the first that is not the first byte.
    func separator(at index: Int) -> Int? {
        let range = range(at: index)
        var offset = range.lowerBound + 1
        while offset < range.upperBound - 1 {
            if utf8[offset] == UInt8(ascii: " ") { return offset }
            offset += 1
        }
        return nil
    }
}

extension HuggingFaceTokenizer {
    var vocabularyPath: String { tokenizer == nil ? "vocab.json" : "tokenizer.json" }
    var mergesPath: String { tokenizer == nil ? "merges.txt" : "tokenizer.json" }

    /// Token texts and ids of the model, without added tokens.
    func vocabulary() throws(ModelError) -> [(text: String, id: Int)] {
        let object: JSONObject?
        if let tokenizer {
            object = tokenizer["model"]?["vocab"]?.object
        } else {
            object = try Self.parse("vocab.json", of: files)?.object
        }
        guard let object else { throw ModelError(.missingKey(key: "model.vocab"), path: vocabularyPath) }
        var entries: [(String, Int)] = []
        entries.reserveCapacity(object.count)
        for text in object.keys {
            try entries.append((text, tokenID(object[text], key: "id of '\(printable(text))'", path: vocabularyPath)))
        }
        return entries
    }

    /// The merges as "left right". A space inside a token is written "Ġ", as llama.cpp wants it.
    func merges() throws(ModelError) -> StringTable {
        guard let tokenizer else { return try mergesFile() }
        guard let list = tokenizer["model"]?["merges"]?.array else {
            throw ModelError(.missingKey(key: "model.merges"), path: "tokenizer.json")
        }
        var merges = StringTable()
        for (index, entry) in list.enumerated() {
            switch entry {
            case .string(let text): merges.append(text)
            case .array(let parts) where parts.count == 2 && parts[0].string != nil && parts[1].string != nil:
                merges.append("\(withoutSpaces(parts[0].string ?? "")) \(withoutSpaces(parts[1].string ?? ""))")
            default:
                throw ModelError(
                    .invalidKey(key: "model.merges[\(index)]", found: entry.kind, expected: "a pair of tokens"), path: "tokenizer.json")
            }
        }
        return merges
    }

    private func withoutSpaces(_ text: String) -> String {
        guard text.utf8.contains(UInt8(ascii: " ")) else { return text }
        var scalars = String.UnicodeScalarView()
        for scalar in text.unicodeScalars { scalars.append(scalar == " " ? "\u{120}" : scalar) }
        return String(scalars)
    }

    /// `merges.txt`: a line of comment, then one merge per line.
    private func mergesFile() throws(ModelError) -> StringTable {
        guard let bytes = files.files["merges.txt"] else { throw ModelError(.missingKey(key: "merges.txt")) }
        guard let text = String(validating: bytes.array, as: UTF8.self) else {
            throw ModelError(.invalidKey(key: "merges.txt", found: "bytes that are not UTF-8", expected: "UTF-8"), path: "merges.txt")
        }
        var merges = StringTable()
        for (number, line) in text.utf8.split(omittingEmptySubsequences: false, whereSeparator: { $0 == 0x0A }).enumerated() {
            let parts = line.split { $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }
            if parts.isEmpty || (number == 0 && line.first == UInt8(ascii: "#")) { continue }
            guard parts.count == 2 else {
                throw ModelError(
                    .invalidKey(key: "line \(number + 1)", found: "\(parts.count) words", expected: "two tokens"), path: "merges.txt")
            }
            merges.append("\(Substring(parts[0])) \(Substring(parts[1]))")
        }
        return merges
    }

    /// Whether tokens decode through GPT-2's byte alphabet.
    var hasByteLevelDecoder: Bool {
        guard let tokenizer else { return true }
        func isByteLevel(_ value: JSONValue?) -> Bool {
            value?["type"]?.string == "ByteLevel"
                || (value?["decoders"]?.array ?? value?["pretokenizers"]?.array ?? []).contains { isByteLevel($0) }
        }
        return isByteLevel(tokenizer["decoder"]) || isByteLevel(tokenizer["pre_tokenizer"])
    }

    /// The definition of the pre-tokenizer; for the older pair of files the one that their class has built in.
    var preTokenizer: JSONValue {
        if let tokenizer { return tokenizer["pre_tokenizer"] ?? .null }
        let name = config?["tokenizer_class"]?.string?.hasPrefix("Qwen2") ?? false ? "qwen2" : "gpt-2"
        return (try? PreTokenizer.named(name))?.definition ?? .null
    }

    var normalizer: JSONValue { tokenizer?["normalizer"] ?? .null }
}
