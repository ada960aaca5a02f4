/// Where everything will stand in a set of output files, known completely before the first byte is written.
///
/// Containers turn tensor infos and metadata into a layout; a writer then fills the tensors in, in any order and in
/// parallel. Bytes that no header and no tensor covers are zeros (alignment padding).
public struct ArtifactLayout: Sendable {
    public var files: [FileLayout]

    public init(files: [FileLayout]) { self.files = files }

    /// Folders inside the output folder that files are in, each once.
    public var folders: [String] {
        Set(files.compactMap { $0.name.contains("/") ? String($0.name.prefix { $0 != "/" }) : nil }).sorted()
    }

    /// Bytes of all files together.
    public var byteCount: Int { files.reduce(0) { $0 + $1.byteCount } }
}

/// One output file: its header, and the place of each tensor.
public struct FileLayout: Sendable {
    /// The file's name inside the output folder, or empty when the output path is itself the file.
    public var name: String
    /// The bytes at the start of the file. For side files (JSON, tokenizer) that is all there is.
    public var header: TensorBytes
    public var tensors: [PlacedTensor]
    /// Bytes of the whole file, padding included.
    public var byteCount: Int

    public init(name: String, header: TensorBytes, tensors: [PlacedTensor], byteCount: Int) {
        self.name = name
        self.header = header
        self.tensors = tensors
        self.byteCount = byteCount
    }
}

/// A tensor and the byte offset of its data, counted from the start of its file.
public struct PlacedTensor: Sendable, Hashable {
    public var info: TensorInfo
    public var byteOffset: Int
    /// The tensor's place in the list the layout was made from.
    public var index: Int

    public init(info: TensorInfo, byteOffset: Int, index: Int) {
        self.info = info
        self.byteOffset = byteOffset
        self.index = index
    }
}
