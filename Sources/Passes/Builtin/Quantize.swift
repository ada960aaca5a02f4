import Formats
import Models
import ResQ

/// `quantize`: gives weights the types that rules choose, rounding as each type's reference does, or by GPTQ.
struct Quantize: DeclaredPass {
    static let declaration = Declaration(
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
                "rules",
                .rules(mixtures: Mixture.allCases.map(\.rawValue), extra: [Quantize.rounding, Quantize.reallocate, Quantize.bits]),
                default: .required, summary: "Which tensors get which type; the last rule that matches decides."),
            OptionDeclaration(
                "imatrix", .path, default: .absent,
                summary: "An importance matrix, as llama-imatrix or 'calibrate --imatrix' writes it."),
            OptionDeclaration(
                "damping", .number(1e-6...1), default: .number(0.01),
                summary: "For gptq: added to the diagonal of the second moments, as a fraction of its mean."),
            OptionDeclaration(
                "act-order", .boolean, default: .boolean(false),
                summary: "For gptq: round the columns with the largest second moments first."),
            OptionDeclaration(
                "sweeps", .integer(0...100), default: .integer(0),
                summary: "For gptq: sweeps of coordinate descent over scales and codes afterwards."),
            OptionDeclaration(
                "scale-search", .choice(["paper", "weighted"]), default: .text("paper"),
                summary: """
                    For gptq onto integers: the scale with the least sum of |error|^2.4, as the paper has it, or of squared errors \
                    weighed with the diagonal of the second moments.
                    """),
            OptionDeclaration(
                "sequences", .integer(1...1_000_000), default: .absent,
                summary: "For gptq: use only the first so many sequences of the calibration."),
            OptionDeclaration(
                "residual-rank", .integer(0...1024), default: .integer(0),
                summary: """
                    For gptq: the rank of a low-rank residual beside each weight, written as a LoRA adapter; 0 for none. With \
                    'reallocate' the largest: each weight gets the multiple of 32 that pays.
                    """),
            OptionDeclaration(
                "residual-type", .choice(ResidualRounding.types), default: .text("q4_0"),
                summary: "The type of the residual's factors; all but f16 need a rank that is a multiple of 32."),
            OptionDeclaration(
                "residual-rounds", .integer(1...20), default: .integer(2),
                summary: "How often base and residual are made anew, each for what the other leaves."),
        ])

    /// A rule's choice of how its tensors are rounded.
    private static let rounding = OptionDeclaration(
        "rounding", .rounding(), default: .text("nearest"), summary: "How weights are rounded.")

    /// A rule's choice to keep to the bytes of its types and not to the types.
    private static let reallocate = OptionDeclaration(
        "reallocate", .boolean, default: .boolean(false),
        summary: "Deal the bytes that the rule's tensors would take out anew, to where they lower the divergence most.")

    /// How many bytes a reallocating rule deals out, where not those of its types.
    private static let bits = OptionDeclaration(
        "bits", .number(1...32), default: .absent,
        summary: "With 'reallocate': bits per weight to deal out, a residual's included, whatever the type takes.")

    private let rules: [Rule]
    private let matrixPath: String?
    private let damping: Double
    private let actOrder: Bool
    private let sweeps: Int
    private let scaleSearch: IntegerGrid.ClipSearch
    private let sequences: Int?
    private let residual: ResidualRounding?

    init(options: PassOptions) throws(RecipeError) {
        rules = options.rules("rules")
        matrixPath = options.has("imatrix") ? options.text("imatrix") : nil
        for rule in rules where rule.options.has("bits") && !rule.options.boolean("reallocate") {
            throw rule.options.error("needs 'reallocate: true'", option: "bits")
        }
        damping = options.number("damping")
        actOrder = options.boolean("act-order")
        sweeps = options.integer("sweeps")
        scaleSearch = options.text("scale-search") == "weighted" ? .weighted : .paper
        sequences = options.has("sequences") ? options.integer("sequences") : nil
        let (rank, type) = (options.integer("residual-rank"), options.text("residual-type"))
        guard rank == 0 || ResidualRounding.isValid(rank: rank, type: type) else {
            throw RecipeError("'residual-rank' is \(rank), and factors in \(type) need a multiple of 32", at: options.location)
        }
        residual = rank == 0 ? nil : ResidualRounding(
            rank: rank, encoding: type == "f16" ? .plain(.f16) : Encoding(GGMLType(name: type.uppercased())!),  // one of `types`
            rounds: options.integer("residual-rounds"))
    }

    func rewrite(_ graph: inout TensorGraph, in context: PassContext) throws {
        let decisions = try rules.decisions(for: graph.facts)
        var importance = try matrixPath.map { try QuantizeImportance(path: $0, context: context) }
        var mixtures = MixtureChoices(graph, rules: rules, decisions: decisions, hasImportance: importance != nil, residual: residual)
        var fallbacks: [String] = []
        var requantized = 0
        var decision = decisions.makeIterator()
        let graphBefore = graph
        var calibrated: [String: GGMLType] = [:]
        var splits: [String: SplitLayout] = [:]
        var methods: [String: any RoundingMethod] = [:]
        var ranks: [String: Int] = [:]
        var notRounded: [String: Set<String>] = [:]
        try graph.mapTensors { tensor in
            guard let place = decision.next() ?? nil else { return [tensor] }
            let rule = rules[place]
            let (methodName, method) = rule.options.rounding("rounding")
            if case .split(let bits) = rule.type {
                guard isQuantizable(name: graphBefore.ggufName(of: tensor.info), shape: tensor.info.shape) else { return [tensor] }
                let layout = try graphBefore.splitLayout(of: tensor.info, bits)
                let noted = tensor.noting("quantize, rule \(place + 1): \(layout.name)")
                guard method is GPTQ || method is Nearest else {
                    throw RecipeError("'\(methodName)' does not round to '\(bits.name)'", at: rule.location)
                }
                guard !rule.options.boolean("reallocate") else {
                    throw RecipeError("'reallocate' deals bytes out among block types, and '\(bits.name)' is none", at: rule.location)
                }
                if method is GPTQ, graphBefore.isHead(tensor.info) {
                    context.report(.warning, "gptq rounds a head to block types only: '\(tensor.info.name)' is rounded to nearest")
                }
                if method is GPTQ, graphBefore.isLayerWeight(tensor.info) {
                    splits[tensor.info.name] = layout
                    return [noted.noting("gptq")]
                }
                return [try noted.encoded(as: .split(layout))]
            }
            if case .encoding(.custom(let type)) = rule.type {
                guard isQuantizable(name: graphBefore.ggufName(of: tensor.info), shape: tensor.info.shape) || graphBefore.isNameless(tensor.info)
                else { return [tensor] }
                guard method is Nearest else { throw RecipeError("'\(methodName)' does not round to '\(type.name)'", at: rule.location) }
                guard tensor.info.columnCount % type.blockSize == 0 else {
                    throw PipelineError.doesNotFit(
                        tensor: tensor.info.name, type: type.name, shape: tensor.info.shape, fallback: nil, rule: rule.location)
                }
                if let codec = type.codec as? PluginCodec { context.use(codec.call.plugin) }
                return [try tensor.encoded(as: .custom(type)).noting("quantize, rule \(place + 1): \(type.name)")]
            }
            guard let choice = try mixtures.choice(ofRule: place, for: tensor) else { return [tensor] }
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
            let share = rule.options.boolean("reallocate") ? ", reallocated" : ""
            let note = "quantize, rule \(place + 1): \(rule.type.name)\(share)" + (choice.wanted == nil ? "" : ", fallback")
            guard Encoding(choice.type) != tensor.info.encoding else { return [tensor.noting(note)] }
            let isRounded = method.rounds(to: choice.type)
            if let method = method as? PluginRounding { context.use(method.call.plugin) }
            if method.isCalibrated {
                guard graphBefore.model != nil else { throw graphBefore.calibrationProblem }
                if graphBefore.isLayerWeight(tensor.info) || graphBefore.isHead(tensor.info) {
                    if isRounded {
                        calibrated[tensor.info.name] = choice.type
                        if method is GPTQ {
                            ranks[tensor.info.name] = try mixtures.residualRank(ofRule: place, for: tensor)
                        } else {
                            methods[tensor.info.name] = method
                        }
                        return [tensor.noting("\(note), \(methodName)")]
                    }
                    notRounded[methodName, default: []].insert(choice.type.name)
                }
            } else if !isRounded {
                notRounded[methodName, default: []].insert(choice.type.name)
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
            let isByMethod = isRounded && !method.isCalibrated
            let rounded = try isByMethod
                ? method.rounded(tensor, to: choice.type, importance: columns) : tensor.encoded(as: Encoding(choice.type), importance: columns)
            return [rounded.noting(isByMethod && !(method is Nearest) ? "\(note), \(methodName)" : note)]
        }
        if let importance {
            importance.report(to: context)
            graph.importance = importance.record
        }
        if !calibrated.isEmpty || !splits.isEmpty {
            if let residual, ranks.isEmpty {
                context.report(
                    .warning,
                    "no weight gets a residual of up to \(residual.rank) ranks: it is for block types, and for sides of twice its rank at least")
            }
            try round(calibrated, splits, methods, ranks, of: &graph, original: graphBefore, in: context)
        } else if residual != nil {
            throw PipelineError.cannotApply(pass: "quantize", why: "a residual is for weights that 'rounding: gptq' rounds, and there are none")
        }
        for (method, types) in notRounded.sorted(by: { $0.key < $1.key }) {
            context.report(.warning, "\(method) does not round to \(types.sorted().joined(separator: ", ")): to nearest instead")
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
    /// - Parameters:
    ///   - graph: with everything rounded that is rounded to nearest.
    ///   - original: with nothing rounded.
    private func round(
        _ types: [String: GGMLType], _ splits: [String: SplitLayout], _ methods: [String: any RoundingMethod], _ ranks: [String: Int],
        of graph: inout TensorGraph, original: TensorGraph,
        in context: PassContext
    ) throws {
        var rounding = BlockTypeRounding(
            types: types, splits: splits, damping: damping, actOrder: actOrder, sweeps: sweeps, scaleSearch: scaleSearch, sequences: sequences,
            methods: methods)
        rounding.tiedEmbedding = graph.tensors.map(\.info).first { types[$0.name] != nil && graph.model?.match(name: $0.name)?.role == .embedding }?.name
        (rounding.residual, rounding.ranks) = (residual, ranks)
        let analysis = try rounding.analysis(of: graph, original: original, in: context)
        context.perform(analysis)
        try graph.mapTensors { tensor in
            let name = tensor.info.name
            guard let encoding = types[name].map({ Encoding($0) }) ?? splits[name].map(Encoding.split) else { return [tensor] }
            let info = try TensorInfo(name: name, encoding: encoding, shape: tensor.info.shape)
            return [LazyTensor(info: info, operation: RoundedRows(name: name, input: tensor, rounding: analysis), history: tensor.history)]
        }
        guard let residual else { return }
        for tensor in graph.tensors {
            guard let rank = ranks[tensor.info.name] else { continue }
            graph.additions.append(try residual.addition(to: tensor.info, rank: rank, analysis))
        }
    }
}

/// The types whose rounding minds importance.
private let weightedTypes = Set(GGMLType.allCases.filter { weightedBlockEncoder($0) != nil })

extension TensorGraph {
    /// Why a model without a description cannot be calibrated.
    fileprivate var calibrationProblem: any Error {
        modelProblem ?? PipelineError.cannotApply(pass: "quantize", why: "gptq needs a model with a configuration, which it can run")
    }

    /// Whether a tensor is a linear weight inside a layer, with an input that a calibration can see.
    func isLayerWeight(_ info: TensorInfo) -> Bool {
        guard let match = model?.match(name: info.name), match.layer != nil else { return false }
        return match.role.family == .linear || match.role.family == .expert
    }

    /// Whether a tensor is the head, on its own or as the embedding.
    fileprivate func isHead(_ info: TensorInfo) -> Bool {
        guard let model, let match = model.match(name: info.name) else { return false }
        return match.role == .head || match.role == .embedding && model.isTied
    }

    /// The name a tensor has, or would have, in GGUF.
    func ggufName(of info: TensorInfo) -> String { model?.match(name: info.name)?.ggufName ?? info.name }

    /// The same, and which of the experts that GGUF stacks under that name the tensor is.
    fileprivate func ggufPlace(of info: TensorInfo) -> (name: String, expert: Int?, expertCount: Int) {
        guard let model, let match = model.match(name: info.name) else { return (info.name, nil, 1) }
        let isStacked = match.rule.stacksExperts && match.expert != nil
        return (match.ggufName, isStacked ? match.expert : nil, isStacked ? model.hyperparameters.experts : 1)
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
