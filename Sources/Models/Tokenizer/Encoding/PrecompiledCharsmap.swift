import Formats

/// SentencePiece's compiled normalization rules: a double-array trie of what is replaced, and the replacements.
///
/// | bytes | what |
/// |---|---|
/// | 0..<4 | size of the trie in bytes (little-endian) |
/// | then | the trie: one u32 per node |
/// | the rest | replacements in UTF-8, each closed by a NUL |
///
/// Bits of a node: 0-7 label, 8 has a leaf, 9 scale of the offset, 10-30 offset, 31 is a value.
struct PrecompiledCharsmap: Sendable {
    private let nodes: [UInt32]
    private let replacements: [UInt8]

    /// Bytes of the longest replacement.
    let longestReplacement: Int

    /// - Returns: `nil` for bytes that are not such rules.
    init?(_ bytes: [UInt8]) {
        // Bytes have no padding.
        let raw = unsafe bytes.span.bytes
        guard bytes.count >= 4 else { return nil }
        let size = Int(raw.littleEndian(at: 0) as UInt32)
        guard size % 4 == 0, size > 0, size <= bytes.count - 4 else { return nil }
        nodes = (0..<size / 4).map { raw.littleEndian(at: 4 + 4 * $0) }
        replacements = Array(bytes[(4 + size)...])
        longestReplacement = replacements.split(separator: 0).map(\.count).max() ?? 0
        guard String(validating: replacements, as: UTF8.self) != nil else { return nil }
    }

    private func offset(_ node: UInt32) -> Int { Int((node >> 10) << (node >> 6 & 8)) & 0x3FFF_FFFF }

    /// The replacement of the shortest rule that a text starts with, as the `tokenizers` package takes it.
    private func replacement(_ text: Span<UInt8>) -> Range<Int>? {
        var position = offset(nodes[0])
        for index in text.indices {
            let byte = UInt32(text[index])
            if byte == 0 { return nil }
            position ^= Int(byte)
            guard position < nodes.count else { return nil }
            let node = nodes[position]
            guard node & 0x8000_00FF == byte else { return nil }
            position ^= offset(node)
            guard position < nodes.count else { return nil }
            if node >> 8 & 1 == 1 {
                let start = Int(nodes[position] & 0x7FFF_FFFF)
                guard start <= replacements.count else { return nil }
                return start..<(replacements[start...].firstIndex(of: 0) ?? replacements.count)
            }
        }
        return nil
    }

    /// The text with the rules applied: to whole grapheme clusters of fewer than 6 bytes, else to each code point.
    func normalized(_ text: Span<UInt8>) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(text.count)
        guard let whole = try? UTF8Span(validating: text) else { return result }
        var characters = whole.makeCharacterIterator()
        var start = 0
        while characters.skipForward() == 1 {
            let end = characters.currentCodeUnitOffset
            let grapheme = text.extracting(start..<end)
            if grapheme.count < 6, let found = replacement(grapheme) {
                result += replacements[found]
            } else {
                var place = start
                while place < end {
                    let count = text.scalar(at: place).count
                    let scalar = text.extracting(place..<place + count)
                    if let found = replacement(scalar) { result += replacements[found] } else { result.append(scalar) }
                    place += count
                }
            }
            start = end
        }
        return result
    }
}
