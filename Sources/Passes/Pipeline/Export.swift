import Formats
import Models

/// A graph laid out in its output format: final names, encodings and places.
struct Export: Sendable {
    let layout: ArtifactLayout
    private let model: ExportedModel

    var tensors: [LazyTensor] { model.tensors }
    /// What forbids to write this, though it can be planned.
    var problem: ModelError? { model.problem }

    /// - Throws: `ModelError` naming the file for a model that the format cannot hold.
    init(
        _ graph: TensorGraph, to output: Output, provenance: Provenance?, library: ArchitectureLibrary, context: PassContext
    ) throws {
        do {
            let model = try output.exporter.export(graph, to: output, in: ExportContext(architectures: library, passes: context))
            try self.init(model, layout: model.layout(provenance?.entries ?? []))
        } catch let error as ModelError {
            throw graph.located(error)
        }
    }

    private init(_ model: ExportedModel, layout: ArtifactLayout) { (self.model, self.layout) = (model, layout) }

    /// The same artifact with other provenance in its headers; when that is as long, every tensor keeps its place.
    func recording(_ provenance: Provenance) throws -> Export {
        Export(model, layout: try model.layout(provenance.entries))
    }

    /// The files a reader is given to see every tensor; `nil` for the output's path itself.
    var entryFiles: [String?] {
        guard model.entryFileCount > 0 else { return [nil] }
        return layout.files.suffix(model.entryFileCount).map { $0.name.isEmpty ? nil : $0.name }
    }

    /// The digest of what an interrupted run must have in common with this one: inputs, header, and what the tensors are
    /// called. How a tensor is computed stands beside it in the journal; of a compressed file it is part of this.
    func digest(inputs: [SourceFile], output: Output) -> Digest {
        var parts = ["\(toolVersion) \(output.path) \(output.formatName) \(output.compressionLevel) \(output.frameByteCount)"]
        parts += inputs.map { "\($0.path) \($0.byteCount)" }
        parts += tensors.map { tensor in
            "\(tensor.info.name) \(tensor.info.encoding.name) \(tensor.info.shape)" + (output.format == .ggufZst ? " " + tensor.chain : "")
        }
        return Digest(of: [Digest(of: parts.joined(separator: "\n"))] + layout.files.map { Digest(of: $0.header) })
    }
}

extension TensorGraph {
    /// How all was made that decides what the layers see: the tensors, and what the runtime does beside them.
    var chain: String {
        let made = tensors.map { "\($0.info.name) \($0.chain)" }
        guard let online else { return made.joined(separator: "\n") }
        let runtime = "\(online.rounding as Any) \(online.residual) \(online.values) \(online.keys) \(online.downSeed as Any)"
        return (made + [runtime] + online.rotations.map(\.chain)).joined(separator: "\n")
    }
}

extension LazyTensor {
    /// The operations that make this tensor, innermost first.
    var chain: String {
        (operation.inputs.map(\.chain) + [operation.summary + " " + info.encoding.name]).joined(separator: " > ")
    }
}
