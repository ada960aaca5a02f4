import Formats
import Models

/// What calibrating methods do with a graph, counted from shapes alone.
extension TensorGraph {
    /// Multiplications and additions of all layers for one token; how many of them are in gate and up.
    private var tokenProducts: (all: Double, gateAndUp: Double) {
        guard let model else { return (0, 0) }
        let experts = Double(max(1, model.hyperparameters.experts))
        let share = Double(model.hyperparameters[.expertsUsed] ?? 1) / experts
        var (all, gateAndUp) = (0.0, 0.0)
        for tensor in tensors {
            guard let match = model.match(name: tensor.info.name), match.layer != nil else { continue }
            guard [.linear, .expert, .router].contains(match.role.family) else { continue }
            let count = 2 * Double(tensor.info.elementCount) * (match.role.family == .expert ? share : 1)
            all += count
            switch match.role {
            case .gate, .up, .gateUp, .expertGate, .expertUp, .sharedExpertGate, .sharedExpertUp: gateAndUp += count
            default: break
            }
        }
        return (all, gateAndUp)
    }

    /// What sequences take that the model writes itself, one token after another.
    func writingWork(tokens: Int) -> WorkEstimate {
        var work = WorkEstimate()
        guard let numbers = model?.hyperparameters else { return work }
        work[.narrowProducts] = Double(tokens) * (tokenProducts.all + 2 * Double(numbers.hidden) * Double(numbers.vocabulary))
        return work
    }

    /// One walk of tokens through all layers, the layers' weights and the tokens' embeddings computed on the way.
    /// - Parameter gateAndUp: how often gate and up are computed.
    func walkWork(tokens: Int, context: Int, gateAndUp: Int = 1) -> WorkEstimate {
        var work = WorkEstimate()
        guard let numbers = model?.hyperparameters, let model else { return work }
        let products = tokenProducts
        work[.products] = Double(tokens) * (products.all + Double(gateAndUp - 1) * products.gateAndUp)
        work[.attention] = 2 * Double(tokens) * Double(context) * Double(numbers.layers * numbers.heads * numbers.headDimension)
        for tensor in tensors {
            guard let match = model.match(name: tensor.info.name) else { continue }
            if match.layer != nil {
                work[.storing] += Double(tensor.info.elementCount)
                work[.rotation] += tensor.rotationWork
            } else if match.role == .embedding, tensor.info.rowCount > 0 {
                work[.rotation] += tensor.rotationWork * Double(tokens) / Double(tensor.info.rowCount)
            }
        }
        return work
    }

    /// What a search for principal directions takes beside the walk.
    func basesWork(tokens: Int, parts: RotationParts, weighsWeights: Bool, isPerLayer: Bool) -> WorkEstimate {
        var work = WorkEstimate()
        guard let numbers = model?.hyperparameters else { return work }
        func cube(_ n: Int) -> Double { Double(n) * Double(n) * Double(n) }
        let (hidden, head, heads, layers) = (numbers.hidden, numbers.headDimension, numbers.keyValueHeads, Double(numbers.layers))
        let square = Double(head) * Double(head) * Double(tokens) * layers
        if parts.contains(.residual) {
            work[.moments] += 2 * layers * Double(tokens) * Double(hidden) * Double(hidden)
            work[.eigenvectors] += cube(hidden) * (isPerLayer ? layers : 1)
            if weighsWeights { work[.moments] += tokenProducts.all / 2 * Double(hidden) }
        }
        if parts.contains(.values) {
            work[.moments] += square * Double(heads)
            work[.eigenvectors] += layers * Double(heads) * cube(head)
        }
        if parts.contains(.keys) {
            work[.moments] += square * Double(heads + (weighsWeights ? numbers.heads : 0))
            work[.eigenvectors] += layers * cube(head)
        }
        return work
    }

    /// What rounding weights against the moments of their inputs takes beside the walk.
    func roundingWork(of names: some Sequence<String>, tokens: Int, sweeps: Int) -> WorkEstimate {
        var work = WorkEstimate()
        guard let model else { return work }
        let share = Double(model.hyperparameters[.expertsUsed] ?? 1) / Double(max(1, model.hyperparameters.experts))
        var inputs: Set<String> = []
        for name in names {
            guard let info = self[name]?.info, let match = model.match(name: name) else { continue }
            let (rows, columns) = (Double(info.rowCount), Double(info.columnCount))
            work[.rounding] += rows * columns
            work[.compensation] += rows * columns * columns * Double(1 + sweeps)
            work[.storing] += rows * columns
            // Weights that read one input share its moments and their factor.
            guard inputs.insert("\(match.layer ?? -1) \(match.expert ?? -1) \(match.role.input)").inserted else { continue }
            work[.moments] += Double(tokens) * columns * columns * (match.role.family == .expert ? share : 1)
            work[.factors] += columns * columns * columns
        }
        return work
    }
}

extension TensorRole {
    /// A word for what a linear weight reads, the same for those that read the same.
    fileprivate var input: String {
        switch self {
        case .q, .k, .v, .qkv: "attention"
        case .gate, .up, .gateUp, .sharedExpertGate, .sharedExpertUp: "mlp"
        case .expertGate, .expertUp: "expert"
        default: rawValue
        }
    }
}

extension LazyTensor {
    /// Multiplications and additions in `Double` that computing all rows takes.
    var rotationWork: Double {
        // What was rounded layer by layer is read, not computed.
        if operation is RoundedRows { return 0 }
        return Double(operation.rotationWorkPerElement) * Double(info.elementCount) + operation.inputs.reduce(0) { $0 + $1.rotationWork }
    }
}
