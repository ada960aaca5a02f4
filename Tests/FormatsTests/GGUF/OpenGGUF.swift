import Formats

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
