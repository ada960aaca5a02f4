/// Tensors that can be read one by one: an opened file, a set of shards, or a model directory.
///
/// Opening a source validates its headers and reads no tensor data.
public protocol TensorSource: Sendable {
    /// The tensors, in the order of the file, and the metadata beside them.
    var manifest: Manifest { get }
    /// The files that were opened, in order, for hashing and for messages.
    var files: [SourceFile] { get }
    /// The bytes of one tensor, by its place in `manifest.tensors`. Mapped files give a slice and read nothing yet.
    /// - Throws: `FormatError` when a compressed source is damaged.
    func bytes(ofTensorAt index: Int) throws(FormatError) -> TensorBytes
    /// A part of one tensor's bytes; compressed sources unpack no more than the frames it lies in.
    func bytes(ofTensorAt index: Int, in range: Range<Int>) throws(FormatError) -> TensorBytes
}

extension TensorSource {
    public func bytes(ofTensorAt index: Int, in range: Range<Int>) throws(FormatError) -> TensorBytes {
        try bytes(ofTensorAt: index)[range]
    }
}

/// One file behind a source.
public struct SourceFile: Sendable, Hashable {
    public let path: String
    public let byteCount: Int

    public init(path: String, byteCount: Int) {
        self.path = path
        self.byteCount = byteCount
    }
}

/// What a container holds, known from its headers alone.
public struct Manifest: Sendable {
    /// The kind of container, e.g. `gguf`.
    public var format: ContainerFormat
    public var tensors: [TensorInfo]
    public var metadata: ContainerMetadata
    /// Where each tensor's bytes start, counted from the start of its file; same order as `tensors`.
    public var byteOffsets: [Int]

    public init(format: ContainerFormat, tensors: [TensorInfo], metadata: ContainerMetadata, byteOffsets: [Int]) {
        self.format = format
        self.tensors = tensors
        self.metadata = metadata
        self.byteOffsets = byteOffsets
    }
}

/// The containers this project reads and writes.
public enum ContainerFormat: String, Sendable, Hashable, CaseIterable {
    case safetensors
    case gguf
    case ggufZst = "gguf.zst"
    /// A Hugging Face model directory: safetensors shards with JSON files beside them.
    case huggingFace = "huggingface"
}

/// Metadata as its container keeps it.
public enum ContainerMetadata: Sendable {
    case gguf(GGUFMetadata)
    /// The `__metadata__` map of a safetensors file.
    case safetensors([String: String])
    /// The small files of a model directory (config, tokenizer, template), by name.
    case huggingFace(HuggingFaceFiles)
}
