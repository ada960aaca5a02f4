/// One mapped safetensors file.
public final class SafetensorsFile: TensorSource {
    public let manifest: Manifest
    public let files: [SourceFile]
    /// The `__metadata__` map.
    public let metadata: [String: String]
    private let bytes: TensorBytes

    /// Maps a file and checks its header; no tensor data is read.
    /// - Throws: `FormatError` naming the file, and the tensor where one is wrong.
    public convenience init(path: String) throws(FormatError) {
        try self.init(file: try MappedFile(path: path))
    }

    init(file: MappedFile) throws(FormatError) {
        let bytes = file.bytes
        let header: SafetensorsHeader
        do {
            header = try SafetensorsHeader(parsing: bytes.bytes)
        } catch {
            throw error.at(path: file.path)
        }
        self.bytes = bytes
        self.files = [SourceFile(path: file.path, byteCount: file.byteCount)]
        self.metadata = header.metadata
        self.manifest = Manifest(
            format: .safetensors, tensors: header.tensors, metadata: .safetensors(header.metadata), byteOffsets: header.byteOffsets)
    }

    public func bytes(ofTensorAt index: Int) throws(FormatError) -> TensorBytes {
        // The header's check has put every tensor inside the file.
        let offset = manifest.byteOffsets[index]
        return bytes[offset..<offset + manifest.tensors[index].byteCount]
    }
}
