import Formats
import Foundation
import Models

extension TensorGraph {
    /// The graph of an opened source: every tensor as it stands there, GGUF names and conventions translated to those
    /// of Hugging Face when the architecture is known.
    ///
    /// When the model cannot be understood the names stay untouched, and `modelProblem` says why for those who need to.
    /// - Parameter types: where custom types are looked up that a file of ours names.
    public init(_ source: any TensorSource, architectures: ArchitectureLibrary, types: TypeTable = .builtIn) throws {
        let manifest = source.manifest
        var stored = manifest.tensors.enumerated().map { index, info in
            LazyTensor(info: info, operation: SourceSlice(source: source, index: index))
        }
        let raw = stored
        var metadata = manifest.metadata
        do {
            let online = try OnlineDescription(takenFrom: &metadata, &stored, types: types, path: source.files.first?.path)
            let model = try TensorGraph.description(of: stored, metadata, architectures)
            var tensors = stored
            if let model, case .gguf = metadata { tensors = try TensorGraph.translated(stored, model) }
            try self.init(tensors: tensors, metadata: metadata, model: model)
            if let online, let model { self.online = try online.transforms(for: model) }
        } catch let problem as ModelError {
            // As the file has them: a copy must not lose what was not understood.
            stored = raw
            try self.init(tensors: stored, metadata: manifest.metadata, model: nil)
            modelProblem = problem
        }
        storedInfos = stored.map(\.info)
        if let path = source.files.first?.path {
            let isFolder = manifest.format == .huggingFace
            origin = isFolder ? path.lastIndex(of: "/").map { String(path[...$0]) } ?? "" : path
            modelProblem = modelProblem.map(located)
            name = TensorGraph.name(ofModelAt: path, isFolder: isFolder)
        }
    }

    /// An error about this model with its file named in full; one that names none is about `config.json` or the GGUF file.
    func located(_ error: ModelError) -> ModelError {
        guard let origin else { return error }
        var located = error
        let isFolder = origin.isEmpty || origin.hasSuffix("/")
        if let path = error.path {
            if isFolder, !path.contains("/") { located.path = origin + path }
        } else {
            located.path = isFolder ? origin + "config.json" : origin
        }
        return located
    }

    /// The folder's name for a model directory, else the file's without its ending.
    private static func name(ofModelAt path: String, isFolder: Bool) -> String {
        let parts = URL(fileURLWithPath: path).standardizedFileURL.pathComponents
        if isFolder { return parts.dropLast().last { $0 != "/" } ?? "model" }
        let file = parts.last ?? "model"
        return [".gguf.zst", ".gguf", ".safetensors"].first(where: file.hasSuffix).map { String(file.dropLast($0.count)) } ?? file
    }

    /// The architecture with its sizes; `nil` when there is no configuration at all.
    private static func description(
        of stored: [LazyTensor], _ metadata: ContainerMetadata, _ architectures: ArchitectureLibrary
    ) throws(ModelError) -> ModelDescription? {
        switch metadata {
        case .safetensors: return nil
        case .huggingFace(let files):
            let architecture = try architectures.architecture(forConfig: files.config)
            let model = try ModelDescription(config: files.config, architecture: architecture)
            try model.check(stored.map(\.info), named: .huggingFace)
            return model
        case .gguf(let metadata):
            let architecture = try architectures.architecture(for: metadata)
            return try ModelDescription(
                metadata: metadata, tensors: stored.map(\.info), computed: architecture.computedValues(in: stored),
                architecture: architecture)
        }
    }

    /// Tensors of a GGUF file as Hugging Face has them; what only GGUF has (RoPE factor tables) keeps its name.
    private static func translated(_ stored: [LazyTensor], _ model: ModelDescription) throws -> [LazyTensor] {
        var placed: [(place: Int, tensor: LazyTensor)] = []
        for tensor in try model.huggingFaceTensors(from: stored.map(\.info)) {
            var result = stored[tensor.source]
            if let expert = tensor.expert { result = try result.outerSlice(expert, name: tensor.name) }
            result = try result.changed(tensor.change).renamed(tensor.name)
            placed.append((tensor.source, result))
        }
        for (place, tensor) in stored.enumerated() where model.isComputed(ggufName: tensor.info.name) {
            placed.append((place, tensor))
        }
        // Experts of one stack keep their order: the sort is stable within a place.
        return placed.enumerated().sorted { ($0.element.place, $0.offset) < ($1.element.place, $1.offset) }
            .map(\.element.tensor)
    }
}

extension LazyTensor {
    /// A change at the GGUF boundary, applied lazily; a change and its inverse cancel.
    func changed(_ change: TensorChange) throws -> LazyTensor {
        switch change {
        case .none: return self
        case .add(let constant): return try adding(constant)
        case .permuteRows(let heads, let inverse):
            let rowCount = info.shape.first ?? 1
            guard heads > 0, rowCount % heads == 0, (rowCount / heads) % 2 == 0 else {
                throw FormatError(
                    .invalid(field: "row count", found: "\(rowCount)", expected: "\(heads) heads of an even number of rows"),
                    tensor: info.name)
            }
            return reordered(RowOrder(rowsPerHead: rowCount / heads, direction: inverse ? .toHalfSplit : .toInterleaved))
        }
    }
}

extension Architecture {
    /// The values of the small tensors that a model's description depends on.
    func computedValues(in tensors: [LazyTensor]) -> [String: [Float]] {
        var values: [String: [Float]] = [:]
        for tensor in tensors where isComputed(tensor.info.name) && tensor.info.elementCount <= 1 << 16 {
            // A table that cannot be read is left for the export to complain about.
            values[tensor.info.name] = try? floats(of: tensor)
        }
        return values
    }
}
