import Formats

/// The configuration files of a Hugging Face model.
public struct HuggingFaceConfiguration: Sendable {
    /// `config.json`.
    public var config: JSONValue
    /// `generation_config.json`.
    public var generationConfig: JSONValue
}

extension ModelDescription {
    /// Makes the configuration files of a model that came from GGUF.
    ///
    /// If the file still has the configuration it was made from, and that gives the very keys the file has, it is used;
    /// else one is built from the keys. The two agree on everything that changes the model's output.
    /// - Parameters:
    ///   - metadata: all keys of the file, those of the tokenizer too (for the special tokens).
    ///   - tensors: all tensors of the file, under their GGUF names.
    ///   - dtype: the type most weights will be stored in.
    /// - Throws: `ModelError` when a RoPE table is in the file whose values were not given to the description.
    public func huggingFaceConfiguration(
        metadata: GGUFMetadata, tensors: [TensorInfo], dtype: DType, library: ArchitectureLibrary = .builtIn
    ) throws(ModelError) -> HuggingFaceConfiguration {
        for (name, _) in architecture.computed where tensors.contains(where: { $0.name == name }) && rope.scaling == .none {
            throw ModelError(.invalidKey(key: name, found: "a table of RoPE factors", expected: "its values, to find the scaling"))
        }
        var config = JSONObject()
        if let source = source(in: metadata, library)?.config {
            config = source
        } else {
            config = try builtConfig(metadata, tensors)
        }
        config[architecture.tied.configKey] = .bool(isTied)
        config["dtype"] = nil
        config["torch_dtype"] = dtype.torchName.map(JSONValue.string)
        return HuggingFaceConfiguration(config: .object(config), generationConfig: .object(try generationConfig(metadata)))
    }

    /// The description by the configuration kept in a GGUF file, if it is still the right one.
    func source(in metadata: GGUFMetadata, _ library: ArchitectureLibrary = .builtIn) -> ModelDescription? {
        guard let object = Self.object(metadata[Self.sourceConfigKey]) else { return nil }
        do throws(ModelError) {
            let json = JSONValue.object(object)
            let source = try ModelDescription(config: json, architecture: library.architecture(forConfig: json))
            guard source.architecture.ggufName == architecture.ggufName,
                source.architecture.hasExperts == architecture.hasExperts,
                source.rope.scaling == rope.scaling || source.computedTensors() == computedTensors()
            else { return nil }
            var expected = GGUFMetadata()
            try source.addArchitectureKeys(to: &expected)
            return expected.keys.allSatisfy { expected[$0] == metadata[$0] } ? source : nil
        } catch {
            // Text from a file that does not hold together is no source.
            return nil
        }
    }

    private static func object(_ value: GGUFValue?) -> JSONObject? {
        guard let text = value?.string else { return nil }
        return (try? JSONValue(parsing: Array(text.utf8)))?.object
    }

    private func builtConfig(_ metadata: GGUFMetadata, _ tensors: [TensorInfo]) throws(ModelError) -> JSONObject {
        var config = JSONObject()
        config["architectures"] = .array(architecture.classNames.prefix(1).map(JSONValue.string))
        config["model_type"] = architecture.modelTypes.first.map(JSONValue.string)
        for rule in architecture.hyperparameters {
            if let key = rule.configKeys.first { config[key] = hyperparameters[rule.name].map(JSONValue.integer) }
            if let key = rule.fractionKey, let value = hyperparameters[rule.name], let whole = try rule.fallback?.value(in: hyperparameters) {
                config[key] = .number(Double(value) / Double(whole))
            }
        }
        for rule in architecture.metadata {
            guard case .config(let keys) = rule.source, let value = metadata[ggufKey(rule.key)] else { continue }
            config[keys[0]] = try rule.json(of: value, key: ggufKey(rule.key))
        }
        rope.add(to: &config, rule: architecture.rope)
        for rule in architecture.fixed {
            switch rule.values {
            case .literals(let literals): config[rule.key] = literals[0]
            case .expression: config[rule.key] = .integer(try rule.expressionValue(hyperparameters))
            }
        }
        var roles: Set<TensorRole> = []
        for tensor in tensors { if let match = match(ggufName: tensor.name) { roles.insert(match.role) } }
        for (key, role) in architecture.flags { config[key] = .bool(roles.contains(role)) }
        for key in architecture.config.keys { config[key] = architecture.config[key] }
        for (key, token) in Self.tokenKeys {
            if let id = metadata[token]?.integer { config[key] = .integer(id) }
        }
        return config
    }

    private static let tokenKeys = [
        ("bos_token_id", "tokenizer.ggml.bos_token_id"), ("eos_token_id", "tokenizer.ggml.eos_token_id"),
        ("pad_token_id", "tokenizer.ggml.padding_token_id"),
    ]

    private func generationConfig(_ metadata: GGUFMetadata) throws(ModelError) -> JSONObject {
        if let source = Self.object(metadata[Self.sourceGenerationConfigKey]) { return source }
        var config = JSONObject()
        for (key, token) in Self.tokenKeys {
            if let id = metadata[token]?.integer { config[key] = .integer(id) }
        }
        // A chat ends with another token than a text.
        if let end = metadata["tokenizer.ggml.eos_token_id"]?.integer, let turn = metadata["tokenizer.ggml.eot_token_id"]?.integer,
            end != turn
        {
            config["eos_token_id"] = [.integer(end), .integer(turn)]
        }
        for (name, keys) in SamplingKeys.all {
            guard let value = metadata["general.sampling.\(name)"] else { continue }
            // Temperature and the like mean nothing to a decoder that does not sample.
            config["do_sample"] = true
            config[keys.last ?? name] = value.integer.map(JSONValue.integer) ?? value.decimal.map(JSONValue.number)
        }
        return config
    }
}

extension MetadataRule {
    /// The config value of a GGUF value.
    fileprivate func json(of value: GGUFValue, key: String) throws(ModelError) -> JSONValue {
        let json: JSONValue? =
            switch type {
            case .u32, .i32: value.integer.map(JSONValue.integer)
            case .f32: value.decimal.map(JSONValue.number)
            case .bool: value.bool.map(JSONValue.bool)
            case .string: value.string.map(JSONValue.string)
            }
        guard let json else {
            throw ModelError(.invalidKey(key: key, found: describe(value), expected: "a value of type \(type.rawValue)"))
        }
        if let nullValue, json.isSame(as: nullValue) { return .null }
        return json
    }
}

extension RoPE {
    /// Writes the keys that transformers reads, in the form every version understands.
    fileprivate func add(to config: inout JSONObject, rule: RoPERule) {
        config["rope_theta"] = .number(theta)
        if let localTheta { config["rope_local_base_freq"] = .number(localTheta) }
        if let originalContext { config["original_max_position_embeddings"] = .integer(originalContext) }
        var object = JSONObject()
        func set(_ key: String, _ value: Double?) { if let value { object[key] = .number(value) } }
        switch scaling {
        case .none:
            if !rule.scalings.isEmpty { config["rope_scaling"] = JSONValue.null }
            return
        case .linear(let factor):
            object["rope_type"] = "linear"
            set("factor", factor)
        case .yarn(let factor, let original, let extrapolation, let attention, let fast, let slow):
            object["rope_type"] = "yarn"
            set("factor", factor)
            object["original_max_position_embeddings"] = .integer(original)
            set("extrapolation_factor", extrapolation)
            set("attention_factor", attention)
            set("beta_fast", fast)
            set("beta_slow", slow)
        case .llama3(let factor, let low, let high, let original):
            object["rope_type"] = "llama3"
            set("factor", factor)
            set("low_freq_factor", low)
            set("high_freq_factor", high)
            object["original_max_position_embeddings"] = .integer(original)
        case .longRoPE(let long, let short):
            // Phi3's own check allows these three keys and no other.
            object["type"] = "longrope"
            object["long_factor"] = .array(long.map(JSONValue.number))
            object["short_factor"] = .array(short.map(JSONValue.number))
        }
        config["rope_scaling"] = .object(object)
    }
}

extension DType {
    /// The name in `torch_dtype`.
    fileprivate var torchName: String? {
        switch self {
        case .f16: "float16"
        case .bf16: "bfloat16"
        case .f32: "float32"
        case .f64: "float64"
        default: nil
        }
    }
}
