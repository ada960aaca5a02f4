/// A safetensors header that has been checked against the size of its file.
package struct SafetensorsHeader: Sendable {
    /// In the order of their data.
    package private(set) var tensors: [TensorInfo] = []
    /// Where each tensor's data starts, counted from the start of the file.
    package private(set) var byteOffsets: [Int] = []
    package private(set) var metadata: [String: String] = [:]

    /// Reads the header at the start of a whole file's bytes. No tensor data is touched.
    package init(parsing file: RawSpan) throws(FormatError) {
        let fileByteCount = file.byteCount
        guard fileByteCount >= 8 else {
            throw FormatError(.truncated(field: "header length", needed: 8, available: UInt64(fileByteCount)), byteOffset: 0)
        }
        let declared = file.littleEndian(UInt64.self, at: 0)
        guard declared >= 2, declared <= UInt64(Safetensors.maximumHeaderByteCount) else {
            throw FormatError(
                .invalid(field: "header length", found: "\(declared)", expected: "2 to \(Safetensors.maximumHeaderByteCount)"),
                byteOffset: 0)
        }
        let headerByteCount = Int(declared)
        guard headerByteCount <= fileByteCount - 8 else {
            throw FormatError(.truncated(field: "header", needed: declared, available: UInt64(fileByteCount - 8)), byteOffset: 8)
        }
        let first = file.littleEndian(UInt8.self, at: 8)
        guard first == UInt8(ascii: "{") else {
            throw FormatError(
                .invalid(field: "header", found: "the byte 0x\(String(first, radix: 16)) at its start", expected: "'{'"), byteOffset: 8)
        }
        let json = file.extracting(8..<8 + headerByteCount)
        let members = try Self.members(of: json)
        try readTensors(members, dataStart: 8 + headerByteCount, dataByteCount: fileByteCount - 8 - headerByteCount)
    }

    private static func members(of json: RawSpan) throws(FormatError) -> JSONObject {
        let limits = JSONLimits(byteCount: Safetensors.maximumHeaderByteCount)
        do {
            // It starts with a brace, so it is an object.
            return try JSONValue(parsing: json, limits: limits).object ?? JSONObject()
        } catch {
            var error = error
            error.byteOffset = error.byteOffset.map { $0 + 8 }
            if case .duplicate(field: "key", let name) = error.reason, name != Safetensors.metadataKey {
                error.reason = .duplicate(field: "tensor", name: name)
                error.tensor = name
            }
            throw error
        }
    }

    private mutating func readTensors(_ members: JSONObject, dataStart: Int, dataByteCount: Int) throws(FormatError) {
        var entries: [Entry] = []
        entries.reserveCapacity(members.count)
        for name in members.keys {
            guard let value = members[name] else { continue }
            if name.utf8.elementsEqual(Safetensors.metadataKey.utf8) {
                metadata = try Self.metadata(value)
            } else {
                entries.append(try Entry(name: name, value: value, place: entries.count))
            }
        }
        // Empty tensors share their begin with the tensor after them: the shorter comes first, then the header's order decides.
        entries.sort { ($0.begin, $0.end, $0.place) < ($1.begin, $1.end, $1.place) }
        var position = 0
        for entry in entries {
            func invalid(_ expected: String) -> FormatError {
                FormatError(
                    .invalid(field: "data_offsets", found: "[\(entry.begin), \(entry.end)]", expected: expected), tensor: entry.info.name)
            }
            guard entry.end <= dataByteCount else {
                throw FormatError(
                    .truncated(field: "tensor data", needed: UInt64(entry.end), available: UInt64(dataByteCount)),
                    tensor: entry.info.name, byteOffset: UInt64(dataStart))
            }
            guard entry.begin == position else {
                let why = entry.begin > position ? "bytes \(position) to \(entry.begin) belong to no tensor" : "it overlaps the tensor before it"
                throw invalid("a begin of \(position): \(why)")
            }
            guard entry.end - entry.begin == entry.info.byteCount else {
                throw invalid("\(entry.info.byteCount) bytes for \(entry.info.encoding.name) of shape \(entry.info.shape)")
            }
            tensors.append(entry.info)
            byteOffsets.append(dataStart + entry.begin)
            position = entry.end
        }
        guard position == dataByteCount else {
            throw FormatError(
                .invalid(
                    field: "tensor data", found: "\(dataByteCount) bytes",
                    expected: "\(position), the end of the last tensor"), byteOffset: UInt64(dataStart + position))
        }
    }

    private static func metadata(_ value: JSONValue) throws(FormatError) -> [String: String] {
        guard let object = value.object else {
            throw FormatError(.invalid(field: Safetensors.metadataKey, found: value.kind, expected: "an object of strings"))
        }
        var metadata: [String: String] = [:]
        for key in object.keys {
            guard let text = object[key]?.string else {
                throw FormatError(
                    .invalid(field: "\(Safetensors.metadataKey) '\(key)'", found: object[key]?.kind ?? "nothing", expected: "a string"))
            }
            metadata[key] = text
        }
        return metadata
    }
}

/// One tensor of the header, before its place in the data is checked.
private struct Entry {
    var info: TensorInfo
    var begin: Int
    var end: Int
    /// Its place in the header.
    var place: Int

    init(name: String, value: JSONValue, place: Int) throws(FormatError) {
        func invalid(_ field: String, _ found: String, _ expected: String) -> FormatError {
            FormatError(.invalid(field: field, found: found, expected: expected), tensor: name)
        }
        func member(_ key: String) throws(FormatError) -> JSONValue {
            guard let member = value[key] else { throw FormatError(.missing(field: "key", name: key), tensor: name) }
            return member
        }
        func counts(_ key: String) throws(FormatError) -> [Int] {
            let value = try member(key)
            guard let elements = value.array else { throw invalid(key, value.kind, "an array of integers") }
            var counts: [Int] = []
            for element in elements {
                guard let count = element.integer, count >= 0 else {
                    let found = element.kind == "a number" ? element.text() : element.kind
                    throw invalid(key, found, "integers from 0 to \(Int.max)")
                }
                counts.append(count)
            }
            return counts
        }
        guard value.object != nil else { throw invalid("entry", value.kind, "an object with dtype, shape and data_offsets") }
        let dtypeValue = try member("dtype")
        guard let spelling = dtypeValue.string else { throw invalid("dtype", dtypeValue.kind, "a string") }
        guard let dtype = DType(rawValue: spelling) else {
            throw invalid("dtype", "'\(spelling)'", "one of \(DType.allCases.map(\.rawValue).joined(separator: " "))")
        }
        let shape = try counts("shape")
        let offsets = try counts("data_offsets")
        guard offsets.count == 2 else { throw invalid("data_offsets", "\(offsets.count) numbers", "2: begin and end") }
        guard offsets[0] <= offsets[1] else { throw invalid("data_offsets", "\(offsets)", "a begin that is not after the end") }
        self.info = try TensorInfo(name: name, encoding: .plain(dtype), shape: shape)
        (begin, end) = (offsets[0], offsets[1])
        self.place = place
    }
}
