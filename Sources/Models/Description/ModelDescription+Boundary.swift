import Formats

/// How the elements of a tensor change when it crosses the boundary to GGUF or back.
public enum TensorChange: Sendable, Hashable {
    case none
    /// Rows are reordered inside each of `heads` equal blocks of rows; `sourceRow` says how. `inverse`: from GGUF back.
    case permuteRows(heads: Int, inverse: Bool)
    /// The number is added to each element: 1 towards GGUF, -1 back.
    case add(Float)

    /// The same change backwards.
    public var inverse: TensorChange {
        switch self {
        case .none: .none
        case .permuteRows(let heads, let inverse): .permuteRows(heads: heads, inverse: !inverse)
        case .add(let number): .add(-number)
        }
    }

    /// Which row of the input becomes row `row` of the output.
    ///
    /// Hugging Face keeps the two halves of a head apart (row i pairs with row i + d/2), GGUF's interleaved RoPE has
    /// pairs side by side: its row 2j + i of a head is row i d/2 + j there, i in {0, 1}, j in 0..<d/2.
    public func sourceRow(of row: Int, rowCount: Int) -> Int {
        guard case .permuteRows(let heads, let inverse) = self else { return row }
        let headRows = rowCount / heads
        precondition(headRows * heads == rowCount && headRows % 2 == 0, "the rows are not whole heads of pairs")
        let (head, inHead) = (row / headRows, row % headRows)
        let source = inverse
            ? 2 * (inHead % (headRows / 2)) + inHead / (headRows / 2)
            : (inHead % 2) * (headRows / 2) + inHead / 2
        return head * headRows + source
    }
}

/// A tensor of a GGUF file and the Hugging Face tensors it is made from.
public struct GGUFTensor: Sendable, Hashable {
    public let name: String
    /// Places in the list that was given: one, or all experts of a layer in order, stacked along a new first dimension.
    public let sources: [Int]
    public let shape: [Int]
    public let change: TensorChange
    public let role: TensorRole
    public let layer: Int?
    /// Whether the tensor is stored as F32 whatever the type of the file: vectors, norms, routers.
    public let staysF32: Bool
}

/// A Hugging Face tensor and the GGUF tensor it is taken from.
public struct HuggingFaceTensor: Sendable, Hashable {
    public let name: String
    /// The place in the list that was given.
    public let source: Int
    /// Which part of the first dimension, when the source holds all experts of a layer.
    public let expert: Int?
    public let shape: [Int]
    public let change: TensorChange
    public let role: TensorRole
    public let layer: Int?
}

extension ModelDescription {
    /// The GGUF tensors of a Hugging Face checkpoint, in its order; experts stand where the last of them stood.
    /// - Throws: `ModelError` when names or shapes do not fit the architecture.
    public func ggufTensors(from tensors: [TensorInfo]) throws(ModelError) -> [GGUFTensor] {
        guard isTied || architecture.tied.allowsUntiedGGUF else {
            let key = architecture.tied.configKey
            let wasTied = config?[key]?.bool ?? architecture.tied.fallback
            throw ModelError(
                .invalidKey(
                    key: key, found: wasTied ? "false since a pass untied the model" : "false",
                    expected: "true: the GGUF runtime of \(architecture.ggufName) has no head but the embedding"))
        }
        try check(tensors, named: .huggingFace)
        var result: [GGUFTensor] = []
        var stacks: [String: [Int: Int]] = [:]
        for (index, tensor) in tensors.enumerated() {
            guard let match = match(name: tensor.name) else { continue }
            var sources = [index]
            if match.rule.stacksExperts {
                stacks[match.ggufName, default: [:]][match.expert ?? 0] = index
                guard let stack = stacks[match.ggufName], stack.count == hyperparameters.experts else { continue }
                sources = stack.sorted { $0.key < $1.key }.map(\.value)
            }
            let shape = match.rule.stacksExperts ? ggufShape(of: match) : tensor.shape
            result.append(
                GGUFTensor(
                    name: match.ggufName, sources: sources, shape: shape, change: change(of: match), role: match.role,
                    layer: match.layer, staysF32: Self.staysF32(ggufName: match.ggufName, role: match.role, rank: shape.count)))
        }
        return result
    }

    /// The Hugging Face tensors of a GGUF checkpoint, in its order, stacked experts apart; computed tensors are left out.
    /// - Throws: `ModelError` when names or shapes do not fit the architecture.
    public func huggingFaceTensors(from tensors: [TensorInfo]) throws(ModelError) -> [HuggingFaceTensor] {
        try check(tensors, named: .gguf)
        var result: [HuggingFaceTensor] = []
        for (index, tensor) in tensors.enumerated() {
            guard let match = match(ggufName: tensor.name) else { continue }
            let experts: [Int?] = match.rule.stacksExperts ? Array(0..<hyperparameters.experts) : [nil]
            for expert in experts {
                result.append(
                    HuggingFaceTensor(
                        name: match.rule.name.name(layer: match.layer, expert: expert ?? match.expert), source: index,
                        expert: expert, shape: shape(of: match), change: change(of: match).inverse, role: match.role,
                        layer: match.layer))
            }
        }
        return result
    }

    /// What happens to a tensor's elements on the way to GGUF.
    public func change(of match: TensorMatch) -> TensorChange {
        switch match.rule.change {
        case .none: .none
        case .permuteQ: .permuteRows(heads: hyperparameters.heads, inverse: false)
        case .permuteK: .permuteRows(heads: hyperparameters.keyValueHeads, inverse: false)
        case .addOne: .add(1)
        }
    }

    /// Whether GGUF stores a tensor as F32 in files of any type: vectors, norms, routers, and what is no weight at all.
    public static func staysF32(ggufName: String, role: TensorRole?, rank: Int) -> Bool {
        rank <= 1 || ggufName.hasSuffix("_norm.weight") || !ggufName.hasSuffix(".weight") || role?.family == .router
    }
}
