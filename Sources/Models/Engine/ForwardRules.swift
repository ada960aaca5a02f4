import Formats

/// How an architecture computes: what its data file says under `forward`.
///
///     forward {
///       activation          silu | gelu-tanh
///       epsilon             a number: what the norms add to the mean square
///       embedding-scale?    root-hidden: embeddings are multiplied by the square root of their width
///       query-scalar?       a key of `fixed`: queries are divided by its square root, instead of the head dimension's
///       attention-cap?      a number: attention scores s become cap · tanh(s / cap)
///       final-cap?          a number: the same for logits
///       window?             a number: how many positions a token sees, itself included, in layers with a window
///       window-switch?      a key of `config.json` that must be true for the window to count
///       window-start?       a key of `config.json`: the first layer with a window
///       expert-weights?     chosen | all: whether the weights of the chosen experts sum to 1
///     }
///
/// A number is named by its GGUF key, which `metadata` also derives from `config.json`, or by a key of `config.json`
/// alone when GGUF has none. Which layers have a window is what `layer_types` of `config.json` says, else the
/// architecture's `sliding-pattern`, else all.
struct ForwardRules: Sendable {
    enum Activation: String, Sendable, CaseIterable {
        case silu
        case geluTanh = "gelu-tanh"
    }
    enum EmbeddingScale: String, Sendable, CaseIterable { case rootHidden = "root-hidden" }
    enum ExpertWeights: String, Sendable, CaseIterable { case chosen, all }

    let activation: Activation
    let epsilon: String
    let embeddingScale: EmbeddingScale?
    let queryScalar: String?
    let attentionCap: String?
    let finalCap: String?
    let window: String?
    let windowSwitch: String?
    let windowStart: String?
    let expertWeights: ExpertWeights

    init(_ reader: inout ArchitectureReader) throws(ModelError) {
        activation = try reader.word("activation")
        epsilon = try reader.string("epsilon")
        embeddingScale = try reader.optionalWord("embedding-scale")
        queryScalar = try reader.optionalString("query-scalar")
        attentionCap = try reader.optionalString("attention-cap")
        finalCap = try reader.optionalString("final-cap")
        window = try reader.optionalString("window")
        windowSwitch = try reader.optionalString("window-switch")
        windowStart = try reader.optionalString("window-start")
        expertWeights = try reader.optionalWord("expert-weights") ?? .chosen
        try reader.finish()
    }
}

/// The numbers the forward pass of one model needs beside its shape.
struct ForwardParameters: Sendable {
    var activation: ForwardRules.Activation
    var epsilon: Float
    /// What embeddings are multiplied by.
    var embeddingScale: Float
    /// What scores are multiplied by before the softmax.
    var attentionScale: Float
    /// Zero for none, as for the next.
    var attentionCap: Float
    var finalCap: Float
    /// Positions a token sees in each layer; `nil` for all before it.
    var windows: [Int?]
    /// Whether each layer uses the local base of RoPE.
    var usesLocalRoPE: [Bool]
    var expertWeights: ForwardRules.ExpertWeights

    /// - Parameter metadata: of the GGUF file the model came from; `nil` when it came from a configuration. A file that
    ///   still has the configuration it was made from computes as that says: GGUF has no keys for some windows.
    init(_ model: ModelDescription, metadata: GGUFMetadata?) throws(ModelError) {
        let source = metadata.flatMap { model.source(in: $0) }
        let (model, metadata) = (source ?? model, source == nil ? metadata : nil)
        guard let rules = model.architecture.forward else {
            throw ModelError(.invalidArchitecture(field: "forward", why: "is missing: this architecture can be converted, not run"))
        }
        var all = GGUFMetadata()
        if let metadata { all = metadata } else { try model.addArchitectureKeys(to: &all) }
        let reader = MetadataReader(all, architecture: model.architecture.ggufName)
        let config = ConfigReader(model.config ?? JSONObject())
        func number(_ key: String?) throws(ModelError) -> Double? {
            guard let key else { return nil }
            guard key.hasPrefix("{arch}") else { return try config.positive(key) }
            // Zero stands for none, as in the runtime.
            if reader[key]?.number == 0 { return nil }
            return try reader.positive(key)
        }
        guard let epsilon = try number(rules.epsilon) else { throw ModelError(.missingKey(key: reader.key(rules.epsilon))) }
        let numbers = model.hyperparameters
        activation = rules.activation
        self.epsilon = Float(epsilon)
        embeddingScale = rules.embeddingScale == nil ? 1 : Float(Double(numbers.hidden).squareRoot())
        var scalar = numbers.headDimension
        if let key = rules.queryScalar, let fixed = model.architecture.fixed.first(where: { $0.key == key }) {
            scalar = try fixed.expressionValue(numbers)
        }
        attentionScale = Float(1 / Double(scalar).squareRoot())
        attentionCap = Float(try number(rules.attentionCap) ?? 0)
        finalCap = Float(try number(rules.finalCap) ?? 0)
        windows = try Self.windows(of: model, rules, config, width: try number(rules.window))
        let pattern = model.architecture.slidingPattern
        usesLocalRoPE = (0..<numbers.layers).map { layer in
            model.rope.localTheta != nil && pattern.map { (layer + 1) % $0 != 0 } ?? false
        }
        expertWeights = rules.expertWeights
    }

    private static func windows(
        of model: ModelDescription, _ rules: ForwardRules, _ config: ConfigReader, width: Double?
    ) throws(ModelError) -> [Int?] {
        let layers = model.hyperparameters.layers
        let none = [Int?](repeating: nil, count: layers)
        guard var width else { return none }
        if let key = rules.windowSwitch { guard try config.bool(key) == true else { return none } }
        width = min(width, 1e15)
        let start = try rules.windowStart.map { key throws(ModelError) in try config.integer(key, in: 0...Int.max) ?? layers } ?? 0
        let types = config.value("layer_types")?.array.flatMap { $0.count == layers ? $0 : nil }
        return (0..<layers).map { layer in
            if let types { return types[layer].string == "sliding_attention" ? Int(width) : nil }
            if let pattern = model.architecture.slidingPattern, (layer + 1) % pattern == 0 { return nil }
            return layer >= start ? Int(width) : nil
        }
    }
}
