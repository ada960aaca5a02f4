/// An opened GGUF model: one file, or all the files of a split one.
///
/// Opening checks every header as strictly as llama.cpp does and reads no tensor data; tensors are slices of the
/// mapped files. Dimensions are outermost first here (the file has them reversed).
public struct GGUFFile: TensorSource {
    public let manifest: Manifest
    public let files: [SourceFile]
    /// The format version of the (first) file: 2 or 3.
    public let version: UInt32
    /// The file of each tensor, as an index into `files`; same order as `manifest.tensors`.
    public let fileIndices: [Int]
    private let contents: [TensorBytes]

    /// Opens a model. Any file of a split model opens all of them, in order.
    /// - Throws: `FormatError` naming the file, and the key or tensor, that is wrong; `.missing` for a lost shard.
    public init(path: String) throws(FormatError) {
        let file = try MappedFile(path: path)
        try self.init(file.bytes, path: path)
    }

    /// Opens a model from bytes that are already in memory. Other files of a split model are looked for beside `path`.
    package init(_ bytes: TensorBytes, path: String) throws(FormatError) {
        let opened = try GGUFShard(bytes, path: path)
        guard let split = try opened.split() else {
            self.init([opened], metadata: opened.header.metadata)
            return
        }
        let shards = try split.openAll(from: opened)
        var metadata = shards[0].header.metadata
        // The model as a whole is not split; these keys speak of single files.
        for key in GGUFSplit.keys { metadata[key] = nil }
        self.init(shards, metadata: metadata)
    }

    private init(_ shards: [GGUFShard], metadata: GGUFMetadata) {
        let headers = shards.map(\.header)
        manifest = Manifest(
            format: .gguf, tensors: headers.flatMap(\.tensors), metadata: .gguf(metadata),
            byteOffsets: headers.flatMap(\.byteOffsets))
        files = shards.map { SourceFile(path: $0.path, byteCount: $0.bytes.count) }
        version = headers[0].version
        fileIndices = headers.enumerated().flatMap { index, header in [Int](repeating: index, count: header.tensors.count) }
        contents = shards.map(\.bytes)
    }

    public func bytes(ofTensorAt index: Int) throws(FormatError) -> TensorBytes {
        // Offsets and sizes were compared with the file when it was opened.
        let start = manifest.byteOffsets[index]
        return contents[fileIndices[index]][start..<start + manifest.tensors[index].byteCount]
    }
}

/// One GGUF file with its header read.
struct GGUFShard {
    let path: String
    let bytes: TensorBytes
    let header: GGUFHeader

    init(path: String) throws(FormatError) {
        let file = try MappedFile(path: path)
        try self.init(file.bytes, path: path)
    }

    init(_ bytes: TensorBytes, path: String) throws(FormatError) {
        self.path = path
        self.bytes = bytes
        do throws(FormatError) {
            header = try GGUFHeader(bytes, fileByteCount: bytes.count)
        } catch {
            throw error.at(path: path)
        }
    }

    /// How this file says the model is split; `nil` when it is whole.
    func split() throws(FormatError) -> GGUFSplit? {
        do throws(FormatError) {
            return try GGUFSplit(header.metadata, path: path)
        } catch {
            throw error.at(path: path)
        }
    }
}
