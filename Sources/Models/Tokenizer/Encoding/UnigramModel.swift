import Formats

/// SentencePiece's unigram model: of all ways to cut a word into tokens, the one with the highest sum of scores.
///
/// best[e] = max over tokens t that end at e of best[e - |t|] + score(t); a character that is no token counts as unknown, with the
/// lowest score of the vocabulary less 10.
struct UnigramModel: Sendable {
    let vocabulary: TokenVocabulary
    private let scores: [Double]
    private let trie: ByteTrie
    private let unknown: Int?
    private let unknownScore: Double
    private let byteTokens: [Int32]
    private let path: String?

    init(_ part: TokenizerPart) throws(ModelError) {
        let entries = try part.required("vocab")
        guard let list = entries.value.array, !list.isEmpty else { throw entries.invalid(entries.value.kind, expected: "an array of tokens") }
        var texts: [(String, Int)] = []
        var scores: [Double] = []
        var trie = ByteTrie()
        for (id, entry) in list.enumerated() {
            guard let pair = entry.array, pair.count == 2, let text = pair[0].string, let score = pair[1].double, score.isFinite else {
                throw ModelError(
                    .invalidKey(key: "\(entries.key)[\(id)]", found: entry.kind, expected: "a token and its score"), path: part.path)
            }
            texts.append((text, id))
            scores.append(score)
            trie.insert(text.utf8, id)
        }
        vocabulary = try TokenVocabulary(texts, key: entries.key, path: part.path)
        unknown = part["unk_id"] == nil ? nil : try part.integer("unk_id", in: 0...list.count - 1)
        unknownScore = (scores.min() ?? 0) - 10
        byteTokens = try part.bool("byte_fallback", default: false) ? vocabulary.byteTokens() : []
        self.scores = scores
        self.trie = trie
        path = part.path
    }

    /// Reused from word to word.
    struct Scratch {
        fileprivate var best: [Double] = []
        fileprivate var starts: [Int32] = []
        fileprivate var ids: [Int32] = []
    }

    /// - Throws: `.missingKey` for a text with unknown characters when there is no unknown token.
    func encode(_ word: Span<UInt8>, _ scratch: inout Scratch, into result: inout [Int]) throws(ModelError) {
        let count = word.count
        scratch.best = Array(repeating: 0, count: count + 1)
        scratch.starts = Array(repeating: -1, count: count + 1)
        scratch.ids = Array(repeating: -1, count: count + 1)
        func offer(_ scratch: inout Scratch, _ start: Int, _ end: Int, _ id: Int, _ score: Double) {
            let sum = score + scratch.best[start]
            if scratch.starts[end] < 0 || sum > scratch.best[end] {
                scratch.best[end] = sum
                scratch.starts[end] = Int32(start)
                scratch.ids[end] = Int32(id)
            }
        }
        var start = 0
        while start < count {
            let width = word.scalar(at: start).count
            var node = 0, end = start
            var hasSingle = false
            while end < count, let next = trie.next(node, word[end]) {
                node = next
                end += 1
                if let id = trie.value(node) {
                    offer(&scratch, start, end, id, scores[id])
                    if end - start == width { hasSingle = true }
                }
            }
            if !hasSingle {
                guard let unknown else { throw ModelError(.missingKey(key: "model.unk_id"), path: path) }
                offer(&scratch, start, start + width, unknown, unknownScore)
            }
            start += width
        }
        try collect(word, scratch, into: &result)
    }

    /// Goes back from the end; neighbouring unknown characters are one.
    private func collect(_ word: Span<UInt8>, _ scratch: Scratch, into result: inout [Int]) throws(ModelError) {
        var pieces: [Range<Int>] = []
        var end = word.count
        var unknownEnd = -1
        while end > 0 {
            let start = Int(scratch.starts[end])
            if let unknown, Int(scratch.ids[end]) == unknown {
                if unknownEnd < 0 { unknownEnd = end }
            } else {
                if unknownEnd >= 0 { pieces.append(end..<unknownEnd) }
                unknownEnd = -1
                pieces.append(start..<end)
            }
            end = start
        }
        if unknownEnd >= 0 { pieces.append(0..<unknownEnd) }
        for piece in pieces.reversed() {
            let text = word.extracting(piece)
            if let id = vocabulary.find(text) {
                result.append(Int(id))
            } else if !byteTokens.isEmpty, text.indices.allSatisfy({ byteTokens[Int(text[$0])] >= 0 }) {
                for index in text.indices { result.append(Int(byteTokens[Int(text[index])])) }
            } else if let unknown {
                result.append(unknown)
            } else {
                throw ModelError(.missingKey(key: "model.unk_id"), path: path)
            }
        }
    }
}
