extension HuggingFaceDirectory {
    /// Plans a model directory: the weights as `Safetensors.layout` places them, `config.json`, and the other files by name.
    ///
    /// Weights without metadata get `format: pt`, because transformers refuses files that do not say it.
    /// - Throws: `FormatError` as `Safetensors.layout` does, and for a file whose name is not that of an entry of the
    ///   directory or is already taken by weights or configuration.
    public static func layout(
        tensors: [TensorInfo], files: HuggingFaceFiles, shardByteCount: Int? = nil
    ) throws(FormatError) -> ArtifactLayout {
        let metadata = files.weightsMetadata.isEmpty ? ["format": "pt"] : files.weightsMetadata
        var layout = try Safetensors.layout(
            tensors: tensors, metadata: metadata, fileName: weightsName, shardByteCount: shardByteCount)
        layout.files.append(FileLayout(name: configName, text: files.config.text(pretty: true) + "\n"))
        let taken = Set(layout.files.map(\.name))
        for name in files.files.keys.sorted(by: ExactString.precedes) {
            let parts = name.split(separator: "/", omittingEmptySubsequences: false)
            let isTemplate = parts.count == 2 && parts[0] == chatTemplateFolder
            guard isFileName(isTemplate ? String(parts[1]) : name), !taken.contains(name), let bytes = files.files[name] else {
                throw FormatError(
                    .invalid(field: "file name", found: "'\(name)'", expected: "the name of a file beside weights and \(configName)"))
            }
            layout.files.append(FileLayout(name: name, bytes: bytes))
        }
        return layout
    }
}
