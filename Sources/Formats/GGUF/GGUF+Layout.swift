/// Writing GGUF version 3.
public enum GGUF {
    /// How a model is cut into files.
    public enum Splitting: Sendable, Hashable {
        case none
        /// A new file before the tensor that would bring a file's padded tensor data above this many bytes.
        case maxBytes(Int)
        /// At most this many tensors in a file.
        case maxTensors(Int)
    }

    /// Lays out a model: headers complete, tensors in the given order, each padded to the alignment, the last one too.
    ///
    /// What `GGUFFile` reads from a file that this layout was written to is what was given here, and laying that out
    /// again gives the same bytes.
    /// - Parameters:
    ///   - alignment: a power of two up to 1 MiB, written as `general.alignment` when it is not what the metadata
    ///     already say; `nil` takes theirs, or 32.
    ///   - splitting: how to cut the model; files are then named `NAME-00001-of-0000N.gguf`.
    ///   - name: the name of the single file, or of the split files without their numbers.
    /// - Throws: `.unsupported` for an encoding without a ggml type; `.invalid` or `.duplicate` for names, keys, ranks
    ///   and alignments that GGUF does not allow; `.invalidShape` when sizes overflow.
    public static func layout(
        tensors: [TensorInfo], metadata: GGUFMetadata, alignment: Int? = nil, splitting: Splitting = .none, name: String = ""
    ) throws(FormatError) -> ArtifactLayout {
        var metadata = metadata
        if let alignment, try GGUFHeader.alignment(of: metadata) != alignment {
            metadata[GGUFHeader.alignmentKey] = .u32(UInt32(clamping: alignment))
        }
        let alignment = try GGUFHeader.alignment(of: metadata)
        try check(metadata)
        try check(tensors)

        if splitting == .none {
            // Metadata of a split model's first file would make readers look for the others.
            if let count = metadata[GGUFSplit.countKey]?.integer, count > 1 {
                for key in GGUFSplit.keys { metadata[key] = nil }
            }
            let file = try fileLayout(tensors, 0..<tensors.count, metadata, alignment: alignment, name: name)
            return ArtifactLayout(files: [file])
        }
        let parts = try split(tensors, splitting, alignment: alignment)
        guard parts.count <= Int(UInt16.max) else {
            throw FormatError(.invalid(field: GGUFSplit.countKey, found: "\(parts.count)", expected: "at most \(UInt16.max)"))
        }
        guard let tensorCount = Int32(exactly: tensors.count) else {
            throw FormatError(.invalid(field: GGUFSplit.tensorCountKey, found: "\(tensors.count)", expected: "at most \(Int32.max)"))
        }
        var files: [FileLayout] = []
        for (number, part) in parts.enumerated() {
            var shardMetadata = number == 0 ? metadata : GGUFMetadata()
            // Readers take each file's alignment from that file.
            if number > 0 { shardMetadata[GGUFHeader.alignmentKey] = metadata[GGUFHeader.alignmentKey] }
            // Removed first, so that they stand at the end and in this order, as llama-gguf-split leaves them.
            for key in GGUFSplit.keys { shardMetadata[key] = nil }
            shardMetadata[GGUFSplit.numberKey] = .u16(UInt16(number))
            shardMetadata[GGUFSplit.tensorCountKey] = .i32(tensorCount)
            shardMetadata[GGUFSplit.countKey] = .u16(UInt16(parts.count))
            let path = GGUFSplit.path(prefix: name, number: number, count: parts.count)
            files.append(try fileLayout(tensors, part, shardMetadata, alignment: alignment, name: path))
        }
        return ArtifactLayout(files: files)
    }

    private static func split(
        _ tensors: [TensorInfo], _ splitting: Splitting, alignment: Int
    ) throws(FormatError) -> [Range<Int>] {
        var parts: [Range<Int>] = []
        var start = 0
        var byteCount = 0
        for (index, tensor) in tensors.enumerated() {
            guard let paddedByteCount = padded(tensor.byteCount, to: alignment),
                case let (next, overflow) = byteCount.addingReportingOverflow(paddedByteCount), !overflow
            else { throw overflowing(tensor) }
            let isFull =
                switch splitting {
                case .none: false
                case .maxBytes(let limit): next > limit
                case .maxTensors(let limit): index - start >= limit
                }
            if isFull && index > start {
                parts.append(start..<index)
                start = index
                byteCount = paddedByteCount
            } else {
                byteCount = next
            }
        }
        return parts + [start..<tensors.count]
    }

    private static func fileLayout(
        _ tensors: [TensorInfo], _ range: Range<Int>, _ metadata: GGUFMetadata, alignment: Int, name: String
    ) throws(FormatError) -> FileLayout {
        var header: [UInt8] = []
        header.append(littleEndian: GGUFHeader.magic)
        header.append(littleEndian: UInt32(3))
        header.append(littleEndian: Int64(range.count))
        header.append(littleEndian: Int64(metadata.count))
        for key in metadata.keys {
            guard let value = metadata[key] else { continue }
            header.append(string: key)
            header.append(value)
        }
        var offsets: [Int] = []
        var offset = 0
        for tensor in tensors[range] {
            guard let type = tensor.encoding.ggmlType else {
                throw FormatError(.unsupported(what: "\(tensor.encoding.name) in GGUF"), tensor: tensor.name)
            }
            header.append(string: tensor.name)
            header.append(littleEndian: UInt32(tensor.shape.count))
            for dimension in tensor.shape.reversed() { header.append(littleEndian: Int64(dimension)) }
            header.append(littleEndian: type.rawValue)
            header.append(littleEndian: UInt64(offset))
            offsets.append(offset)
            guard let paddedByteCount = padded(tensor.byteCount, to: alignment),
                case let (next, overflow) = offset.addingReportingOverflow(paddedByteCount), !overflow
            else { throw overflowing(tensor) }
            offset = next
        }
        header.append(contentsOf: repeatElement(0, count: -header.count & (alignment - 1)))
        let (byteCount, overflow) = header.count.addingReportingOverflow(offset)
        guard !overflow else {
            throw FormatError(.invalid(field: "file size", found: "\(header.count) + \(offset)", expected: "at most \(Int.max)"))
        }
        let placed = zip(range, offsets).map { index, offset in
            PlacedTensor(info: tensors[index], byteOffset: header.count + offset, index: index)
        }
        return FileLayout(name: name, header: TensorBytes(header), tensors: placed, byteCount: byteCount)
    }

    private static func overflowing(_ tensor: TensorInfo) -> FormatError {
        FormatError(
            .invalidShape(shape: tensor.shape, encoding: tensor.encoding.name, why: "the offset after it overflows"),
            tensor: tensor.name)
    }

    private static func check(_ metadata: GGUFMetadata) throws(FormatError) {
        for key in metadata.keys {
            guard 1...GGUFHeader.maxKeyByteCount ~= key.utf8.count, !key.utf8.contains(0) else {
                throw FormatError(
                    .invalid(field: "key", found: key, expected: "1 to \(GGUFHeader.maxKeyByteCount) bytes without NUL"))
            }
        }
    }

    private static func check(_ tensors: [TensorInfo]) throws(FormatError) {
        var names: Set<ExactString> = []
        for tensor in tensors {
            let limit = GGUFHeader.maxTensorNameByteCount
            guard tensor.name.utf8.count <= limit, !tensor.name.utf8.contains(0) else {
                throw FormatError(
                    .invalid(field: "tensor name", found: "\(tensor.name.utf8.count) bytes", expected: "at most \(limit) bytes, no NUL"),
                    tensor: tensor.name)
            }
            guard names.insert(ExactString(tensor.name)).inserted else {
                throw FormatError(.duplicate(field: "tensor name", name: tensor.name))
            }
            guard tensor.shape.count <= GGUFHeader.maxRank else {
                throw FormatError(
                    .invalid(field: "rank", found: "\(tensor.shape.count)", expected: "at most \(GGUFHeader.maxRank)"),
                    tensor: tensor.name)
            }
        }
    }
}

extension [UInt8] {
    /// Appends a value with its type before it.
    fileprivate mutating func append(_ value: GGUFValue) {
        append(littleEndian: value.type.rawValue)
        switch value {
        case .u8(let v): append(v)
        case .i8(let v): append(littleEndian: v)
        case .u16(let v): append(littleEndian: v)
        case .i16(let v): append(littleEndian: v)
        case .u32(let v): append(littleEndian: v)
        case .i32(let v): append(littleEndian: v)
        case .u64(let v): append(littleEndian: v)
        case .i64(let v): append(littleEndian: v)
        case .f32(let v): append(littleEndian: v.bitPattern)
        case .f64(let v): append(littleEndian: v.bitPattern)
        case .bool(let v): append(v ? 1 : 0)
        case .string(let v): append(string: v)
        case .array(let v):
            append(littleEndian: v.elementType.rawValue)
            append(littleEndian: UInt64(v.count))
            append(contentsOf: v.encoded.array)
        }
    }
}
