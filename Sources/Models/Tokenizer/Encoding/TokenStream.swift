/// Text from tokens that come one by one. What could still become a character together with later tokens is held back.
public struct TokenStream: Sendable {
    private let tokenizer: Tokenizer
    private let skipsSpecial: Bool
    /// Tokens whose text is still open, after those that only give context.
    private var ids: [Int] = []
    /// How many of `ids` have had their text given out.
    private var given = 0
    private var givenText: [UInt8] = []

    /// - Parameter skipsSpecial: whether special tokens are left out.
    public init(_ tokenizer: Tokenizer, skipsSpecial: Bool = true) {
        self.tokenizer = tokenizer
        self.skipsSpecial = skipsSpecial
    }

    /// Takes a token. - Returns: the text that is now certain, often empty.
    public mutating func append(_ id: Int) -> String {
        ids.append(id)
        let text = tokenizer.decodedBytes(ids, skipsSpecial: skipsSpecial)
        // A token of some bytes of a character reads U+FFFD, or ends in the middle of one.
        guard Self.isWhole(text) || ids.count - given > 16 else { return "" }
        return give(text)
    }

    /// The rest of the text.
    public mutating func finish() -> String {
        guard ids.count > given else { return "" }
        return give(tokenizer.decodedBytes(ids, skipsSpecial: skipsSpecial))
    }

    private mutating func give(_ text: [UInt8]) -> String {
        let fresh = text.dropFirst(givenText.count)
        // What was new now gives context: decoders treat the first token of a text apart.
        ids.removeFirst(given)
        given = ids.count
        givenText = tokenizer.decodedBytes(ids, skipsSpecial: skipsSpecial)
        return String(decoding: fresh, as: UTF8.self)
    }

    private static func isWhole(_ text: [UInt8]) -> Bool {
        if text.suffix(3).elementsEqual([0xEF, 0xBF, 0xBD]) { return false }
        // The last character's first byte tells how many there must be.
        var start = text.count - 1
        while start >= 0, start > text.count - 4, text[start] & 0xC0 == 0x80 { start -= 1 }
        guard start >= 0 else { return true }
        let needed = text[start] < 0xC0 ? 1 : text[start] < 0xE0 ? 2 : text[start] < 0xF0 ? 3 : 4
        return text.count - start >= needed
    }
}
