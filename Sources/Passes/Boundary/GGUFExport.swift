import Formats
import Models

/// A graph as a GGUF file has it.
struct GGUFExport {
    var tensors: [LazyTensor]
    var metadata: GGUFMetadata
    /// Why the file cannot be written although its tensors are known: the model has no tokenizer.
    var problem: ModelError?

    /// - Throws: `ModelError` when a Hugging Face model cannot be understood or lacks something the runtime needs.
    init(_ graph: TensorGraph) throws {
        switch (graph.metadata, graph.model) {
        case (.gguf(let metadata), let model?):
            self.metadata = metadata
            self.tensors = try GGUFExport.tensors(of: graph, model).lazy
        case (.gguf(let metadata), nil):
            self.metadata = metadata
            self.tensors = graph.tensors
        case (.huggingFace(let files), let model?):
            let (tensors, described) = try GGUFExport.tensors(of: graph, model)
            self.tensors = tensors
            self.metadata = try model.ggufMetadata(
                for: described,
                GGUFMetadataOptions(
                    directoryName: graph.name, fileType: GGUFExport.fileType(of: tensors, graph.mixture),
                    generationConfig: try GGUFExport.generationConfig(files, of: graph)))
            do throws(ModelError) {
                let vocabulary = try GGUFExport.vocabulary(files, size: model.hyperparameters.vocabulary)
                for key in vocabulary.keys { metadata[key] = vocabulary[key] }
            } catch {
                // A folder of nothing but headers can still be planned.
                guard error.reason == TokenizerDescription.noTokenizer else { throw error }
                problem = error
            }
        case (.huggingFace, nil), (.safetensors, nil), (.safetensors, _?):
            throw graph.modelProblem ?? ModelError(.missingKey(key: "config.json"))
        }
        describeTypes(graph.mixture)
        for (key, value) in graph.importance?.entries ?? [] { metadata[key] = value }
        let isOurs = tensors.contains { tensor in
            switch tensor.info.encoding {
            case .split, .custom: true
            default: false
            }
        }
        if let model = graph.model, isOurs || graph.online?.needsRuntime == true {
            let online = graph.online ?? OnlineTransforms(model)
            // How a file was made stands last, as when it was made: then changing its container alone changes no byte of it.
            let made = Provenance.keys.compactMap { key in metadata[key].map { (key, $0) } }
            for (key, _) in made { metadata[key] = nil }
            try online.describe(in: &metadata)
            SplitTensors.describe(tensors, in: &metadata)
            CustomTensors.describe(tensors, in: &metadata)
            for (key, value) in made { metadata[key] = value }
            tensors = try tensors.map { try $0.storedAsBytes() } + online.rotations
        }
    }

    private static func generationConfig(_ files: HuggingFaceFiles, of graph: TensorGraph) throws(FormatError) -> JSONValue? {
        let name = "generation_config.json"
        guard let bytes = files.files[name] else { return nil }
        do throws(FormatError) {
            return try JSONValue(parsing: bytes)
        } catch {
            throw error.at(path: (graph.origin ?? "") + name)
        }
    }

    private static func vocabulary(_ files: HuggingFaceFiles, size: Int) throws(ModelError) -> GGUFMetadata {
        do throws(ModelError) {
            return try TokenizerDescription(huggingFace: files).ggufMetadata(vocabularySize: size)
        } catch {
            var named = error
            named.path = named.path ?? ["tokenizer.json", "tokenizer.model"].first { files.files[$0] != nil } ?? ""
            throw named
        }
    }

    private static func tensors(
        of graph: TensorGraph, _ model: ModelDescription
    ) throws -> (lazy: [LazyTensor], described: [GGUFTensor]) {
        var placed: [(place: Int, tensor: LazyTensor)] = []
        let members = graph.tensors.enumerated().filter { !model.isComputed(ggufName: $0.element.info.name) }
        let described = try model.ggufTensors(from: members.map(\.element.info))
        for target in described {
            let sources = try target.sources.map { index in
                let tensor = members[index].element
                let isPlainFloat = if case .plain(let dtype) = tensor.info.encoding { dtype.isFloatingPoint } else { false }
                let stored = try target.staysF32 && isPlainFloat ? tensor.encoded(as: .plain(.f32)) : tensor
                return try stored.changed(target.change)
            }
            let whole = sources.count == 1 && target.shape.count == sources[0].info.shape.count
                ? sources[0].renamed(target.name) : try LazyTensor.stacked(sources, name: target.name)
            placed.append((members[target.sources.max() ?? 0].offset, whole))
        }
        for (place, tensor) in graph.tensors.enumerated() where model.isComputed(ggufName: tensor.info.name) {
            placed.append((place, tensor))
        }
        for computed in model.computedTensors() where graph[computed.name] == nil {
            placed.append((-1, try LazyTensor.constant(computed.values, name: computed.name)))
        }
        return (placed.sorted { $0.place < $1.place }.map(\.tensor), described)
    }

    /// The file type of a mixture, or else that of the type most bytes are in.
    private static func fileType(of tensors: [LazyTensor], _ mixture: Mixture?) -> GGUFFileType {
        if let mixture { return mixture.fileType }
        var bytes: [Encoding: Int] = [:]
        for tensor in tensors { bytes[tensor.info.encoding, default: 0] += tensor.info.byteCount }
        let most = bytes.max { ($0.value, $0.key.name) < ($1.value, $1.key.name) }?.key
        return most.flatMap { GGUFFileType(name: $0.name) ?? GGUFFileType(name: $0.name + "_M") } ?? .f32
    }

    /// What the file says of its own types; runtimes want `general.quantization_version` beside any block type.
    private mutating func describeTypes(_ mixture: Mixture?) {
        if let mixture { metadata["general.file_type"] = .u32(mixture.fileType.rawValue) }
        let hasBlocks = tensors.contains { if case .block = $0.info.encoding { true } else { false } }
        if hasBlocks, metadata["general.quantization_version"] == nil {
            metadata["general.quantization_version"] = .u32(2)
        }
    }
}

extension LazyTensor {
    /// A vector that is computed rather than read, as F32.
    static func constant(_ values: [Float], name: String) throws -> LazyTensor {
        let info = try TensorInfo(name: name, encoding: .plain(.f32), shape: [values.count])
        let bytes = values.flatMap { value in
            let bits = value.bitPattern
            return [UInt8(truncatingIfNeeded: bits), UInt8(truncatingIfNeeded: bits >> 8), UInt8(truncatingIfNeeded: bits >> 16),
                UInt8(truncatingIfNeeded: bits >> 24)]
        }
        return LazyTensor(
            info: info, operation: Constant(bytes: TensorBytes(bytes), summary: "computed from the configuration"),
            history: ["computed from the configuration"])
    }
}
