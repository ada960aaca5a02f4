import Formats
import LinearAlgebra
import Models
import ResQ

/// Opens the bases of a safetensors file and checks, from its header, that it has what the rotations need. What the file
/// says of the model it was made of is compared when a run has hashed its inputs, before anything else is done.
///
/// - Throws: `FormatError` naming the file and the tensor that is missing or of another shape: the file is another model's.
func basesFile(
    _ source: any TensorSource, path: String, for graph: TensorGraph, parts: RotationParts, isPerLayer: Bool, pass: String, in context: PassContext
) throws -> any RotationBases {
    let model = try graph.described(for: pass)
    guard case .safetensors(let metadata) = source.manifest.metadata else {
        throw FormatError(.invalid(field: "basis", found: "\(source.manifest.format)", expected: "a safetensors file"), path: path)
    }
    if let digest = metadata["model.sha256"] {
        context.perform(
            Analysis<Void>("the model that \(path) was made of") { run in
                guard run.modelDigest.description == digest else {
                    throw FormatError(
                        .invalid(field: "model.sha256", found: printable(digest), expected: "\(run.modelDigest), of this model"), path: path)
                }
            })
    }
    let file = TensorFile(source, path: path)
    let numbers = model.hyperparameters
    let (hidden, head, heads) = (numbers.hidden, numbers.headDimension, numbers.keyValueHeads)
    let isStatistics = metadata["format"] == "resq.calibration"
    let suffix = isStatistics ? ".second_moment" : ""
    if parts.contains(.residual) {
        if isStatistics {
            for layer in 0..<numbers.layers {
                for place in ["attention", "mlp"] { try file.check("layers.\(layer).\(place)\(suffix)", shape: [hidden, hidden]) }
            }
        } else if !isPerLayer {
            try file.check("residual", shape: [hidden, hidden])
        }
    }
    for layer in 0..<numbers.layers {
        if parts.contains(.residual), isPerLayer, !isStatistics { try file.check("layers.\(layer).residual", shape: [hidden, hidden]) }
        if parts.contains(.values) { try file.check("layers.\(layer).values\(suffix)", shape: [heads, head, head]) }
        if parts.contains(.keys) {
            try file.check("layers.\(layer).keys\(suffix)", shape: isStatistics ? [heads, head, head] : [head, head])
        }
    }
    guard isStatistics else { return GivenBases(file: file, numbers: numbers) }
    return StatisticsBases(file: file, numbers: numbers, gains: try graph.streamGains())
}

/// Tensors of a safetensors file by name, as matrices.
struct TensorFile: Sendable {
    private let source: any TensorSource
    private let path: String
    private let places: [String: Int]

    init(_ source: any TensorSource, path: String) {
        self.source = source
        self.path = path
        places = Dictionary(source.manifest.tensors.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
    }

    func check(_ name: String, shape: [Int]) throws(FormatError) {
        guard let place = places[name] else { throw FormatError(.missing(field: "tensor", name: name), path: path) }
        let info = source.manifest.tensors[place]
        guard info.shape == shape else {
            throw FormatError(
                .invalid(field: "shape", found: "\(info.shape)", expected: "\(shape), as this model has"), path: path, tensor: name)
        }
    }

    /// The square matrices of a tensor, one after another.
    /// - Throws: errors of reading; `FormatError.missing`.
    func matrices(_ name: String, order: Int) throws -> [Matrix<Double>] {
        guard let place = places[name] else { throw FormatError(.missing(field: "tensor", name: name), path: path) }
        let tensor = LazyTensor(info: source.manifest.tensors[place], operation: SourceSlice(source: source, index: place))
        let values = try floats(of: tensor)
        return stride(from: 0, to: values.count, by: order * order).map { start in
            Matrix(rowCount: order, columnCount: order, elements: values[start..<start + order * order].map(Double.init))
        }
    }

    func error(_ name: String, _ field: String, found: String, expected: String) -> FormatError {
        FormatError(.invalid(field: field, found: found, expected: expected), path: path, tensor: name)
    }
}

/// Bases that somebody made.
struct GivenBases: RotationBases {
    let file: TensorFile
    let numbers: Hyperparameters
    /// Whether they are known to be orthogonal.
    var isOrthogonal = false

    var summary: String { "given bases" }
    func residual(layer: Int?) throws -> Matrix<Double> {
        try bases(layer.map { "layers.\($0).residual" } ?? "residual", order: numbers.hidden)[0]
    }
    func values(layer: Int) throws -> [Matrix<Double>] { try bases("layers.\(layer).values", order: numbers.headDimension) }
    func keys(layer: Int) throws -> Matrix<Double> { try bases("layers.\(layer).keys", order: numbers.headDimension)[0] }

    /// Refuses what would not preserve the function.
    private func bases(_ name: String, order: Int) throws -> [Matrix<Double>] {
        let matrices = try file.matrices(name, order: order)
        for matrix in isOrthogonal ? [] : matrices {
            let deviation = matrix.deviationFromOrthogonal
            guard deviation < Matrix<Double>.orthogonalTolerance else {
                throw file.error(name, "basis", found: "PᵀP off the identity by \(deviation)", expected: "an orthogonal matrix, to 1e-5")
            }
        }
        return matrices
    }
}

/// The principal directions of calibration statistics.
///
///     residual: Σ over layers, or for one, and both norms of D⁻¹ S D⁻¹    D = diag(gain of the norm), as far as it is folded now
///     values: S of each head        keys: Σ over heads of S
struct StatisticsBases: RotationBases {
    let file: TensorFile
    let numbers: Hyperparameters
    /// The gains that were on the norms when the statistics were gathered; `nil` where they are on them still.
    let gains: [[String: OnceFloats]]

    var summary: String { "principal directions of statistics" }

    func residual(layer: Int?) throws -> Matrix<Double> {
        let order = numbers.hidden
        var sum = Matrix<Double>(rowCount: order, columnCount: order)
        for layer in layer.map({ $0..<$0 + 1 }) ?? 0..<numbers.layers {
            for place in ["attention", "mlp"] {
                let moments = try file.matrices("layers.\(layer).\(place).second_moment", order: order)[0]
                let scales = try gains[layer][place]?.values().map { $0 == 0 ? 0 : 1 / Double($0) } ?? Array(repeating: 1, count: order)
                for row in 0..<order {
                    for column in 0..<order { sum[row, column] += scales[row] * scales[column] * moments[row, column] }
                }
            }
        }
        return try principalBasis(of: sum).vectors
    }

    func values(layer: Int) throws -> [Matrix<Double>] {
        try file.matrices("layers.\(layer).values.second_moment", order: numbers.headDimension).map { try principalBasis(of: $0).vectors }
    }

    func keys(layer: Int) throws -> Matrix<Double> {
        let moments = try file.matrices("layers.\(layer).keys.second_moment", order: numbers.headDimension)
        var sum = Matrix<Double>(rowCount: numbers.headDimension, columnCount: numbers.headDimension)
        for matrix in moments { sum.add(matrix) }
        return try principalBasis(of: sum).vectors
    }
}

extension TensorGraph {
    /// The gains of the norms before attention and before the feed-forward layer, as the model was opened, by layer.
    func streamGains() throws -> [[String: OnceFloats]] {
        guard let model else { return [] }
        var gains = [[String: OnceFloats]](repeating: [:], count: model.hyperparameters.layers)
        for tensor in tensors {
            guard let match = model.match(name: tensor.info.name), let layer = match.layer else { continue }
            let place: String
            switch match.role {
            case .attentionNorm: place = "attention"
            case .mlpNorm: place = "mlp"
            default: continue
            }
            gains[layer][place] = foldedGains[tensor.info.name] ?? OnceFloats(tensor, offset: match.rule.gainOffset)
        }
        return gains
    }
}
