/// Opens whatever stands at a path, going by its content and not by its name.
///
/// | at the start | opened as |
/// |---|---|
/// | a folder | `HuggingFaceDirectory` |
/// | `GGUF` | `GGUFFile` |
/// | a zstd frame | `GGUFZstFile` |
/// | `{` at byte 8, after a small number | `SafetensorsFile` |
/// | `{` at byte 0 | `SafetensorsShards`, by its index |
/// - Throws: `FormatError` naming the path. FIFOs and devices are refused at once; nothing waits for them.
public func openTensorSource(at path: String) throws(FormatError) -> any TensorSource {
    if isFolder(path) { return try HuggingFaceDirectory(path: path) }
    let file = try MappedFile(path: path)
    switch containerKind(file.bytes.bytes) {
    case .safetensors: return try SafetensorsFile(file: file)
    case .safetensorsIndex: return try SafetensorsShards(indexPath: path)
    case .gguf: return try GGUFFile(file.bytes, path: path)
    case .zstd: return try GGUFZstFile(file.bytes, path: path)
    case nil:
        // The name only chooses the better message.
        if path.hasSuffix(".safetensors") { return try SafetensorsFile(file: file) }
        let found = file.byteCount == 0 ? "an empty file" : "something else"
        throw FormatError(
            .invalid(field: "the file", found: found, expected: "safetensors, its index, GGUF, .gguf.zst or a model folder"), path: path)
    }
}

private enum ContainerKind { case safetensors, safetensorsIndex, gguf, zstd }

private func containerKind(_ bytes: RawSpan) -> ContainerKind? {
    guard bytes.byteCount >= 4 else { return nil }
    if bytes.littleEndian(UInt32.self, at: 0) == GGUFHeader.magic { return .gguf }
    if bytes.littleEndian(UInt32.self, at: 0) == ZstdFrame.magic { return .zstd }
    guard bytes.byteCount >= 9 else { return nil }
    let brace = UInt8(ascii: "{")
    // A header length has a zero byte above its 27 bits; text never does.
    if bytes.littleEndian(UInt8.self, at: 0) == brace, bytes.littleEndian(UInt32.self, at: 4) != 0 { return .safetensorsIndex }
    return bytes.littleEndian(UInt8.self, at: 8) == brace ? .safetensors : nil
}
