import Formats
import Models

/// Statistics that a calibration wrote, read back.
public struct CalibrationStatistics: Sendable {
    private let source: any TensorSource
    private let places: [String: Int]
    /// What the file says of itself.
    public let metadata: [String: String]

    /// - Throws: `FormatError` for a file that is no calibration of this version.
    public init(path: String) throws(FormatError) {
        source = try openTensorSource(at: path)
        guard case .safetensors(let metadata) = source.manifest.metadata, metadata["format"] == "resq.calibration",
            metadata["version"] == "1"
        else {
            throw FormatError(.invalid(field: "format", found: "another file", expected: "calibration statistics, version 1"), path: path)
        }
        self.metadata = metadata
        places = Dictionary(source.manifest.tensors.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// The numbers of one statistic, e.g. `layers.3.mlp.mean_square`; `nil` when it was not gathered.
    public func values(_ name: String) throws -> [Float]? {
        guard let place = places[name] else { return nil }
        return try floats(of: LazyTensor(info: source.manifest.tensors[place], operation: SourceSlice(source: source, index: place)))
    }
}

extension CalibrationStatistics {
    /// The importance matrix of a model's linear weights: sums of squares of their inputs, under GGUF names.
    ///
    ///     sums[c] = rows · mean_square[c]
    ///
    /// - Parameter dataset: the text's name, which the matrix records.
    /// - Throws: errors of reading; `ModelError` for a model without a description.
    public func importanceMatrix(for graph: TensorGraph, dataset: String) throws -> ImportanceMatrix {
        guard let model = graph.model else { throw graph.modelProblem ?? ModelError(.missingKey(key: "config.json")) }
        var matrix = ImportanceMatrix(
            datasets: [dataset], chunkCount: Int(metadata["windows"] ?? "") ?? 0, chunkSize: Int(metadata["context"] ?? "") ?? 0)
        var seen: Set<String> = []
        for tensor in graph.tensors {
            guard let match = model.match(name: tensor.info.name), let layer = match.layer, seen.insert(match.ggufName).inserted else { continue }
            let experts: [Int?] = match.rule.stacksExperts ? (0..<model.hyperparameters.experts).map { $0 } : [match.expert]
            var sums: [Float] = [], counts: [Int] = []
            for expert in experts {
                guard let place = match.role.input(expert: expert) else { break }
                let name = "layers.\(layer).\(place.name)"
                let rows = try values("\(name).rows")?.first ?? 0
                guard rows > 0, let squares = try values("\(name).mean_square") else {
                    // An expert that nothing was routed to.
                    sums += [Float](repeating: 0, count: tensor.info.columnCount)
                    counts.append(0)
                    continue
                }
                sums += squares.map { $0 * rows }
                counts.append(Int(rows))
            }
            guard counts.contains(where: { $0 > 0 }) else { continue }
            try matrix.add(match.ggufName, try ImportanceMatrix.Entry(sums: sums, counts: counts))
        }
        return matrix
    }
}

extension TensorRole {
    /// The input that a linear weight of this role reads.
    func input(expert: Int?) -> LinearInput? {
        switch self {
        case .q, .k, .v, .qkv: .attention
        case .o: .attentionOutput
        case .gate, .up, .gateUp, .sharedExpertGate, .sharedExpertUp: .mlp
        case .down: .mlpOutput
        case .expertGate, .expertUp: expert.map { .expert($0) }
        case .expertDown: expert.map { .expertOutput($0) }
        case .sharedExpertDown: .sharedExpertOutput
        default: nil
        }
    }
}
