/// Reads a key: 1 to 65535 bytes of UTF-8 without NUL.
@_lifetime(reader: copy reader)
func readKey(_ reader: inout ByteReader) throws(FormatError) -> String {
    let start = UInt64(reader.offset)
    let byteCount = try reader.integer(UInt64.self, "key length")
    guard byteCount >= 1, byteCount <= UInt64(GGUFHeader.maxKeyByteCount) else {
        throw FormatError(
            .invalid(field: "key length", found: "\(byteCount)", expected: "1 to \(GGUFHeader.maxKeyByteCount)"), byteOffset: start)
    }
    return try readText(&reader, byteCount: byteCount, "key", allowsNUL: false)
}

/// Reads a value with the type before it. Arrays are checked in one walk and kept as a slice of the file.
@_lifetime(reader: copy reader)
func readValue(_ reader: inout ByteReader, key: String, file: TensorBytes) throws(FormatError) -> GGUFValue {
    func field() -> String { "value of key '\(key)'" }
    switch try readType(&reader, "type of key '\(key)'") {
    case .u8: return .u8(try reader.integer(field()))
    case .i8: return .i8(try reader.integer(field()))
    case .u16: return .u16(try reader.integer(field()))
    case .i16: return .i16(try reader.integer(field()))
    case .u32: return .u32(try reader.integer(field()))
    case .i32: return .i32(try reader.integer(field()))
    case .u64: return .u64(try reader.integer(field()))
    case .i64: return .i64(try reader.integer(field()))
    case .f32: return .f32(Float(bitPattern: try reader.integer(UInt32.self, field())))
    case .f64: return .f64(Double(bitPattern: try reader.integer(UInt64.self, field())))
    case .bool: return .bool(try reader.integer(UInt8.self, field()) != 0)
    case .string:
        let byteCount = try readStringLength(&reader, field())
        return .string(try readText(&reader, byteCount: byteCount, field(), allowsNUL: true))
    case .array: return .array(try readArray(&reader, field: field(), key: key, file: file))
    }
}

@_lifetime(reader: copy reader)
private func readType(_ reader: inout ByteReader, _ field: @autoclosure () -> String) throws(FormatError) -> GGUFValueType {
    let start = UInt64(reader.offset)
    let number = try reader.integer(UInt32.self, field())
    guard let type = GGUFValueType(rawValue: number) else {
        throw FormatError(.invalid(field: field(), found: "\(number)", expected: "0 to 12"), byteOffset: start)
    }
    return type
}

@_lifetime(reader: copy reader)
private func readArray(
    _ reader: inout ByteReader, field: String, key: String, file: TensorBytes
) throws(FormatError) -> GGUFArray {
    let start = UInt64(reader.offset)
    let type = try readType(&reader, "element type of key '\(key)'")
    let count = try reader.integer(UInt64.self, "array length of key '\(key)'")
    guard count <= GGUFHeader.maxArrayCount else {
        throw FormatError(
            .invalid(field: "array length of key '\(key)'", found: "\(count)", expected: "at most \(GGUFHeader.maxArrayCount)"),
            byteOffset: start)
    }
    let elements = reader.offset
    switch type {
    case .array: throw FormatError(.unsupported(what: "an array of arrays (key '\(key)')"), byteOffset: start)
    case .string:
        // Every string has at least its length, so that an absurd count fails before the loop.
        guard count * 8 <= UInt64(reader.remaining) else {
            throw FormatError(
                .truncated(field: field, needed: count * 8, available: UInt64(reader.remaining)), byteOffset: UInt64(elements))
        }
        for _ in 0..<count {
            let byteCount = try readStringLength(&reader, field)
            let range = try reader.take(byteCount, field)
            guard reader.span.isUTF8(in: range) else { throw notUTF8(field, at: range.lowerBound) }
        }
    default:
        // At most 2^30 elements of at most 8 bytes.
        _ = try reader.take(count * UInt64(type.byteCount ?? 1), field)
    }
    return GGUFArray(elementType: type, count: Int(count), encoded: file[elements..<reader.offset])
}

@_lifetime(reader: copy reader)
func readStringLength(_ reader: inout ByteReader, _ field: @autoclosure () -> String) throws(FormatError) -> UInt64 {
    let start = UInt64(reader.offset)
    let byteCount = try reader.integer(UInt64.self, field())
    guard byteCount <= GGUFHeader.maxStringByteCount else {
        throw FormatError(
            .invalid(
                field: "string length in " + field(), found: "\(byteCount)", expected: "at most \(GGUFHeader.maxStringByteCount)"),
            byteOffset: start)
    }
    return byteCount
}

/// Reads bytes that must be UTF-8.
@_lifetime(reader: copy reader)
func readText(
    _ reader: inout ByteReader, byteCount: UInt64, _ field: @autoclosure () -> String, allowsNUL: Bool
) throws(FormatError) -> String {
    let range = try reader.take(byteCount, field())
    guard let text = reader.span.string(in: range) else { throw notUTF8(field(), at: range.lowerBound) }
    // The reference cuts names at a NUL, which would make two different names one.
    guard allowsNUL || !text.utf8.contains(0) else {
        throw FormatError(.invalid(field: field(), found: text, expected: "no NUL"), byteOffset: UInt64(range.lowerBound))
    }
    return text
}

private func notUTF8(_ field: String, at offset: Int) -> FormatError {
    FormatError(.invalid(field: field, found: "not UTF-8", expected: "UTF-8"), byteOffset: UInt64(offset))
}
