extension RawSpan {
    /// Whether a range of bytes is well-formed UTF-8. Makes no `String`.
    package func isUTF8(in range: Range<Int>) -> Bool {
        var offset = range.lowerBound
        // Most text in model files is ASCII: eight bytes at a time, none with its top bit set.
        while range.upperBound - offset >= 8 {
            guard littleEndian(UInt64.self, at: offset) & 0x8080_8080_8080_8080 == 0 else { break }
            offset += 8
        }
        while offset < range.upperBound, littleEndian(UInt8.self, at: offset) < 0x80 { offset += 1 }
        guard offset < range.upperBound else { return true }
        return extracting(offset..<range.upperBound).withUTF8 { _ in true } ?? false
    }

    /// The text of a range of bytes, or `nil` when it is not UTF-8.
    package func string(in range: Range<Int>) -> String? {
        extracting(range).withUTF8 { String(copying: $0) }
    }

    /// Calls `body` with the bytes as text, or returns `nil` when they are not UTF-8.
    private func withUTF8<Result>(_ body: (UTF8Span) -> Result) -> Result? {
        unsafe withUnsafeBytes { buffer in
            // Bytes of any value may be seen as UInt8; the span is used inside the closure only.
            let bytes = unsafe buffer.bindMemory(to: UInt8.self)
            guard let text = try? UTF8Span(validating: unsafe bytes.span) else { return nil }
            return body(text)
        }
    }
}
