import Formats
import Models

/// The types that rules choose, of the tensors of one model; what mixtures say is computed once, when first asked for.
struct MixtureChoices {
    private struct MixtureKey: Hashable {
        let mixture: Mixture
        let hasImportance: Bool
    }

    private let graph: TensorGraph
    private let rules: [Rule]
    /// The rule that decides for each tensor of the graph.
    private let decisions: [Int?]
    private let hasImportance: Bool
    private var choices: [MixtureKey: [String: MixtureChoice]] = [:]
    /// What stands beside weights that are rounded with their Hessians, if anything does.
    private let residual: ResidualRounding?
    /// By rule and GGUF name.
    private var reallocated: [Int: [String: TypeBudget.Share]] = [:]

    init(_ graph: TensorGraph, rules: [Rule], decisions: [Int?], hasImportance: Bool, residual: ResidualRounding?) {
        self.residual = residual
        self.graph = graph
        self.rules = rules
        self.decisions = decisions
        self.hasImportance = hasImportance
    }

    /// The one mixture that rules name, if there is just one that decides.
    var only: Mixture? {
        let used = Set(decisions.compactMap { $0.flatMap { rules[$0].type.mixture } })
        return used.count == 1 ? used.first.flatMap(Mixture.init(rawValue:)) : nil
    }

    /// The type a rule gives a tensor; `nil` when it stays as it is.
    mutating func choice(ofRule place: Int, for tensor: LazyTensor) throws -> MixtureChoice? {
        guard let named = try choice(rules[place].type, for: tensor, hasImportance: hasImportance) else { return nil }
        guard rules[place].options.boolean("reallocate") else { return named }
        guard let share = try shares(reallocatedBy: place)[graph.ggufName(of: tensor.info)] else { return named }
        return MixtureChoice(type: share.type, wanted: nil)
    }

    /// The rank of a weight's residual; `nil` when it gets none.
    mutating func residualRank(ofRule place: Int, for tensor: LazyTensor) throws -> Int? {
        guard let residual, takesResidual(tensor.info, ofRule: place) else { return nil }
        if rules[place].options.boolean("reallocate"), let share = try shares(reallocatedBy: place)[graph.ggufName(of: tensor.info)] {
            return share.rank == 0 ? nil : share.rank
        }
        return residual.fits(tensor.info.shape, rank: residual.rank) ? residual.rank : nil
    }

    /// GGUF stacks experts, and adapters of stacks are not what every runtime knows.
    private func takesResidual(_ info: TensorInfo, ofRule place: Int) -> Bool {
        residual != nil && rules[place].options.rounding("rounding").method is GPTQ && graph.isLayerWeight(info)
            && graph.model?.match(name: info.name)?.rule.stacksExperts == false
    }

    private mutating func choice(_ type: TargetType, for tensor: LazyTensor, hasImportance: Bool) throws -> MixtureChoice? {
        let name = graph.ggufName(of: tensor.info)
        switch type {
        case .keep, .split: return nil
        case .encoding(let encoding):
            guard isQuantizable(name: name, shape: tensor.info.shape) || graph.isNameless(tensor.info) else { return nil }
            guard let wanted = encoding.ggmlType else {
                throw PipelineError.cannotApply(pass: "quantize", why: "\(encoding.name) is not a type of ggml; use cast")
            }
            let fits = fitting(wanted, columnCount: tensor.info.columnCount)
            return MixtureChoice(type: fits, wanted: fits == wanted ? nil : wanted)
        case .mixture(let mixture):
            // The registry accepts only names of mixtures.
            return try all(Mixture(rawValue: mixture)!, hasImportance: hasImportance)[name]
        }
    }

    /// Types, and ranks of residuals, for all tensors of a rule in no more bytes than its own types take, without an importance
    /// matrix or with one, or than it says.
    private mutating func shares(reallocatedBy place: Int) throws -> [String: TypeBudget.Share] {
        if let known = reallocated[place] { return known }
        guard let model = graph.model else {
            throw graph.modelProblem ?? PipelineError.cannotApply(pass: "quantize", why: "'reallocate' needs a model with a configuration")
        }
        let shapes = Dictionary(uniqueKeysWithValues: graph.ggufShapes.map { ($0.name, $0.shape) })
        var weights: [TypeBudget.Weight] = []
        var seen: Set<String> = []
        var (plain, weighted) = (0, 0)
        for (tensor, decision) in zip(graph.tensors, decisions) where decision == place {
            guard let match = model.match(name: tensor.info.name), let shape = shapes[match.ggufName],
                let first = try choice(rules[place].type, for: tensor, hasImportance: false),
                let second = try choice(rules[place].type, for: tensor, hasImportance: true), seen.insert(match.ggufName).inserted
            else { continue }
            plain += TypeBudget.byteCount(shape, first.type)
            weighted += TypeBudget.byteCount(shape, second.type)
            weights.append(
                TypeBudget.Weight(
                    name: match.ggufName, shape: shape, role: match.role, isTied: model.isTied,
                    takesResidual: takesResidual(tensor.info, ofRule: place)))
        }
        // A thousandth is left for what the header says.
        let options = rules[place].options
        let bits = options.has("bits") ? options.number("bits") : nil
        let weightCount = weights.reduce(0) { $0 + $1.shape.reduce(1, *) }
        let byteCount = bits.map { Int(Double(weightCount) * $0 / 8) } ?? min(plain, weighted)
        let shares = TypeBudget(byteCount: byteCount / 1000 * 999, residual: residual).shares(for: weights)
        if shares == nil, bits != nil { throw options.error("fewer than the smallest types take", option: "bits") }
        // Where a rule's types are the smallest, there is nothing to deal out.
        reallocated[place] = shares ?? [:]
        return shares ?? [:]
    }

    private mutating func all(_ mixture: Mixture, hasImportance: Bool) throws -> [String: MixtureChoice] {
        let key = MixtureKey(mixture: mixture, hasImportance: hasImportance)
        if let known = choices[key] { return known }
        guard let model = graph.mixtureModel ?? (mixture.looksAtLayers(hasImportance: hasImportance) ? nil : MixtureModel.unknown) else {
            if let problem = graph.modelProblem { throw problem }
            throw PipelineError.cannotApply(
                pass: "quantize", why: "the mixture \(mixture.rawValue) needs a model with a configuration; use rules with types")
        }
        let made = mixture.choices(for: graph.ggufShapes, in: model, hasImportance: hasImportance)
        choices[key] = made
        return made
    }
}

extension TargetType {
    var mixture: String? { if case .mixture(let name) = self { name } else { nil } }

    /// As recipes write it.
    var name: String {
        switch self {
        case .keep: "keep"
        case .encoding(let encoding): encoding.name
        case .mixture(let name): name
        case .split(let bits): bits.name
        }
    }
}

extension TensorGraph {
    /// Whether a tensor of a model without roles looks like a weight all the same: a matrix called `…weight`.
    func isNameless(_ info: TensorInfo) -> Bool {
        model == nil && info.shape.count >= 2 && info.name.hasSuffix("weight")
    }

    /// GGUF names and shapes; experts that GGUF stacks appear once.
    fileprivate var ggufShapes: [(name: String, shape: [Int])] {
        var seen: Set<String> = []
        return tensors.compactMap { tensor in
            let match = model?.match(name: tensor.info.name)
            let name = match?.ggufName ?? tensor.info.name
            guard seen.insert(name).inserted else { return nil }
            return (name, match.flatMap { model?.ggufShape(of: $0) } ?? tensor.info.shape)
        }
    }

    /// What mixtures look at, from the description or, for architectures without one, from GGUF metadata.
    fileprivate var mixtureModel: MixtureModel? {
        if let model {
            let numbers = model.hyperparameters
            return MixtureModel(
                layerCount: numbers.layers, headCount: numbers.heads, kvHeadCount: numbers.keyValueHeads,
                expertCount: numbers.experts, architecture: model.architecture.ggufName)
        }
        guard case .gguf(let metadata) = metadata, let name = metadata["general.architecture"]?.string,
            let layers = metadata["\(name).block_count"]?.integer
        else { return nil }
        let heads = metadata["\(name).attention.head_count"]?.integer ?? 0
        return MixtureModel(
            layerCount: layers, headCount: heads,
            kvHeadCount: metadata["\(name).attention.head_count_kv"]?.integer ?? heads,
            expertCount: metadata["\(name).expert_count"]?.integer ?? 0, architecture: name)
    }
}
