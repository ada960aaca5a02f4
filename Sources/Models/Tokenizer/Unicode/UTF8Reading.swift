/// Reading code points of text that is known to be UTF-8.
extension Span<UInt8> {
    /// The code point that starts at a byte, and how many bytes it takes.
    @inline(__always)
    func scalar(at place: Int) -> (value: UInt32, count: Int) {
        let first = self[place]
        if first < 0x80 { return (UInt32(first), 1) }
        // Bounds are those of valid UTF-8; reading past a cut sequence still stops at the span's end.
        if first < 0xE0 {
            guard place + 1 < count else { return (0xFFFD, 1) }
            return (UInt32(first & 0x1F) << 6 | UInt32(self[place + 1] & 0x3F), 2)
        }
        if first < 0xF0 {
            guard place + 2 < count else { return (0xFFFD, 1) }
            return (UInt32(first & 0xF) << 12 | UInt32(self[place + 1] & 0x3F) << 6 | UInt32(self[place + 2] & 0x3F), 3)
        }
        guard place + 3 < count else { return (0xFFFD, 1) }
        let high = UInt32(first & 7) << 18 | UInt32(self[place + 1] & 0x3F) << 12
        return ((high | UInt32(self[place + 2] & 0x3F) << 6 | UInt32(self[place + 3] & 0x3F)) & 0x1FFFFF, 4)
    }

    /// Where the code point before a byte starts.
    @inline(__always)
    func scalarStart(before place: Int) -> Int {
        var start = place - 1
        while start > 0, self[start] & 0xC0 == 0x80 { start -= 1 }
        return start
    }
}

extension [UInt8] {
    /// Appends a code point as UTF-8.
    mutating func append(scalar: UInt32) {
        switch scalar {
        case 0..<0x80: append(UInt8(scalar))
        case 0x80..<0x800:
            append(UInt8(0xC0 | scalar >> 6))
            append(UInt8(0x80 | scalar & 0x3F))
        case 0x800..<0x10000:
            append(UInt8(0xE0 | scalar >> 12))
            append(UInt8(0x80 | scalar >> 6 & 0x3F))
            append(UInt8(0x80 | scalar & 0x3F))
        default:
            append(UInt8(0xF0 | scalar >> 18 & 7))
            append(UInt8(0x80 | scalar >> 12 & 0x3F))
            append(UInt8(0x80 | scalar >> 6 & 0x3F))
            append(UInt8(0x80 | scalar & 0x3F))
        }
    }

    /// Appends a part of a span.
    mutating func append(_ bytes: Span<UInt8>) {
        // The buffer is only read inside the closure.
        unsafe bytes.withUnsafeBufferPointer { unsafe append(contentsOf: $0) }
    }
}
