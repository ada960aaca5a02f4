// GGUF, all numbers little-endian (reference: ggml/src/gguf.cpp):
//
//   magic        4 bytes "GGUF"
//   version      u32, 2 or 3 (the same layout)
//   n_tensors    i64
//   n_kv         i64
//   n_kv ×       key: string | type: u32 | value
//   n_tensors ×  name: string | n_dims: u32 | n_dims × i64, fastest dimension first | ggml type: u32 | offset: u64
//   padding      zeros up to general.alignment (default 32)
//   data         each tensor at its offset from here, padded to the alignment, in the order of the infos, no gaps
//
//   string = u64 byte count, UTF-8 bytes. array = element type: u32 | count: u64 | elements. bool = 1 byte.

/// Everything before the tensor data, checked.
struct GGUFHeader: Sendable {
    let version: UInt32
    let metadata: GGUFMetadata
    let alignment: Int
    let tensors: [TensorInfo]
    /// Where each tensor starts, counted from the start of the file.
    let byteOffsets: [Int]
    /// Where the tensor data start.
    let dataOffset: Int

    static let magic: UInt32 = 0x4655_4747  // "GGUF" read as a little-endian number
    static let dataField = "tensor data"
    static let alignmentKey = "general.alignment"
    static let defaultAlignment = 32
    static let maxAlignment = 1 << 20
    /// ggml keeps names in 64 bytes with a NUL at the end.
    static let maxTensorNameByteCount = 63
    static let maxKeyByteCount = 65535
    static let maxRank = 4
    /// What the reference reader accepts at most.
    static let maxStringByteCount: UInt64 = 1 << 30
    static let maxArrayCount: UInt64 = 1 << 30
    // The fewest bytes a key-value pair (one-byte key, one-byte value) and a tensor info (no name, no dimension) take.
    private static let minKeyValueByteCount = 8 + 1 + 4 + 1
    static let minTensorInfoByteCount = 8 + 4 + 4 + 8

    /// Reads and checks the header.
    /// - Parameters:
    ///   - bytes: the file, or a part from its start. Arrays in the metadata share its memory.
    ///   - fileByteCount: bytes of the whole file, which the tensors must lie in.
    /// - Throws: `.truncated` also when `bytes` is a part that ends inside the header.
    init(_ bytes: TensorBytes, fileByteCount: Int) throws(FormatError) {
        var reader = ByteReader(bytes.bytes)
        version = try readVersion(&reader)
        let tensorCount = try readCount(&reader, "n_tensors", minByteCount: Self.minTensorInfoByteCount, fileByteCount)
        let keyCount = try readCount(&reader, "n_kv", minByteCount: Self.minKeyValueByteCount, fileByteCount)

        var metadata = GGUFMetadata()
        for _ in 0..<keyCount {
            let start = reader.offset
            let key = try readKey(&reader)
            guard metadata[key] == nil else {
                throw FormatError(.duplicate(field: "key", name: key), byteOffset: UInt64(start))
            }
            metadata[key] = try readValue(&reader, key: key, file: bytes)
        }
        self.metadata = metadata
        alignment = try Self.alignment(of: metadata)

        var infos = try readTensorInfos(&reader, count: tensorCount, alignment: alignment)
        // The reference pads up to the data only when there are any.
        let dataOffset = tensorCount == 0 ? reader.offset : padded(reader.offset, to: alignment) ?? .max
        guard dataOffset <= fileByteCount else {
            let available = UInt64(max(0, fileByteCount - reader.offset))
            throw FormatError(
                .truncated(field: "padding before the data", needed: UInt64(dataOffset - reader.offset), available: available),
                byteOffset: UInt64(reader.offset))
        }
        for (index, tensor) in infos.tensors.enumerated() {
            // Offsets and sizes were accumulated without overflow, so neither does their distance.
            let start = infos.offsets[index]
            let available = fileByteCount - dataOffset
            guard start <= available, tensor.byteCount <= available - start else {
                throw FormatError(
                    .truncated(field: Self.dataField, needed: UInt64(tensor.byteCount), available: UInt64(max(0, available - start))),
                    tensor: tensor.name, byteOffset: UInt64(dataOffset) + UInt64(start))
            }
            infos.offsets[index] += dataOffset
        }
        self.dataOffset = dataOffset
        tensors = infos.tensors
        byteOffsets = infos.offsets
    }

    /// Where a file ends that pads after its last tensor, or after the header when there are no tensors.
    var paddedEndOffset: Int {
        guard let last = tensors.last, let offset = byteOffsets.last else { return padded(dataOffset, to: alignment) ?? .max }
        // Checked when the infos were read, but counted from the start of the data.
        let (end, overflow) = offset.addingReportingOverflow(last.byteCount)
        return overflow ? .max : padded(end, to: alignment) ?? .max
    }

    /// The alignment that metadata ask for.
    static func alignment(of metadata: GGUFMetadata) throws(FormatError) -> Int {
        guard let value = metadata[alignmentKey] else { return defaultAlignment }
        guard case .u32(let alignment) = value else {
            throw FormatError(.invalid(field: alignmentKey, found: "of type \(value.type)", expected: "a u32"))
        }
        guard alignment > 0, alignment & (alignment - 1) == 0, alignment <= maxAlignment else {
            throw FormatError(
                .invalid(field: alignmentKey, found: "\(alignment)", expected: "a power of two up to \(maxAlignment)"))
        }
        return Int(alignment)
    }
}

/// A byte count rounded up to a multiple of a power of two; `nil` on overflow.
func padded(_ byteCount: Int, to alignment: Int) -> Int? {
    let (sum, overflow) = byteCount.addingReportingOverflow(alignment - 1)
    return overflow ? nil : sum & ~(alignment - 1)
}

@_lifetime(reader: copy reader)
private func readVersion(_ reader: inout ByteReader) throws(FormatError) -> UInt32 {
    let magic = try reader.integer(UInt32.self, "magic")
    guard magic == GGUFHeader.magic else {
        throw FormatError(.invalid(field: "magic", found: "0x" + String(magic.byteSwapped, radix: 16), expected: "GGUF"), byteOffset: 0)
    }
    let version = try reader.integer(UInt32.self, "version")
    if version != 0 && version & 0xFFFF == 0 {
        throw FormatError(.unsupported(what: "a big-endian GGUF file (version \(version.byteSwapped))"), byteOffset: 4)
    }
    guard version == 2 || version == 3 else {
        throw FormatError(.invalid(field: "version", found: "\(version)", expected: "2 or 3"), byteOffset: 4)
    }
    return version
}

/// Reads a count of records and compares it with what the rest of the file could hold, before anyone loops over it.
@_lifetime(reader: copy reader)
private func readCount(
    _ reader: inout ByteReader, _ field: String, minByteCount: Int, _ fileByteCount: Int
) throws(FormatError) -> Int {
    let start = UInt64(reader.offset)
    let count = try reader.integer(Int64.self, field)
    let limit = max(0, fileByteCount - reader.offset) / minByteCount
    guard count >= 0, count <= limit else {
        throw FormatError(
            .invalid(field: field, found: "\(count)", expected: "0 to \(limit), which is all the file has room for"), byteOffset: start)
    }
    return Int(count)
}
