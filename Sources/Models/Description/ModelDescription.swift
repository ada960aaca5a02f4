import Formats

/// One model: an architecture with its numbers filled in, from `config.json` or from GGUF metadata.
///
/// Everything is validated here: what a description says can be multiplied and counted with without further checks.
public struct ModelDescription: Sendable {
    public let architecture: Architecture
    public let hyperparameters: Hyperparameters
    public let rope: RoPE
    /// Whether the head is the embedding.
    public package(set) var isTied: Bool
    /// `config.json`, when the description was made from one.
    package let config: JSONObject?
    /// The shape of each tensor rule, in Hugging Face files.
    let shapes: [[Int]]

    /// Reads a Hugging Face configuration.
    /// - Throws: `ModelError` naming the key that is missing, of the wrong type, out of range, or not representable.
    public init(config json: JSONValue, architecture: Architecture) throws(ModelError) {
        guard let config = json.object else {
            throw ModelError(.invalidKey(key: "config.json", found: describe(json), expected: "an object"))
        }
        let reader = ConfigReader(config)
        if let method = reader.value("quantization_config") {
            throw ModelError(
                .invalidKey(key: "quantization_config", found: describe(method), expected: "a model that is not quantized"))
        }
        var hyperparameters = Hyperparameters()
        for rule in architecture.hyperparameters {
            let value = try rule.value(in: reader, hyperparameters)
            hyperparameters.set(rule.name, to: value)
        }
        try hyperparameters.check()
        try architecture.checkFixed(reader, hyperparameters)
        let rope = try RoPE(config: config, rule: architecture.rope, context: hyperparameters[.context] ?? 0)
        try rope.checkFactors(hyperparameters)
        try self.init(
            architecture: architecture, hyperparameters: hyperparameters, rope: rope,
            isTied: reader.bool(architecture.tied.configKey) ?? architecture.tied.fallback, config: config)
    }

    /// Reads GGUF metadata. Whether the head is tied is decided by the tensors.
    /// - Parameter computed: the values of tensors that Hugging Face models do not have (RoPE factors), by name, as far
    ///   as they are known.
    /// - Throws: `ModelError` naming the key that is missing, of the wrong type, or out of range.
    public init(
        metadata: GGUFMetadata, tensors: [TensorInfo], computed: [String: [Float]] = [:], architecture: Architecture
    ) throws(ModelError) {
        let reader = MetadataReader(metadata, architecture: architecture.ggufName)
        var hyperparameters = Hyperparameters()
        for rule in architecture.hyperparameters {
            var value = try reader.integer(rule.ggufKey, in: rule.name.limits)
            if value == nil, rule.name == .vocabulary { value = try reader.vocabulary(tensors, architecture) }
            if value == nil, let fallback = rule.ggufFallback {
                value = try rule.checked(try fallback.value(in: hyperparameters), key: reader.key(rule.ggufKey ?? rule.name.rawValue))
            }
            if value == nil, rule.ggufKey == nil, let fallback = rule.fallback {
                value = try rule.checked(try fallback.value(in: hyperparameters), key: rule.name.rawValue)
            }
            guard let value else { throw ModelError(.missingKey(key: reader.key(rule.ggufKey ?? rule.name.rawValue))) }
            hyperparameters.set(rule.name, to: value)
        }
        try hyperparameters.check()
        let head = architecture.tied.allowsUntiedGGUF ? architecture.tensors.first { $0.role == .head } : nil
        try self.init(
            architecture: architecture, hyperparameters: hyperparameters,
            rope: try RoPE(metadata: reader, computed: computed, rule: architecture.rope, hyperparameters),
            isTied: !tensors.contains { $0.name == head?.ggufName.text }, config: nil)
    }

    private init(
        architecture: Architecture, hyperparameters: Hyperparameters, rope: RoPE, isTied: Bool, config: JSONObject?
    ) throws(ModelError) {
        self.architecture = architecture
        self.hyperparameters = hyperparameters
        self.rope = rope
        self.isTied = isTied
        self.config = config
        var shapes: [[Int]] = []
        for rule in architecture.tensors {
            var shape: [Int] = []
            for dimension in rule.shape { shape.append(try dimension.value(in: hyperparameters)) }
            shapes.append(shape)
            let heads: Int? =
                switch rule.change {
                case .permuteQ: hyperparameters.heads
                case .permuteK: hyperparameters.keyValueHeads
                case .none, .addOne: nil
                }
            guard let heads else { continue }
            guard let rows = shape.first, rows % (2 * heads) == 0 else {
                throw ModelError(
                    .invalidArchitecture(
                        field: "tensors.\(rule.name.text).change", why: "the rows of \(shape) are not \(heads) heads of pairs"))
            }
        }
        self.shapes = shapes
    }
}

extension HyperparameterRule {
    fileprivate func value(in config: ConfigReader, _ known: Hyperparameters) throws(ModelError) -> Int {
        for key in configKeys {
            if let value = try config.integer(key, in: name.limits) { return value }
        }
        guard let fallback else { throw ModelError(.missingKey(key: configKeys.first ?? name.rawValue)) }
        var value = try fallback.value(in: known)
        if let fractionKey {
            let nested = try config.object("rope_parameters")?.positive(fractionKey)
            let fraction = try config.positive(fractionKey) ?? nested ?? 1
            guard fraction <= 1 else {
                throw ModelError(.invalidKey(key: fractionKey, found: "\(fraction)", expected: "a number from 0 to 1"))
            }
            value = Int((fraction * Double(value)).rounded(.down))
        }
        return try checked(value, key: configKeys.first ?? fractionKey ?? name.rawValue)
    }

    fileprivate func checked(_ value: Int, key: String) throws(ModelError) -> Int {
        guard name.limits.contains(value) else {
            throw ModelError(
                .invalidKey(
                    key: key, found: "\(value)",
                    expected: "an integer from \(name.limits.lowerBound) to \(name.limits.upperBound)"))
        }
        return value
    }
}

extension Hyperparameters {
    /// The relations every architecture needs.
    fileprivate func check() throws(ModelError) {
        func require(_ condition: Bool, _ name: Hyperparameter, _ expected: String) throws(ModelError) {
            guard condition else {
                throw ModelError(.invalidKey(key: name.rawValue, found: "\(self[name] ?? 0)", expected: expected))
            }
        }
        try require(heads % max(keyValueHeads, 1) == 0, .heads, "a multiple of key-value-heads (\(keyValueHeads))")
        try require(headDimension % 2 == 0, .headDimension, "an even number")
        if let rope = self[.ropeDimension] {
            try require(rope % 2 == 0 && rope <= headDimension, .ropeDimension, "an even number up to \(headDimension)")
        }
        if let used = self[.expertsUsed] {
            try require(experts >= 1, .experts, "at least 1")
            try require(used >= 1 && used <= experts, .expertsUsed, "a number from 1 to \(experts)")
        }
    }
}

extension Architecture {
    /// Checks the keys that the runtime has built in.
    fileprivate func checkFixed(_ config: ConfigReader, _ hyperparameters: Hyperparameters) throws(ModelError) {
        for rule in fixed {
            guard let value = config.value(rule.key) else { continue }
            let accepted: [JSONValue]
            switch rule.values {
            case .literals(let literals): accepted = literals
            case .expression: accepted = [.integer(try rule.expressionValue(hyperparameters))]
            }
            let isAccepted = accepted.contains { $0 == value || ($0.double != nil && $0.double == value.double) }
            guard isAccepted else {
                throw ModelError(
                    .invalidKey(
                        key: rule.key, found: describe(value),
                        expected: accepted.map(describe).joined(separator: " or ") + ", which the GGUF runtime has built in"))
            }
        }
        try checkSlidingPattern(config, layers: hyperparameters.layers)
    }

    private func checkSlidingPattern(_ config: ConfigReader, layers: Int) throws(ModelError) {
        guard let slidingPattern else { return }
        for key in ["sliding_window_pattern", "_sliding_window_pattern"] {
            if let period = try config.integer(key, in: 0...Int.max), period != slidingPattern {
                throw ModelError(.invalidKey(key: key, found: "\(period)", expected: "\(slidingPattern), which the GGUF runtime has built in"))
            }
        }
        guard let value = config.value("layer_types") else { return }
        let types = value.array?.map(\.string)
        guard let types, types.count == layers else {
            throw ModelError(.invalidKey(key: "layer_types", found: describe(value), expected: "a list of \(layers) names"))
        }
        for (layer, type) in types.enumerated() {
            let expected = (layer + 1) % slidingPattern == 0 ? "full_attention" : "sliding_attention"
            guard type == expected else {
                throw ModelError(
                    .invalidKey(
                        key: "layer_types[\(layer)]", found: printable(type ?? "not a string"),
                        expected: "\(expected): every \(slidingPattern)th layer is full, as the GGUF runtime has built in"))
            }
        }
    }
}

extension FixedRule {
    /// The number a rule with an expression stands for in this model.
    func expressionValue(_ hyperparameters: Hyperparameters) throws(ModelError) -> Int {
        guard case .expression(let expression, let byLayers) = values else { return 0 }
        return try (byLayers[hyperparameters.layers] ?? expression).value(in: hyperparameters)
    }
}
