import Formats

/// The weights of one layer, by role; experts by number. A value: a pass replaces weights in a copy.
public struct Block: Sendable {
    public let layer: Int
    private var weights: [TensorRole: Weight] = [:]
    private var experts: [TensorRole: [Weight]] = [:]

    init(layer: Int) { self.layer = layer }

    /// The weight of a role; `nil` when the layer has none.
    public subscript(_ role: TensorRole) -> Weight? {
        get { weights[role] }
        set { weights[role] = newValue }
    }

    /// The weight of a role in one expert.
    public subscript(_ role: TensorRole, expert expert: Int) -> Weight? {
        get { experts[role].flatMap { $0.indices.contains(expert) ? $0[expert] : nil } }
        set {
            guard let newValue, experts[role]?.indices.contains(expert) == true else { return }
            experts[role]?[expert] = newValue
        }
    }

    /// All weights of a role: one, those of the experts, or none.
    public func weights(of role: TensorRole) -> [Weight] { weights[role].map { [$0] } ?? experts[role] ?? [] }

    mutating func append(_ weight: Weight, role: TensorRole, isExpert: Bool) {
        if isExpert { experts[role, default: []].append(weight) } else { weights[role] = weight }
    }

    var expertCount: Int { experts[.expertDown]?.count ?? 0 }

    /// Bytes of the weights that were decoded into memory of their own.
    var decodedByteCount: Int {
        (weights.values.map { $0 } + experts.values.flatMap { $0 }).reduce(0) { $0 + ($1.isDecoded ? $1.rowCount * $1.columnCount * 4 : 0) }
    }
}
