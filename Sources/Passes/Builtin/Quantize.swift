import Formats
import Models

/// `quantize`: gives weights the types that rules choose, rounding as each type's reference does, or by GPTQ.
struct Quantize: Pass {
    static let declaration = PassDeclaration(
        identifier: "quantize",
        summary: "Stores weights in the types that rules choose.",
        contract: """
            Rounds every chosen weight as the type's reference implementation does, with an importance matrix or without \
            one. Vectors, norms, routers and the other tensors that runtimes want whole are left alone whatever the rules \
            say. A type that does not fit a row is handled as on-fallback says. IQ3_XXS and smaller types (and Q2_K in the \
            mixture q2_k_s) stop the run where there is no importance; with an importance matrix some mixtures choose \
            other types. A matrix whose numbers do not fit the model's columns is of another model, and refused. With \
            'rounding: gptq' the linear weights of the layers are rounded one layer after the other, each error compensated \
            under the second moments of what the weight sees in the calibration text once everything before it is rounded; \
            types that gptq does not know, and all other tensors, are rounded to nearest.
            """,
        options: [
            OptionDeclaration(
                "rules", .rules(mixtures: Mixture.allCases.map(\.rawValue), extra: [Quantize.rounding]), default: .required,
                summary: "Which tensors get which type; the last rule that matches decides."),
            OptionDeclaration(
                "imatrix", .path, default: .absent,
                summary: "An importance matrix, as llama-imatrix or 'calibrate --imatrix' writes it."),
            OptionDeclaration(
                "damping", .number(1e-6...1), default: .number(0.01),
                summary: "For gptq: added to the diagonal of the second moments, as a fraction of its mean."),
            OptionDeclaration(
                "act-order", .boolean, default: .boolean(false),
                summary: "For gptq: round the columns with the largest second moments first."),
        ])

    /// A rule's choice of how its tensors are rounded.
    private static let rounding = OptionDeclaration(
        "rounding", .choice(["nearest", "gptq"]), default: .text("nearest"), summary: "How weights are rounded.")

    private let rules: [Rule]
    private let matrixPath: String?
    private let damping: Double
    private let actOrder: Bool

    init(options: PassOptions) throws(RecipeError) {
        rules = options.rules("rules")
        matrixPath = options.has("imatrix") ? options.text("imatrix") : nil
        damping = options.number("damping")
        actOrder = options.boolean("act-order")
    }

    func rewrite(_ graph: inout TensorGraph, in context: PassContext) throws {
        let decisions = try rules.decisions(for: graph.facts)
        var importance = try matrixPath.map { try QuantizeImportance(path: $0, context: context) }
        var mixtures = MixtureChoices(graph, hasImportance: importance != nil)
        var fallbacks: [String] = []
        var requantized = 0
        var decision = decisions.makeIterator()
        let graphBefore = graph
        var calibrated: [String: GGMLType] = [:]
        var splits: [String: SplitLayout] = [:]
        var notCalibrated: Set<String> = []
        try graph.mapTensors { tensor in
            guard let place = decision.next() ?? nil else { return [tensor] }
            let rule = rules[place]
            if case .split(let bits) = rule.type {
                guard isQuantizable(name: graphBefore.ggufName(of: tensor.info), shape: tensor.info.shape) else { return [tensor] }
                let layout = try graphBefore.splitLayout(of: tensor.info, bits)
                let noted = tensor.noting("quantize, rule \(place + 1): \(layout.name)")
                if rule.options.text("rounding") == "gptq", graphBefore.isLayerWeight(tensor.info) {
                    splits[tensor.info.name] = layout
                    return [noted.noting("gptq")]
                }
                return [try noted.encoded(as: .split(layout))]
            }
            guard let choice = try mixtures.choice(rule.type, for: tensor) else { return [tensor] }
            if let wanted = choice.wanted {
                let tooNarrow = "\(tensor.info.name): \(choice.type.name) instead of \(wanted.name)"
                guard context.onFallback != .error else {
                    throw PipelineError.doesNotFit(
                        tensor: tensor.info.name, type: wanted.name, shape: tensor.info.shape, fallback: choice.type.name,
                        rule: rule.location)
                }
                fallbacks.append(tooNarrow)
            }
            if case .block = tensor.info.encoding, Encoding(choice.type) != tensor.info.encoding { requantized += 1 }
            let note = "quantize, rule \(place + 1): \(rule.type.name)" + (choice.wanted == nil ? "" : ", fallback")
            guard Encoding(choice.type) != tensor.info.encoding else { return [tensor.noting(note)] }
            if rule.options.text("rounding") == "gptq" {
                guard graphBefore.model != nil else { throw graphBefore.calibrationProblem }
                if graphBefore.isLayerWeight(tensor.info) {
                    if BlockTypeRounding.isTarget(choice.type) {
                        calibrated[tensor.info.name] = choice.type
                        return [tensor.noting(note + ", gptq")]
                    }
                    notCalibrated.insert(choice.type.name)
                }
            }
            let stored = graphBefore.ggufPlace(of: tensor.info)
            var columns: TensorImportance?
            if weightedTypes.contains(choice.type) {
                columns = try importance?.importance(
                    of: tensor.info, name: stored.name, expert: stored.expert, expertCount: stored.expertCount)
            }
            if columns == nil, needsImportance(choice.type, name: stored.name, mixture: rule.type.mixture) {
                throw PipelineError.needsImportance(tensor: tensor.info.name, type: choice.type.name, matrix: matrixPath)
            }
            return [try tensor.encoded(as: Encoding(choice.type), importance: columns).noting(note)]
        }
        if let importance {
            importance.report(to: context)
            graph.importance = importance.record
        }
        if !calibrated.isEmpty || !splits.isEmpty { try round(calibrated, splits, of: &graph, in: context) }
        if !notCalibrated.isEmpty {
            context.report(.warning, "gptq does not round to \(notCalibrated.sorted().joined(separator: ", ")): to nearest instead")
        }
        if let mixture = mixtures.only { graph.mixture = mixture }
        if requantized > 0 {
            context.report(.warning, "\(requantized) tensors were quantized before; rounding them again loses more than rounding the original")
        }
        if !fallbacks.isEmpty, context.onFallback == .warn {
            let shown = fallbacks.prefix(3).joined(separator: "; ") + (fallbacks.count > 3 ? "; …" : "")
            context.report(.warning, "\(fallbacks.count) tensors do not fit the wanted type and get another: \(shown)")
        }
    }

    /// Leaves weights to an analysis that rounds them as the layers see them.
    /// - Parameter graph: with everything rounded that is rounded to nearest.
    private func round(_ types: [String: GGMLType], _ splits: [String: SplitLayout], of graph: inout TensorGraph, in context: PassContext) throws {
        let rounding = BlockTypeRounding(types: types, splits: splits, damping: damping, actOrder: actOrder)
        let analysis = try rounding.analysis(of: graph, in: context)
        context.perform(analysis)
        try graph.mapTensors { tensor in
            let name = tensor.info.name
            guard let encoding = types[name].map({ Encoding($0) }) ?? splits[name].map(Encoding.split) else { return [tensor] }
            let info = try TensorInfo(name: name, encoding: encoding, shape: tensor.info.shape)
            return [LazyTensor(info: info, operation: RoundedRows(input: tensor, rounding: analysis), history: tensor.history)]
        }
    }
}

/// The types whose rounding minds importance.
private let weightedTypes = Set(GGMLType.allCases.filter { weightedBlockEncoder($0) != nil })

extension TargetType {
    fileprivate var mixture: String? { if case .mixture(let name) = self { name } else { nil } }

    fileprivate var name: String {
        switch self {
        case .keep: "keep"
        case .encoding(let encoding): encoding.name
        case .mixture(let name): name
        case .split(let bits): bits.name
        }
    }
}

/// The choices of the mixtures that rules name, computed once for the whole model when first asked for.
private struct MixtureChoices {
    private let graph: TensorGraph
    private let hasImportance: Bool
    private var choices: [Mixture: [String: MixtureChoice]] = [:]

    init(_ graph: TensorGraph, hasImportance: Bool) {
        self.graph = graph
        self.hasImportance = hasImportance
    }

    /// The one mixture that was used, if there was just one.
    var only: Mixture? { choices.count == 1 ? choices.keys.first : nil }

    /// The type a rule gives a tensor; `nil` when it stays as it is.
    mutating func choice(_ type: TargetType, for tensor: LazyTensor) throws -> MixtureChoice? {
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
        case .mixture(let name):
            let mixture = Mixture(rawValue: name)!  // the registry accepts only names of mixtures
            return try all(mixture)[graph.ggufName(of: tensor.info)]
        }
    }

    private mutating func all(_ mixture: Mixture) throws -> [String: MixtureChoice] {
        if let known = choices[mixture] { return known }
        guard let model = graph.mixtureModel ?? (mixture.looksAtLayers(hasImportance: hasImportance) ? nil : MixtureModel.unknown) else {
            if let problem = graph.modelProblem { throw problem }
            throw PipelineError.cannotApply(
                pass: "quantize", why: "the mixture \(mixture.rawValue) needs a model with a configuration; use rules with types")
        }
        let made = mixture.choices(for: graph.ggufShapes, in: model, hasImportance: hasImportance)
        choices[mixture] = made
        return made
    }
}

extension TensorGraph {
    /// Why a model without a description cannot be calibrated.
    fileprivate var calibrationProblem: any Error {
        modelProblem ?? PipelineError.cannotApply(pass: "quantize", why: "gptq needs a model with a configuration, which it can run")
    }

    /// Whether a tensor is a linear weight inside a layer, with an input that a calibration can see.
    fileprivate func isLayerWeight(_ info: TensorInfo) -> Bool {
        guard let match = model?.match(name: info.name), match.layer != nil else { return false }
        return match.role.family == .linear || match.role.family == .expert
    }

    /// The name a tensor has, or would have, in GGUF.
    func ggufName(of info: TensorInfo) -> String { model?.match(name: info.name)?.ggufName ?? info.name }

    /// The same, and which of the experts that GGUF stacks under that name the tensor is.
    fileprivate func ggufPlace(of info: TensorInfo) -> (name: String, expert: Int?, expertCount: Int) {
        guard let model, let match = model.match(name: info.name) else { return (info.name, nil, 1) }
        let isStacked = match.rule.stacksExperts && match.expert != nil
        return (match.ggufName, isStacked ? match.expert : nil, isStacked ? model.hyperparameters.experts : 1)
    }

    /// Whether a tensor of a model without roles looks like a weight all the same: a matrix called `…weight`.
    fileprivate func isNameless(_ info: TensorInfo) -> Bool {
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

    /// What selectors look at in each tensor, in order.
    var facts: [TensorFacts] {
        tensors.map { tensor in
            let match = model?.match(name: tensor.info.name)
            return TensorFacts(
                name: tensor.info.name, role: match?.role.rawValue, layer: match?.layer,
                layerCount: model?.hyperparameters.layers ?? 0, shape: tensor.info.shape)
        }
    }
}
