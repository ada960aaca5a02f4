import Formats

/// What is wrong with a protocol-buffer message.
struct ProtobufError: Error {
    var field: String
    var found: String
    var expected: String
}

/// Walks over the fields of one protocol-buffer message. Lengths are checked against the message; nothing is allocated.
struct ProtobufReader: ~Escapable {
    enum Value {
        case varint(UInt64), fixed64(UInt64), fixed32(UInt32)
        /// Where the bytes stand in the file.
        case bytes(Range<Int>)
    }

    private let span: RawSpan
    private var offset: Int
    private let end: Int

    @_lifetime(copy span)
    init(_ span: RawSpan, _ range: Range<Int>? = nil) {
        self.span = span
        offset = range?.lowerBound ?? 0
        end = range?.upperBound ?? span.byteCount
    }

    /// The next field, or `nil` at the end of the message.
    @_lifetime(self: copy self)
    mutating func next() throws(ProtobufError) -> (number: Int, value: Value)? {
        guard offset < end else { return nil }
        let start = offset
        let key = try varint()
        guard let number = Int32(exactly: key >> 3), number > 0 else {
            throw ProtobufError(field: "byte \(start)", found: "field number \(key >> 3)", expected: "a number of 29 bits, not 0")
        }
        let value: Value
        switch key & 7 {
        case 0: value = .varint(try varint())
        case 1: value = .fixed64(span.littleEndian(at: try take(8).lowerBound))
        case 2: value = .bytes(try take(varint()))
        case 5: value = .fixed32(span.littleEndian(at: try take(4).lowerBound))
        default: throw ProtobufError(field: "byte \(start)", found: "wire type \(key & 7)", expected: "0, 1, 2 or 5")
        }
        return (Int(number), value)
    }

    /// The text in a range that `next` gave.
    func text(_ range: Range<Int>, _ field: String) throws(ProtobufError) -> String {
        guard let utf8 = try? UTF8Span(validating: Span<UInt8>(_bytes: span.extracting(range))) else {
            throw ProtobufError(field: field, found: "bytes that are not UTF-8", expected: "UTF-8")
        }
        return String(copying: utf8)
    }

    @_lifetime(self: copy self)
    private mutating func varint() throws(ProtobufError) -> UInt64 {
        let start = offset
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 70, by: 7) {
            let byte: UInt8 = span.littleEndian(at: try take(1).lowerBound)
            if shift == 63, byte > 1 { break }
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
        }
        throw ProtobufError(field: "byte \(start)", found: "a varint past 64 bits", expected: "at most 64 bits")
    }

    @_lifetime(self: copy self)
    private mutating func take(_ count: UInt64) throws(ProtobufError) -> Range<Int> {
        guard count <= UInt64(end - offset) else {
            throw ProtobufError(field: "byte \(offset)", found: "\(end - offset) bytes left", expected: "\(count)")
        }
        let start = offset
        offset += Int(count)
        return start..<offset
    }
}

/// Writes the fields of one protocol-buffer message.
struct ProtobufWriter {
    private(set) var bytes: [UInt8] = []

    mutating func append(_ number: Int, varint value: UInt64) {
        append(varint: UInt64(number) << 3)
        append(varint: value)
    }

    mutating func append(_ number: Int, float value: Float) {
        append(varint: UInt64(number) << 3 | 5)
        for shift in stride(from: UInt32(0), to: 32, by: 8) { bytes.append(UInt8(truncatingIfNeeded: value.bitPattern >> shift)) }
    }

    mutating func append(_ number: Int, bytes content: [UInt8]) {
        append(varint: UInt64(number) << 3 | 2)
        append(varint: UInt64(content.count))
        bytes += content
    }

    mutating func append(_ number: Int, text: String) { append(number, bytes: Array(text.utf8)) }

    private mutating func append(varint value: UInt64) {
        var value = value
        while value >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: value) | 0x80)
            value >>= 7
        }
        bytes.append(UInt8(value))
    }
}
