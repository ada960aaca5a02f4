import Formats
import Models

/// A graph laid out in its output format: final names, encodings and places.
struct Export: Sendable {
    let tensors: [LazyTensor]
    let layout: ArtifactLayout
    /// What forbids to write this, though it can be planned.
    let problem: ModelError?
    private let container: Container

    /// What a header says beside the tensors, without the provenance.
    private enum Container {
        /// With the adapter's metadata, when the last `adapterCount` tensors are those of an adapter file.
        case gguf(GGUFMetadata, adapter: GGUFMetadata?, adapterCount: Int)
        case safetensors([String: String])
        case huggingFace(HuggingFaceFiles)
    }

    /// - Throws: `ModelError` naming the file for a model that the format cannot hold.
    init(
        _ graph: TensorGraph, to output: Output, provenance: Provenance?, library: ArchitectureLibrary, context: PassContext
    ) throws {
        do {
            try self.init(unlocated: graph, to: output, provenance: provenance, library: library, context: context)
        } catch let error as ModelError {
            throw graph.located(error)
        }
    }

    private init(
        unlocated graph: TensorGraph, to output: Output, provenance: Provenance?, library: ArchitectureLibrary,
        context: PassContext
    ) throws {
        switch output.format {
        case .safetensors, .huggingFace:
            if let online = graph.online, online.needsRuntime {
                throw PipelineError.needsRuntime(format: output.format.rawValue, what: online.runtimeWork)
            }
        case .gguf, .ggufZst: break
        }
        if !graph.additions.isEmpty, output.format != .gguf {
            throw PipelineError.needsRuntime(format: output.format.rawValue, what: "a low-rank residual, which is an adapter beside a .gguf")
        }
        switch output.format {
        case .gguf, .ggufZst:
            let export = try GGUFExport(graph)
            let adapter = try graph.model.flatMap { graph.additions.isEmpty ? nil : try GGUFAdapter(graph.additions, of: $0) }
            tensors = export.tensors + (adapter?.tensors ?? [])
            container = .gguf(export.metadata, adapter: adapter?.metadata, adapterCount: adapter?.tensors.count ?? 0)
            problem = export.problem.map(graph.located)
        case .safetensors:
            tensors = graph.tensors
            problem = nil
            let metadata = if case .safetensors(let map) = graph.metadata { map } else { [String: String]() }
            container = .safetensors(metadata)
        case .huggingFace:
            let export = try HuggingFaceExport(graph, library: library, context: context)
            tensors = export.tensors
            problem = nil
            container = .huggingFace(export.files)
        }
        layout = try Export.layout(tensors, container, to: output, provenance: provenance)
    }

    private init(tensors: [LazyTensor], layout: ArtifactLayout, problem: ModelError?, container: Container) {
        (self.tensors, self.layout, self.problem, self.container) = (tensors, layout, problem, container)
    }

    /// The same artifact with other provenance in its headers; when that is as long, every tensor keeps its place.
    func recording(_ provenance: Provenance, for output: Output) throws -> Export {
        let layout = try Export.layout(tensors, container, to: output, provenance: provenance)
        return Export(tensors: tensors, layout: layout, problem: problem, container: container)
    }

    private static func layout(
        _ tensors: [LazyTensor], _ container: Container, to output: Output, provenance: Provenance?
    ) throws -> ArtifactLayout {
        let infos = tensors.map(\.info)
        switch container {
        case .gguf(var metadata, var adapter, let adapterCount):
            for (key, value) in provenance?.entries ?? [] {
                metadata[key] = .string(value)
                adapter?[key] = .string(value)
            }
            let limit = output.format == .gguf ? output.shardByteCount : nil
            let modelCount = infos.count - adapterCount
            var layout = try GGUF.layout(
                tensors: Array(infos[..<modelCount]), metadata: metadata, splitting: limit.map { .maxBytes($0) } ?? .none,
                name: limit != nil ? output.fileStem : adapter == nil ? "" : output.fileStem + ".gguf")
            guard let adapter else { return layout }
            var beside = try GGUF.layout(
                tensors: Array(infos[modelCount...]), metadata: adapter, name: output.fileStem + Self.adapterEnding)
            for place in beside.files[0].tensors.indices { beside.files[0].tensors[place].index += modelCount }
            layout.files += beside.files
            return layout
        case .safetensors(var metadata):
            for (key, value) in provenance?.entries ?? [] { metadata[key] = value }
            return try Safetensors.layout(
                tensors: infos, metadata: metadata,
                fileName: output.shardByteCount == nil ? "" : output.fileStem + ".safetensors",
                shardByteCount: output.shardByteCount)
        case .huggingFace(let files):
            var metadata = ["format": "pt"]
            for (key, value) in provenance?.entries ?? [] { metadata[key] = value }
            var layout = try Safetensors.layout(tensors: infos, metadata: metadata, shardByteCount: output.shardByteCount)
            // The configuration comes last: a folder without one is not yet a model.
            for name in files.files.keys.sorted() { layout.files.append(FileLayout(sideFile: name, files.files[name]!)) }
            let config = TensorBytes(Array((files.config.text(pretty: true) + "\n").utf8))
            layout.files.append(FileLayout(sideFile: "config.json", config))
            return layout
        }
    }

    /// What the name of a model's file is continued with for the adapter beside it.
    static let adapterEnding = "-lora.gguf"

    /// The files a reader is given to see every tensor; `nil` for the output's path itself.
    var entryFiles: [String?] {
        guard case .gguf(_, let adapter, _) = container else {
            return [layout.files.last.flatMap { $0.name.isEmpty || isHuggingFace ? nil : $0.name }]
        }
        let names = layout.files.map { $0.name.isEmpty ? nil : $0.name }
        return adapter == nil ? [names.last ?? nil] : [names.dropLast().last ?? nil, names.last ?? nil]
    }

    private var isHuggingFace: Bool { if case .huggingFace = container { true } else { false } }

    /// The digest of what an interrupted run must have in common with this one: inputs, header, and what the tensors are
    /// called. How a tensor is computed stands beside it in the journal; of a compressed file it is part of this.
    func digest(inputs: [SourceFile], output: Output) -> Digest {
        var parts = ["\(toolVersion) \(output.path) \(output.format) \(output.compressionLevel) \(output.frameByteCount)"]
        parts += inputs.map { "\($0.path) \($0.byteCount)" }
        parts += tensors.map { tensor in
            "\(tensor.info.name) \(tensor.info.encoding.name) \(tensor.info.shape)" + (output.format == .ggufZst ? " " + tensor.chain : "")
        }
        return Digest(of: [Digest(of: parts.joined(separator: "\n"))] + layout.files.map { Digest(of: $0.header) })
    }
}

extension FileLayout {
    init(sideFile name: String, _ bytes: TensorBytes) {
        self.init(name: name, header: bytes, tensors: [], byteCount: bytes.count)
    }
}

extension LazyTensor {
    /// The operations that make this tensor, innermost first.
    var chain: String {
        (operation.inputs.map(\.chain) + [operation.summary + " " + info.encoding.name]).joined(separator: " > ")
    }
}
