import Formats

/// `added_tokens` of `tokenizer.json`: texts that are cut out before anything else happens and become one token each.
struct AddedTokens: Sendable {
    struct Token: Sendable {
        var id: Int
        var content: String
        var isSpecial: Bool
        /// Whether it is looked for in the normalized text.
        var isNormalized: Bool
        /// Whether it is only taken where no word character stands beside it.
        var isWord: Bool
        var swallowsLeft: Bool
        var swallowsRight: Bool
    }

    private(set) var tokens: [Token] = []
    private var raw = Finder()
    private var normalized = Finder()

    /// Finds one kind of token in a text.
    struct Finder: Sendable {
        fileprivate var trie = ByteTrie()
        fileprivate var firstBytes = ByteSet()

        var isEmpty: Bool { trie.isEmpty }

        fileprivate mutating func insert(_ content: [UInt8], _ index: Int) {
            guard let first = content.first else { return }
            trie.insert(content, index)
            firstBytes.insert(first)
        }
    }

    init() {}

    init(_ part: TokenizerPart?, normalizer: TextNormalizer) throws(ModelError) {
        var ids: [ExactString: Int] = [:]
        for entry in try part?.elements ?? [] {
            let content = try entry.string("content")
            let id = try entry.integer("id", in: 0...Int(Int32.max) - 1)
            if let other = ids.updateValue(id, forKey: ExactString(content)) {
                guard other == id else {
                    throw entry.invalid("'\(printable(content))' with the id \(id)", expected: "its id \(other) from before")
                }
                continue
            }
            let isSpecial = try entry.bool("special", default: false)
            tokens.append(
                try Token(
                    id: id, content: content, isSpecial: isSpecial, isNormalized: entry.bool("normalized", default: !isSpecial),
                    isWord: entry.bool("single_word", default: false), swallowsLeft: entry.bool("lstrip", default: false),
                    swallowsRight: entry.bool("rstrip", default: false)))
        }
        for (index, token) in tokens.enumerated() {
            if token.isNormalized {
                normalized.insert(normalizer.normalized(Array(token.content.utf8)), index)
            } else {
                raw.insert(Array(token.content.utf8), index)
            }
        }
    }

    /// The tokens of one kind in a text, from left to right, the longest at each place.
    /// - Parameters:
    ///   - isNormalized: which kind.
    ///   - parsesSpecial: whether special tokens are taken too.
    /// - Returns: ids with the ranges that they cover.
    func matches(in text: Span<UInt8>, isNormalized: Bool, parsesSpecial: Bool) -> [(id: Int, range: Range<Int>)] {
        let finder = isNormalized ? normalized : raw
        guard !finder.isEmpty else { return [] }
        var found: [(id: Int, range: Range<Int>)] = []
        var place = 0, lastEnd = 0
        while place < text.count {
            guard finder.firstBytes.contains(text[place]), let match = finder.trie.longest(in: text, at: place) else {
                place += 1
                continue
            }
            let token = tokens[match.value]
            let start = place
            place = match.end
            if !parsesSpecial, token.isSpecial { continue }
            if token.isWord, Self.isWord(text, before: start) || Self.isWord(text, after: match.end) { continue }
            var range = start..<match.end
            if token.swallowsLeft { range = max(lastEnd, Self.spaceStart(text, before: start))..<range.upperBound }
            if token.swallowsRight { range = range.lowerBound..<Self.spaceEnd(text, after: range.upperBound) }
            found.append((token.id, range))
            lastEnd = range.upperBound
        }
        return found
    }

    private static let word = ScalarTable(UnicodeTables.wordSet.union(ScalarSet([0x200C...0x200D])))

    private static func isWord(_ text: Span<UInt8>, before place: Int) -> Bool {
        place > 0 && word.contains(text.scalar(at: text.scalarStart(before: place)).value)
    }

    private static func isWord(_ text: Span<UInt8>, after place: Int) -> Bool {
        place < text.count && word.contains(text.scalar(at: place).value)
    }

    private static func spaceStart(_ text: Span<UInt8>, before place: Int) -> Int {
        var start = place
        while start > 0 {
            let previous = text.scalarStart(before: start)
            guard TextNormalizer.isWhitespace(text.scalar(at: previous).value) else { break }
            start = previous
        }
        return start
    }

    private static func spaceEnd(_ text: Span<UInt8>, after place: Int) -> Int {
        var end = place
        while end < text.count {
            let (scalar, count) = text.scalar(at: end)
            guard TextNormalizer.isWhitespace(scalar) else { break }
            end += count
        }
        return end
    }
}
