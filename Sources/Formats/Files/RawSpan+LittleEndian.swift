extension RawSpan {
    /// The little-endian integer at a byte offset, which need not be aligned.
    /// - Precondition: the integer lies inside the span.
    @inline(always)
    package func littleEndian<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type = T.self, at offset: Int) -> T {
        // Any bit pattern is a valid integer, and the load checks its bounds.
        T(littleEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: type))
    }
}

extension [UInt8] {
    /// The elements as raw bytes, valid while the array is.
    var rawBytes: RawSpan {
        @_lifetime(borrow self)
        get {
            // UInt8 has no padding, so every byte is initialized.
            unsafe span.bytes
        }
    }
}

/// Reads fields one after another and knows where it is, so that every error can say what ended where.
package struct ByteReader: ~Escapable {
    package let span: RawSpan
    /// Bytes from the start of the span to the next field.
    package private(set) var offset: Int

    @_lifetime(copy span)
    package init(_ span: RawSpan, offset: Int = 0) {
        precondition(offset >= 0 && offset <= span.byteCount, "reader outside its bytes")
        self.span = span
        self.offset = offset
    }

    /// Bytes after `offset`.
    package var remaining: Int { span.byteCount - offset }

    /// The next little-endian integer.
    /// - Throws: `.truncated` with the field's name and offset.
    @_lifetime(self: copy self)
    package mutating func integer<T: FixedWidthInteger & BitwiseCopyable>(
        _ type: T.Type, _ field: @autoclosure () -> String
    ) throws(FormatError) -> T {
        let range = try take(UInt64(MemoryLayout<T>.size), field())
        return span.littleEndian(type, at: range.lowerBound)
    }

    /// The next little-endian integer, of the type that the caller needs.
    @_lifetime(self: copy self)
    package mutating func integer<T: FixedWidthInteger & BitwiseCopyable>(
        _ field: @autoclosure () -> String
    ) throws(FormatError) -> T {
        try integer(T.self, field())
    }

    /// Steps over `byteCount` bytes, a number that may come straight from a file.
    /// - Returns: where they stand in `span`.
    /// - Throws: `.truncated` with the field's name and offset.
    @_lifetime(self: copy self)
    package mutating func take(_ byteCount: UInt64, _ field: @autoclosure () -> String) throws(FormatError) -> Range<Int> {
        guard byteCount <= UInt64(remaining) else {
            let reason = FormatError.Reason.truncated(field: field(), needed: byteCount, available: UInt64(remaining))
            throw FormatError(reason, byteOffset: UInt64(offset))
        }
        let start = offset
        offset += Int(byteCount)
        return start..<offset
    }
}
