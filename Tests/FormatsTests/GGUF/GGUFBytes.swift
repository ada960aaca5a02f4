import Formats

/// A GGUF file put together by hand, field by field, so that it can be as wrong as a test wants.
struct GGUFBytes {
    var bytes: [UInt8] = []

    init(magic: String = "GGUF", version: UInt32 = 3, tensors: Int64 = 0, keys: Int64 = 0) {
        bytes += Array(magic.utf8)
        append(version)
        append(tensors)
        append(keys)
    }

    mutating func append<T: FixedWidthInteger>(_ number: T) {
        var rest = number
        for _ in 0..<MemoryLayout<T>.size {
            bytes.append(UInt8(truncatingIfNeeded: rest))
            rest >>= T(8)
        }
    }

    mutating func append(_ string: String) {
        append(UInt64(string.utf8.count))
        bytes += Array(string.utf8)
    }

    /// A key, its type and the bytes of its value.
    mutating func key(_ key: String, type: UInt32, _ value: [UInt8]) {
        append(key)
        append(type)
        bytes += value
    }

    mutating func alignment(_ alignment: UInt32) {
        append("general.alignment")
        append(UInt32(4))
        append(alignment)
    }

    /// A tensor info; dimensions in the order of the file, fastest first.
    mutating func tensor(_ name: String, dimensions: [Int64], type: UInt32 = 0, offset: UInt64 = 0) {
        append(name)
        append(UInt32(dimensions.count))
        for dimension in dimensions { append(dimension) }
        append(type)
        append(offset)
    }

    mutating func pad(to alignment: Int) {
        while bytes.count % alignment != 0 { bytes.append(0) }
    }
}

/// Opens bytes as a GGUF file called `m.gguf`.
func openGGUF(_ bytes: [UInt8]) throws(FormatError) -> GGUFFile { try GGUFFile(TensorBytes(bytes), path: "m.gguf") }

extension GGUFFile {
    var metadata: GGUFMetadata {
        guard case .gguf(let metadata) = manifest.metadata else { fatalError("a GGUF file with other metadata") }
        return metadata
    }
}

extension FileLayout {
    /// The whole file, with tensors filled in by their place in the list that was laid out.
    func assembled(_ content: (Int) throws -> [UInt8]) rethrows -> [UInt8] {
        var bytes = header.array + [UInt8](repeating: 0, count: byteCount - header.count)
        for tensor in tensors {
            let data = try content(tensor.index)
            precondition(data.count == tensor.info.byteCount)
            bytes.replaceSubrange(tensor.byteOffset..<tensor.byteOffset + data.count, with: data)
        }
        return bytes
    }
}
