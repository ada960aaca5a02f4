import Formats

/// WordPiece: a word is cut from the left into the longest tokens there are; later ones carry a prefix.
struct WordPieceModel: Sendable {
    let vocabulary: TokenVocabulary
    private let unknown: Int
    private let prefix: [UInt8]
    private let longestWord: Int

    init(_ part: TokenizerPart) throws(ModelError) {
        vocabulary = try TokenVocabulary(object: part.required("vocab"))
        let token = try part.required("unk_token")
        guard let id = try vocabulary.find(token.string) else { throw token.invalid(token.value.kind, expected: "a token of the vocabulary") }
        unknown = Int(id)
        prefix = Array(try part.string("continuing_subword_prefix", default: "##").utf8)
        longestWord = part["max_input_chars_per_word"] == nil ? 100 : try part.integer("max_input_chars_per_word", in: 1...10_000)
    }

    func encode(_ word: Span<UInt8>, into result: inout [Int]) {
        let first = result.count
        var characters = 0
        for index in word.indices where word[index] & 0xC0 != 0x80 { characters += 1 }
        guard characters <= longestWord else { return result.append(unknown) }
        var start = 0
        var piece: [UInt8] = []
        while start < word.count {
            var end = word.count
            var found: Int32?
            while end > start {
                piece.removeAll(keepingCapacity: true)
                if start > 0 { piece += prefix }
                piece.append(word.extracting(start..<end))
                found = vocabulary.find(piece.span)
                if found != nil { break }
                end = word.scalarStart(before: end)
            }
            guard let found else {
                result.removeLast(result.count - first)
                return result.append(unknown)
            }
            result.append(Int(found))
            start = end
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
