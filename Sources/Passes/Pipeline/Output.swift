import Formats

/// What is written, and where.
public struct Output: Sendable {
    public var path: String
    /// What lays the model out, and what recipes call it.
    public let exporter: any Exporter
    public let formatName: String
    /// Largest size of one file; the model is split when it is larger.
    public var shardByteCount: Int?
    /// zstd level of `.gguf.zst`.
    public var compressionLevel: Int
    /// Uncompressed bytes of one frame of `.gguf.zst`.
    public var frameByteCount: Int

    /// In a format of ours.
    public init(
        path: String, format: ContainerFormat, shardByteCount: Int? = nil, compressionLevel: Int = 3,
        frameByteCount: Int = 4 << 20
    ) {
        self.init(
            path: path, exporter: (format.rawValue, format.exporter), shardByteCount: shardByteCount, compressionLevel: compressionLevel,
            frameByteCount: frameByteCount)
    }

    public init(
        path: String, exporter: (name: String, exporter: any Exporter), shardByteCount: Int? = nil, compressionLevel: Int = 3,
        frameByteCount: Int = 4 << 20
    ) {
        self.path = path
        self.exporter = exporter.exporter
        formatName = exporter.name
        self.shardByteCount = shardByteCount
        self.compressionLevel = compressionLevel
        self.frameByteCount = frameByteCount
    }

    /// What readers see in it; `nil` for a format that `resq` does not read.
    public var format: ContainerFormat? { exporter.container }

    /// Whether several files make the output path a folder that holds them and nothing else.
    var isFolder: Bool { format == nil || format == .huggingFace }

    /// The folder that holds the files when there are several: a model directory itself, or the one a split file is in.
    var folder: String {
        if isFolder { return path }
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        return parts.count > 1 ? parts.dropLast().joined(separator: "/") : "."
    }

    /// Makes an output file; what goes wrong is about the output, whatever path it names.
    static func creating(_ path: String, _ make: () throws(FormatError) -> OutputFile) throws -> OutputFile {
        do throws(FormatError) {
            return try make()
        } catch {
            guard case .diskFull = error.reason else {
                let reason = FormatError(error.reason)
                throw PipelineError.cannotCreate(path: path, why: reason.description)
            }
            throw error
        }
    }

    /// The file's name without its ending: what the parts of a split model are named after.
    var fileStem: String {
        let name = path.split(separator: "/").last.map(String.init) ?? path
        let endings = [".gguf.zst", ".gguf", ".safetensors"]
        return endings.first(where: name.lowercased().hasSuffix).map { String(name.dropLast($0.count)) } ?? name
    }

    /// The format a path asks for by its ending; a path without a known ending is a model directory.
    /// - Returns: `nil` for an ending that belongs to some other kind of file.
    public static func format(ofPath path: String) -> ContainerFormat? {
        let name = path.split(separator: "/").last.map { $0.lowercased() } ?? ""
        if name.hasSuffix(".gguf.zst") { return .ggufZst }
        if name.hasSuffix(".gguf") { return .gguf }
        if name.hasSuffix(".safetensors") { return .safetensors }
        let foreign = [".bin", ".pt", ".pth", ".zst", ".json", ".yaml", ".onnx", ".npz"]
        return foreign.contains { name.hasSuffix($0) } ? nil : .huggingFace
    }
}

extension ContainerFormat {
    fileprivate var exporter: any Exporter {
        switch self {
        case .gguf: GGUFExporter()
        case .ggufZst: CompressedGGUFExporter()
        case .safetensors: SafetensorsExporter()
        case .huggingFace: HuggingFaceExporter()
        }
    }
}
