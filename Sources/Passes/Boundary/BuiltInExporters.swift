import Formats
import Models

/// `gguf`: one file, or several where a largest size is given; low-rank additions go into an adapter beside it.
struct GGUFExporter: Exporter, Declared {
    static let declaration = Declaration(identifier: "gguf", summary: "GGUF v3, whole or split.")

    init(options: PassOptions = .none) {}

    var container: ContainerFormat? { .gguf }

    /// What the name of a model's file is continued with for the adapter beside it.
    private static let adapterEnding = "-lora.gguf"

    func export(_ graph: TensorGraph, to output: Output, in context: ExportContext) throws -> ExportedModel {
        let export = try GGUFExport(graph)
        let adapter = try graph.model.flatMap { graph.additions.isEmpty ? nil : try GGUFAdapter(graph.additions, of: $0) }
        let (infos, adapterInfos) = (export.tensors.map(\.info), adapter?.tensors.map(\.info) ?? [])
        return ExportedModel(
            tensors: export.tensors + (adapter?.tensors ?? []), problem: export.problem.map(graph.located),
            entryFileCount: adapter == nil ? 1 : 2
        ) { provenance in
            let limit = output.shardByteCount
            var layout = try GGUF.layout(
                tensors: infos, metadata: export.metadata.adding(provenance), splitting: limit.map { .maxBytes($0) } ?? .none,
                name: limit != nil ? output.fileStem : adapter == nil ? "" : output.fileStem + ".gguf")
            guard let adapter else { return layout }
            var beside = try GGUF.layout(
                tensors: adapterInfos, metadata: adapter.metadata.adding(provenance), name: output.fileStem + Self.adapterEnding)
            for place in beside.files[0].tensors.indices { beside.files[0].tensors[place].index += infos.count }
            layout.files += beside.files
            return layout
        }
    }
}

/// `gguf.zst`: a GGUF file in frames of zstd.
struct CompressedGGUFExporter: Exporter, Declared {
    static let declaration = Declaration(identifier: "gguf.zst", summary: "A GGUF file in zstd's seekable format.")

    init(options: PassOptions = .none) {}

    var container: ContainerFormat? { .ggufZst }

    func export(_ graph: TensorGraph, to output: Output, in context: ExportContext) throws -> ExportedModel {
        try graph.refuseAdditions(in: output)
        let export = try GGUFExport(graph)
        let infos = export.tensors.map(\.info)
        return ExportedModel(tensors: export.tensors, problem: export.problem.map(graph.located)) { provenance in
            try GGUF.layout(tensors: infos, metadata: export.metadata.adding(provenance))
        }
    }
}

/// `safetensors`: the tensors alone, in one file or in shards.
struct SafetensorsExporter: Exporter, Declared {
    static let declaration = Declaration(identifier: "safetensors", summary: "The tensors alone, in one file or in shards.")

    init(options: PassOptions = .none) {}

    var container: ContainerFormat? { .safetensors }

    func export(_ graph: TensorGraph, to output: Output, in context: ExportContext) throws -> ExportedModel {
        try graph.refuseAdditions(in: output)
        try graph.refuseRuntimeWork(in: output)
        let infos = graph.tensors.map(\.info)
        let own = if case .safetensors(let map) = graph.metadata { map } else { [String: String]() }
        return ExportedModel(tensors: graph.tensors) { provenance in
            try Safetensors.layout(
                tensors: infos, metadata: own.merging(provenance.map { ($0.key, $0.value) }) { _, new in new },
                fileName: output.shardByteCount == nil ? "" : output.fileStem + ".safetensors", shardByteCount: output.shardByteCount)
        }
    }
}

/// `huggingface`: a model directory.
struct HuggingFaceExporter: Exporter, Declared {
    static let declaration = Declaration(
        identifier: "huggingface", summary: "A model directory: safetensors, configuration, tokenizer, chat template.")

    init(options: PassOptions = .none) {}

    var container: ContainerFormat? { .huggingFace }

    func export(_ graph: TensorGraph, to output: Output, in context: ExportContext) throws -> ExportedModel {
        try graph.refuseAdditions(in: output)
        try graph.refuseRuntimeWork(in: output)
        let export = try HuggingFaceExport(graph, library: context.architectures, context: context.passes)
        let (infos, files) = (export.tensors.map(\.info), export.files)
        return ExportedModel(tensors: export.tensors, entryFileCount: 0) { provenance in
            let metadata = Dictionary(provenance.map { ($0.key, $0.value) } + [("format", "pt")]) { first, _ in first }
            var layout = try Safetensors.layout(tensors: infos, metadata: metadata, shardByteCount: output.shardByteCount)
            // The configuration comes last: a folder without one is not yet a model.
            for name in files.files.keys.sorted() { layout.files.append(FileLayout(sideFile: name, files.files[name]!)) }
            let config = TensorBytes(Array((files.config.text(pretty: true) + "\n").utf8))
            layout.files.append(FileLayout(sideFile: "config.json", config))
            return layout
        }
    }
}

extension TensorGraph {
    fileprivate func refuseRuntimeWork(in output: Output) throws {
        guard let online, online.needsRuntime else { return }
        throw PipelineError.needsRuntime(format: output.formatName, what: online.runtimeWork)
    }

    fileprivate func refuseAdditions(in output: Output) throws {
        guard !additions.isEmpty else { return }
        throw PipelineError.needsRuntime(format: output.formatName, what: "a low-rank residual, which is an adapter beside a .gguf")
    }
}

extension GGUFMetadata {
    fileprivate func adding(_ provenance: [(key: String, value: String)]) -> GGUFMetadata {
        var copy = self
        for (key, value) in provenance { copy[key] = .string(value) }
        return copy
    }
}

extension FileLayout {
    fileprivate init(sideFile name: String, _ bytes: TensorBytes) {
        self.init(name: name, header: bytes, tensors: [], byteCount: bytes.count)
    }
}
