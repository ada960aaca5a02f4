/// A Hugging Face model directory: weights in safetensors, `config.json`, and the files of the tokenizer.
///
/// | file | meaning |
/// |---|---|
/// | `config.json` | architecture and sizes; must be there |
/// | `model.safetensors` | all weights, or |
/// | `model.safetensors.index.json` | where each tensor is; used when there is no `model.safetensors` |
/// | `tokenizer.json`, `tokenizer.model`, `vocab.json`, `merges.txt`, `*.jinja`, ... | kept as they are |
/// | `additional_chat_templates/*.jinja` | chat templates by name, kept too |
///
/// Nothing in a directory is ever executed or unpickled. Entries may be links, as in the Hugging Face cache.
public final class HuggingFaceDirectory: TensorSource {
    public let manifest: Manifest
    public let files: [SourceFile]
    /// The files beside the weights.
    public let modelFiles: HuggingFaceFiles
    private let weights: any TensorSource

    /// The most bytes a file beside the weights may have.
    public static let maximumFileByteCount = 64 << 20

    /// Opens the weights, parses `config.json` and maps the files beside them.
    /// - Throws: `FormatError` naming the file that is missing or wrong.
    public init(path: String) throws(FormatError) {
        let entries = try folderEntries(path)
        let folder = path.hasSuffix("/") ? path : path + "/"
        let weights: any TensorSource
        let weightsMetadata: [String: String]
        if entries.contains(Self.weightsName) {
            let file = try SafetensorsFile(path: folder + Self.weightsName)
            (weights, weightsMetadata) = (file, file.metadata)
        } else if entries.contains(Self.indexName) {
            let shards = try SafetensorsShards(indexPath: folder + Self.indexName)
            (weights, weightsMetadata) = (shards, shards.metadata)
        } else {
            throw Self.noWeights(entries, path: path)
        }
        guard entries.contains(Self.configName) else {
            throw FormatError(.missing(field: "file", name: Self.configName), path: path)
        }
        let configFile = try Self.sideFile(folder + Self.configName)
        let config: JSONValue
        do {
            config = try JSONValue(parsing: configFile.bytes, limits: JSONLimits(allowsNonFiniteNumbers: true))
        } catch {
            throw error.at(path: configFile.path)
        }
        guard config.object != nil else {
            throw FormatError(.invalid(field: Self.configName, found: config.kind, expected: "an object"), path: configFile.path)
        }
        var sourceFiles = weights.files + [SourceFile(path: configFile.path, byteCount: configFile.byteCount)]
        var sideFiles: [String: TensorBytes] = [:]
        let names = entries.filter { Self.belongsToModel($0) && !isFolder(folder + $0) }
        for name in names + (try Self.namedChatTemplates(inFolder: path)) {
            let file = try Self.sideFile(folder + name)
            sideFiles[name] = file.bytes
            sourceFiles.append(SourceFile(path: file.path, byteCount: file.byteCount))
        }
        self.weights = weights
        self.modelFiles = HuggingFaceFiles(config: config, files: sideFiles, weightsMetadata: weightsMetadata)
        self.files = sourceFiles
        self.manifest = Manifest(
            format: .huggingFace, tensors: weights.manifest.tensors, metadata: .huggingFace(modelFiles),
            byteOffsets: weights.manifest.byteOffsets)
    }

    public func bytes(ofTensorAt index: Int) throws(FormatError) -> TensorBytes { try weights.bytes(ofTensorAt: index) }

    static let configName = "config.json"
    static let weightsName = "model.safetensors"
    static let indexName = "model.safetensors.index.json"

    /// Whether a file is kept: configuration, tokenizer, templates and licence, but no weights, indexes, pictures or code.
    static func belongsToModel(_ name: String) -> Bool {
        if name == configName || name.hasPrefix(".") || name.hasSuffix(".index.json") { return false }
        if name.hasPrefix("LICENSE") || name.hasPrefix("NOTICE") { return true }
        return [".json", ".txt", ".model", ".jinja", ".tiktoken"].contains { name.hasSuffix($0) }
    }

    /// Whether loaders look for a file by its name: weights and their index, the tokenizer's files, the template, the settings of generation.
    package static func isReadByName(_ name: String) -> Bool {
        [".safetensors", ".safetensors.index.json"].contains { name.hasSuffix($0) }
            || [
                "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
                "vocab.txt", "merges.txt", "spiece.model", "chat_template.jinja", "chat_template.json", "generation_config.json",
            ].contains(name)
    }

    /// The folder of the chat templates that are not the main one.
    package static let chatTemplateFolder = "additional_chat_templates"

    /// The files of `additional_chat_templates`, by their paths inside the model directory; none where it has no such folder.
    package static func namedChatTemplates(inFolder path: String) throws(FormatError) -> [String] {
        let folder = (path.hasSuffix("/") ? path : path + "/") + chatTemplateFolder
        guard isFolder(folder) else { return [] }
        return try folderEntries(folder).filter { $0.hasSuffix(".jinja") && !isFolder("\(folder)/\($0)") }.map { "\(chatTemplateFolder)/\($0)" }
    }

    private static func sideFile(_ path: String) throws(FormatError) -> MappedFile {
        let file = try MappedFile(path: path)
        guard file.byteCount <= maximumFileByteCount else {
            throw FormatError(
                .invalid(field: "file", found: "\(file.byteCount) bytes", expected: "at most \(maximumFileByteCount) beside the weights"),
                path: path)
        }
        return file
    }

    private static func noWeights(_ entries: [String], path: String) -> FormatError {
        let pickles = [".bin", ".pt", ".pth", ".ckpt"]
        if let pickle = entries.first(where: { name in
            pickles.contains { name.hasSuffix($0) } && !entries.contains { $0.hasSuffix(".safetensors") }
        }) {
            return FormatError(
                .unsupported(what: "'\(pickle)': weights are read from safetensors only and nothing is ever unpickled; this model"), path: path)
        }
        let found = entries.isEmpty ? "empty" : "one with \(entries.prefix(5).joined(separator: ", "))\(entries.count > 5 ? ", ..." : "")"
        return FormatError(
            .invalid(field: "the folder", found: found, expected: "one with \(configName) and \(weightsName) or \(indexName)"), path: path)
    }
}
