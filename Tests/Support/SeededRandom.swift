/// SplitMix64: the same numbers from the same seed on every machine.
public struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64

    public init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 0x1234_5678_9ABC_DEF1 }

    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    public mutating func next(below bound: Int) -> Int { Int(next() % UInt64(bound)) }

    public mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) } }

    /// A short text with control characters, quotes, combining marks and characters of every UTF-8 length in it.
    public mutating func text() -> String {
        let alphabet: [Unicode.Scalar] = [
            "a", "b", "Z", "0", ".", "_", " ", "/", "\"", "\\", "\n", "\t", "\0", "\u{1}", "\u{7f}", "é", "e\u{301}".unicodeScalars.last!, "ß",
            "Ġ", "▁", "語", "\u{2028}", "\u{fffd}", "😀", "\u{10ffff}",
        ]
        var text = ""
        for _ in 0..<next(below: 12) { text.unicodeScalars.append(alphabet[next(below: alphabet.count)]) }
        return text
    }
}
