import Formats

/// What GGUF metadata says beyond the configuration.
public struct GGUFMetadataOptions: Sendable {
    /// The name of the model's directory, which the model's name is made from.
    public var directoryName: String
    public var fileType: GGUFFileType
    /// `generation_config.json`, for the sampling settings.
    public var generationConfig: JSONValue?
    /// Whether the configuration files are kept as text in `resq.source.*`, so that the way back loses nothing.
    public var keepsSource: Bool

    public init(
        directoryName: String, fileType: GGUFFileType, generationConfig: JSONValue? = nil, keepsSource: Bool = true
    ) {
        self.directoryName = directoryName
        self.fileType = fileType
        self.generationConfig = generationConfig
        self.keepsSource = keepsSource
    }
}

extension ModelDescription {
    /// The keys that hold the source's own files.
    static let sourceConfigKey = "resq.source.config"
    static let sourceGenerationConfigKey = "resq.source.generation_config"

    /// All GGUF keys of a model that came from a `config.json`, except those of the tokenizer.
    /// - Throws: `ModelError` naming a config key that is missing or does not fit its GGUF type.
    public func ggufMetadata(for tensors: [GGUFTensor], _ options: GGUFMetadataOptions) throws(ModelError) -> GGUFMetadata {
        var metadata = GGUFMetadata()
        metadata["general.architecture"] = .string(architecture.ggufName)
        metadata["general.type"] = .string("model")
        if let generation = options.generationConfig?.object { try addSampling(ConfigReader(generation), to: &metadata) }
        addName(for: tensors, options, to: &metadata)
        try addArchitectureKeys(to: &metadata)
        metadata["general.file_type"] = .u32(options.fileType.rawValue)
        metadata["general.quantization_version"] = .u32(2)
        if options.keepsSource, let config {
            metadata[Self.sourceConfigKey] = .string(JSONValue.object(config).text())
            if let generation = options.generationConfig {
                metadata[Self.sourceGenerationConfigKey] = .string(generation.text())
            }
        }
        return metadata
    }

    /// The keys that start with the architecture's name.
    func addArchitectureKeys(to metadata: inout GGUFMetadata) throws(ModelError) {
        let reader = ConfigReader(config ?? JSONObject())
        for rule in architecture.metadata {
            guard let value = try value(of: rule, reader) else { continue }
            if let implied = rule.implied, value.isSame(as: implied) { continue }
            let key = ggufKey(rule.key)
            guard let typed = rule.type.value(of: value) else {
                // The name that stands in the file, when it is read from there.
                var name = key
                if case .config(let keys) = rule.source { name = keys.first { reader.value($0) != nil } ?? key }
                throw ModelError(.invalidKey(key: name, found: describe(value), expected: "a value of type \(rule.type.rawValue)"))
            }
            metadata[key] = typed
        }
    }

    /// A key with the architecture's name filled in.
    func ggufKey(_ pattern: String) -> String {
        pattern.hasPrefix("{arch}") ? architecture.ggufName + pattern.dropFirst("{arch}".count) : pattern
    }

    private func value(of rule: MetadataRule, _ reader: ConfigReader) throws(ModelError) -> JSONValue? {
        switch rule.source {
        case .constant(let constant): return constant
        case .expression(let expression): return .integer(try expression.value(in: hyperparameters))
        case .rope(let field): return rope.value(of: field, context: hyperparameters[.context] ?? 0)
        case .config(let keys):
            if let value = keys.lazy.compactMap({ reader.value($0) }).first { return value }
            guard let null = keys.first(where: { config?[$0] != nil }) else { return rule.fallback }
            if let value = rule.nullValue { return value }
            guard rule.fallback == nil else {
                throw ModelError(.invalidKey(key: null, found: "null", expected: "a value of type \(rule.type.rawValue)"))
            }
            return nil
        }
    }

    private func addSampling(_ generation: ConfigReader, to metadata: inout GGUFMetadata) throws(ModelError) {
        if let value = try generation.string("sequence") { metadata["general.sampling.sequence"] = .string(value) }
        for (name, keys) in SamplingKeys.all {
            guard let key = keys.first(where: { generation.isPresent($0) }), let value = generation.value(key) else { continue }
            let type: MetadataRule.ValueType = SamplingKeys.integers.contains(name) ? .i32 : .f32
            guard let typed = type.value(of: value) else {
                throw ModelError(.invalidKey(key: key, found: describe(value), expected: "a number"))
            }
            metadata["general.sampling.\(name)"] = typed
        }
    }

    private func addName(for tensors: [GGUFTensor], _ options: GGUFMetadataOptions, to metadata: inout GGUFMetadata) {
        let counts = parameterCounts(of: tensors)
        var names = [ModelName(options.directoryName, parameterCount: counts.total)]
        // A path of someone's computer is no name.
        if let stated = config?["_name_or_path"]?.string, !stated.isEmpty, stated.utf8.count(where: { $0 == 47 }) <= 1 {
            names.insert(ModelName(stated, parameterCount: counts.total), at: 0)
        }
        func first(_ field: KeyPath<ModelName, String?>) -> String? { names.lazy.compactMap { $0[keyPath: field] }.first }
        func set(_ key: String, _ value: String?) { if let value { metadata["general.\(key)"] = .string(value) } }
        set("name", first(\.title) ?? options.directoryName)
        set("version", first(\.version))
        set("organization", first(\.organization))
        set("finetune", first(\.finetune))
        set("basename", first(\.basename))
        let size = ModelName.sizeLabel(parameterCount: counts.active, expertCount: counts.experts)
        set("size_label", first(\.sizeLabel) ?? (counts.total > 0 ? size : nil))
    }

    /// Elements of all tensors; and of those with one expert of each layer, which is what size labels of mixtures count.
    private func parameterCounts(of tensors: [GGUFTensor]) -> (total: Int, active: Int, experts: Int) {
        var (total, active) = (0, 0)
        // Counts past 63 bits stay at the largest number.
        func add(_ shape: [Int], experts: Int) {
            let count = shape.reduce(1) { product, dimension in
                let (next, overflow) = product.multipliedReportingOverflow(by: dimension)
                return overflow ? Int.max : next
            }
            total += min(count, Int.max - total)
            active += min(count / max(experts, 1), Int.max - active)
        }
        var experts = 0
        for tensor in tensors {
            let isStack = tensor.role.family == .expert && tensor.shape.count == 3
            add(tensor.shape, experts: isStack ? tensor.shape[0] : 1)
            if isStack { experts = tensor.shape[0] }
        }
        for tensor in computedTensors() { add(tensor.shape, experts: 1) }
        return (total, active, experts)
    }
}

/// Names of sampling settings in GGUF, and in `generation_config.json`.
enum SamplingKeys {
    static let all: [(name: String, keys: [String])] = [
        ("top_k", ["top_k"]), ("top_p", ["top_p"]), ("min_p", ["min_p"]), ("xtc_probability", ["xtc_probability"]),
        ("xtc_threshold", ["xtc_threshold"]), ("temp", ["temperature"]), ("penalty_last_n", ["penalty_last_n"]),
        ("penalty_repeat", ["penalty_repeat", "repetition_penalty"]), ("mirostat", ["mirostat"]),
        ("mirostat_tau", ["mirostat_tau"]), ("mirostat_eta", ["mirostat_eta"]),
    ]
    static let integers: Set<String> = ["top_k", "penalty_last_n", "mirostat"]
}

extension MetadataRule.ValueType {
    /// The value as this type; `nil` when it is of another kind or does not fit.
    func value(of json: JSONValue) -> GGUFValue? {
        switch self {
        case .u32: json.integer.flatMap(UInt32.init(exactly:)).map(GGUFValue.u32)
        case .i32: json.integer.flatMap(Int32.init(exactly:)).map(GGUFValue.i32)
        case .f32: json.double.flatMap { Float($0).isFinite ? .f32(Float($0)) : nil }
        case .bool: json.bool.map(GGUFValue.bool)
        case .string: json.string.map(GGUFValue.string)
        }
    }
}

extension JSONValue {
    /// Equal, numbers by value.
    func isSame(as other: JSONValue) -> Bool { self == other || (double != nil && double == other.double) }
}

extension RoPE {
    /// The value of one GGUF key; `nil` when the model has nothing to say there.
    func value(of field: RoPEField, context: Int) -> JSONValue? {
        switch (field, scaling) {
        case (.theta, _): .number(theta)
        case (.localTheta, _): localTheta.map(JSONValue.number)
        case (.scalingType, .linear), (.scalingType, .yarn): .string(scaling.name)
        case (.factor, .linear(let factor)): .number(factor)
        case (.factor, .yarn(let factor, _, _, _, _, _)): .number(factor)
        case (.originalContext, .yarn(_, let original, _, _, _, _)): .integer(original)
        case (.originalContext, _): originalContext.map(JSONValue.integer)
        case (.extrapolationFactor, .yarn(_, _, let value, _, _, _)): value.map(JSONValue.number)
        case (.yarnAttentionFactor, .yarn(_, _, _, let value, _, _)): value.map(JSONValue.number)
        case (.betaFast, .yarn(_, _, _, _, let value, _)): value.map(JSONValue.number)
        case (.betaSlow, .yarn(_, _, _, _, _, let value)): value.map(JSONValue.number)
        case (.longAttentionFactor, .longRoPE):
            .number(Self.longAttentionFactor(context: context, originalContext: originalContext ?? context))
        default: nil
        }
    }
}

/// A tensor that GGUF stores and Hugging Face computes.
public struct ComputedTensor: Sendable, Equatable {
    public let name: String
    public let values: [Float]
    public var shape: [Int] { [values.count] }
}

extension ModelDescription {
    /// The tensors that have to be added to a GGUF file, stored as F32; they come before the others.
    public func computedTensors() -> [ComputedTensor] {
        architecture.computed.compactMap { (name, kind) -> ComputedTensor? in
            switch (kind, rope.scaling) {
            case (.llama3Factors, .llama3(let factor, let low, let high, let original)):
                ComputedTensor(
                    name: name,
                    values: RoPE.llama3Factors(
                        theta: rope.theta, headDimension: hyperparameters.headDimension, factor: factor, lowFrequency: low,
                        highFrequency: high, originalContext: original))
            case (.longFactors, .longRoPE(let long, _)): ComputedTensor(name: name, values: long.map(Float.init))
            case (.shortFactors, .longRoPE(_, let short)): ComputedTensor(name: name, values: short.map(Float.init))
            default: nil
            }
        }
    }
}
