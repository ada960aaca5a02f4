import Formats

/// WordPiece: a word is cut from the left into the longest tokens there are; later ones carry a prefix.
struct WordPieceModel: Sendable {
    let vocabulary: TokenVocabulary
    private let unknown: Int
    private let longestWord: Int
    /// Tokens that can start a word, and those that can go on with it, without their prefix.
    private let starts: ByteTrie, continuations: ByteTrie

    init(_ part: TokenizerPart) throws(ModelError) {
        vocabulary = try TokenVocabulary(object: part.required("vocab"))
        let token = try part.required("unk_token")
        guard let id = try vocabulary.find(token.string) else { throw token.invalid(token.value.kind, expected: "a token of the vocabulary") }
        unknown = Int(id)
        longestWord = part["max_input_chars_per_word"] == nil ? 100 : try part.integer("max_input_chars_per_word", in: 1...Int(Int32.max))
        let prefix = Array(try part.string("continuing_subword_prefix", default: "##").utf8)
        var starts = ByteTrie(), continuations = ByteTrie()
        let texts = vocabulary.texts
        for id in texts.indices {
            let text = texts.utf8[texts.range(at: id)]
            starts.insert(text, id)
            if text.starts(with: prefix) { continuations.insert(text.dropFirst(prefix.count), id) }
        }
        self.starts = starts
        self.continuations = continuations
    }

    func encode(_ word: Span<UInt8>, into result: inout [Int]) {
        let first = result.count
        var characters = 0
        for index in word.indices where word[index] & 0xC0 != 0x80 { characters += 1 }
        guard characters <= longestWord else { return result.append(unknown) }
        var start = 0
        while start < word.count {
            // Tokens and words are whole characters, so what matches ends between two.
            guard let found = (start == 0 ? starts : continuations).longest(in: word, at: start) else {
                result.removeLast(result.count - first)
                return result.append(unknown)
            }
            result.append(found.value)
            start = found.end
        }
    }
}

/// One token per word.
struct WordLevelModel: Sendable {
    let vocabulary: TokenVocabulary
    private let unknown: Int?
    private let path: String?

    init(_ part: TokenizerPart) throws(ModelError) {
        vocabulary = try TokenVocabulary(object: part.required("vocab"))
        unknown = vocabulary.find(try part.string("unk_token", default: "<unk>")).map { Int($0) }
        path = part.path
    }

    /// - Throws: `.missingKey` for an unknown word when there is no unknown token.
    func encode(_ word: Span<UInt8>, into result: inout [Int]) throws(ModelError) {
        guard let id = vocabulary.find(word).map({ Int($0) }) ?? unknown else { throw ModelError(.missingKey(key: "model.unk_token"), path: path) }
        result.append(id)
    }
}

/// `model` of `tokenizer.json`.
enum TokenModel: Sendable {
    case bytePair(BytePairModel), unigram(UnigramModel), wordPiece(WordPieceModel), wordLevel(WordLevelModel)

    init(_ part: TokenizerPart, isByteLevel: Bool) throws(ModelError) {
        // Files older than the key `type` are told by their other members.
        let guess = part["merges"] != nil ? "BPE" : part.value["vocab"]?.array != nil ? "Unigram" : "?"
        let type = try part.string("type", default: guess)
        switch type {
        case "BPE": self = .bytePair(try BytePairModel(part, isByteLevel: isByteLevel))
        case "Unigram": self = .unigram(try UnigramModel(part))
        case "WordPiece": self = .wordPiece(try WordPieceModel(part))
        case "WordLevel": self = .wordLevel(try WordLevelModel(part))
        default: throw part.unknown(type, "model")
        }
    }

    var vocabulary: TokenVocabulary {
        switch self {
        case .bytePair(let model): model.vocabulary
        case .unigram(let model): model.vocabulary
        case .wordPiece(let model): model.vocabulary
        case .wordLevel(let model): model.vocabulary
        }
    }
}
