// The older form, little-endian, without a magic number:
//
//     i32 number of entries; of each: i32 length and bytes of the name, i32 calls, i32 number of values, the values as f32
//     then, in all but the first versions: i32 number of chunks, i32 length and bytes of the text's file name
//
// The values are mean squares times the calls, so they are divided by those.

extension ImportanceMatrix {
    init(legacy bytes: TensorBytes) throws(FormatError) {
        self.init()
        var reader = ByteReader(bytes.bytes)
        let entryCount = try reader.integer(Int32.self, "the number of entries of an importance matrix")
        guard entryCount > 0 else {
            throw FormatError(.invalid(field: "number of entries of an importance matrix", found: "\(entryCount)", expected: "1 or more"))
        }
        for index in 1...entryCount {
            let name = try ImportanceMatrix.text(&reader, "name of entry \(index)")
            guard !name.isEmpty else { throw FormatError(.invalid(field: "name of entry \(index)", found: "nothing", expected: "a name")) }
            do throws(FormatError) {
                let calls = try reader.integer(Int32.self, "calls of entry \(index)")
                let count = try reader.integer(Int32.self, "number of values of entry \(index)")
                guard count > 0 else {
                    throw FormatError(.invalid(field: "number of values", found: "\(count)", expected: "1 or more"))
                }
                let range = try reader.take(UInt64(count) * 4, "values of entry \(index)")
                let sums = (0..<Int(count)).map { Float(bitPattern: bytes.bytes.littleEndian(at: range.lowerBound + 4 * $0)) }
                // Without calls the values are the mean squares themselves.
                try add(name, Entry(sums: sums, counts: [max(1, Int(calls))]))
            } catch {
                throw FormatError(error.reason, tensor: name, byteOffset: error.byteOffset)
            }
        }
        guard reader.remaining > 0 else { return }
        chunkCount = max(0, Int(try reader.integer(Int32.self, "number of chunks")))
        guard reader.remaining > 0 else { return }
        let dataset = try ImportanceMatrix.text(&reader, "name of the text")
        if !dataset.isEmpty { datasets = [dataset] }
    }

    private static func text(_ reader: inout ByteReader, _ field: String) throws(FormatError) -> String {
        let length = try reader.integer(Int32.self, "length of the " + field)
        guard length >= 0 else {
            throw FormatError(.invalid(field: "length of the " + field, found: "\(length)", expected: "0 or more"))
        }
        let range = try reader.take(UInt64(length), field)
        guard let text = reader.span.string(in: range), !text.utf8.contains(0) else {
            throw FormatError(.invalid(field: field, found: "other bytes", expected: "UTF-8 without NUL"), byteOffset: UInt64(range.lowerBound))
        }
        return text
    }
}
