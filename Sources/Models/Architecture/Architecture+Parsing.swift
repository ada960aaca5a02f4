import Formats

// An architecture file is a JSON object. Members (required unless marked ?):
//
//   extends?         identifier of another architecture; this file is then a JSON merge patch (RFC 7396) over that one
//   architecture     identifier
//   gguf             general.architecture
//   experts          bool
//   huggingface      { architectures: [..], model-types: [..], config?: {key: value written as it is} }
//   fixed?           { config key: [accepted values] | { expression, by-layers?: { "46": expression } } }
//   flags?           { config key: role }          bools that say whether tensors of a role are there
//   hyperparameters  { name: { config?: [keys], gguf?: key, default?, gguf-default?: expression, fraction?: key } }
//   rope             { pairing: interleaved|halves, theta, local-theta?, original-context?, scaling: [..] }
//   tied             { config: key, default: bool, untied-gguf?: bool }   untied-gguf: the runtime loads a head of its own
//   sliding-pattern? n: every n-th layer attends to everything, the others to a window
//   forward?         how the model computes, see ForwardRules; without it the architecture is only converted
//   tensors          { name: { gguf, role, shape: [expression], change?, presence? } }
//   ignored?         [ name or *suffix ]           tensors of no use, dropped silently; a head only in tied models
//   computed?        { GGUF name: kind }
//   groups?          { name: [roles] }
//   folds?           { role of a norm: [roles] }
//   metadata         { GGUF key: { type, config|value|rope|constant, default?, null?, implied? } }

extension Architecture {
    /// Interprets a whole file (merged already).
    /// - Throws: `ModelError.invalidArchitecture` naming the field.
    init(parsing json: JSONValue) throws(ModelError) {
        var reader = try ArchitectureReader(json, field: "")
        identifier = try reader.string("architecture")
        ggufName = try reader.string("gguf")
        hasExperts = try reader.bool("experts")

        var huggingFace = try reader.object("huggingface")
        classNames = try huggingFace.strings("architectures")
        modelTypes = try huggingFace.strings("model-types")
        config = try huggingFace.optionalMembers("config")
        try huggingFace.finish()
        guard !classNames.isEmpty, !modelTypes.isEmpty else {
            throw ArchitectureReader.error("huggingface", "names no class or no model type")
        }

        fixed = try reader.members("fixed", optional: true) { key, value throws(ModelError) in
            FixedRule(key: key, values: try Self.fixedValues(value, field: "fixed.\(key)"))
        }
        flags = try reader.members("flags", optional: true) { key, value throws(ModelError) in
            (key, try ArchitectureReader.role(value, field: "flags.\(key)"))
        }
        hyperparameters = try reader.members("hyperparameters") { key, value throws(ModelError) in
            try HyperparameterRule(key: key, value)
        }
        for name: Hyperparameter in [.layers, .context, .hidden, .heads, .keyValueHeads, .headDimension, .vocabulary]
        where !hyperparameters.contains(where: { $0.name == name }) {
            throw ArchitectureReader.error("hyperparameters.\(name.rawValue)", "is missing")
        }
        var rope = try reader.object("rope")
        self.rope = try RoPERule(&rope)
        var tied = try reader.object("tied")
        self.tied = TiedRule(
            configKey: try tied.string("config"), fallback: try tied.bool("default"),
            allowsUntiedGGUF: tied.has("untied-gguf") ? try tied.bool("untied-gguf") : true)
        try tied.finish()
        slidingPattern = try reader.optionalInteger("sliding-pattern", in: 2...1000)
        if reader.has("forward") {
            var forward = try reader.object("forward")
            self.forward = try ForwardRules(&forward)
        } else {
            forward = nil
        }
        let tensors = try reader.members("tensors") { name, value throws(ModelError) in try TensorRule(name: name, value) }
        self.tensors = tensors
        ignored = try reader.optionalStrings("ignored") ?? []
        computed = try reader.members("computed", optional: true) { name, value throws(ModelError) in
            (name, try ArchitectureReader.word(value, field: "computed.\(name)") as ComputedValues)
        }
        groups = try reader.members("groups", optional: true) { name, value throws(ModelError) in
            TensorGroup(name: name, roles: try ArchitectureReader.roles(value, field: "groups.\(name)"))
        }
        folds = try reader.members("folds", optional: true) { name, value throws(ModelError) in
            NormFold(
                norm: try ArchitectureReader.role(.string(name), field: "folds.\(name)"),
                consumers: try ArchitectureReader.roles(value, field: "folds.\(name)"))
        }
        metadata = try reader.members("metadata") { key, value throws(ModelError) in try MetadataRule(key: key, value) }
        try reader.finish()

        rulesByName = try Self.index(tensors.map(\.name), field: "tensors")
        rulesByGGUFName = try Self.index(tensors.map(\.ggufName), field: "tensors.*.gguf")
    }

    private static func index(_ patterns: [TensorPattern], field: String) throws(ModelError) -> [String: Int] {
        var index: [String: Int] = [:]
        for (position, pattern) in patterns.enumerated() where index.updateValue(position, forKey: pattern.text) != nil {
            throw ArchitectureReader.error(field, "'\(pattern.text)' stands twice")
        }
        return index
    }

    private static func fixedValues(_ json: JSONValue, field: String) throws(ModelError) -> FixedRule.Values {
        if let literals = json.array {
            guard !literals.isEmpty else { throw ArchitectureReader.error(field, "accepts no value") }
            return .literals(literals)
        }
        var reader = try ArchitectureReader(json, field: field)
        let expression = try reader.expression("expression")
        let pairs = try reader.members("by-layers", optional: true) { key, value throws(ModelError) in
            guard let layers = Int(key) else { throw ArchitectureReader.error("\(field).by-layers.\(key)", "is not a layer count") }
            return (layers, try ArchitectureReader.expression(value, field: "\(field).by-layers.\(key)"))
        }
        try reader.finish()
        return .expression(expression, byLayers: Dictionary(pairs, uniquingKeysWith: { first, _ in first }))
    }
}

extension HyperparameterRule {
    init(key: String, _ json: JSONValue) throws(ModelError) {
        let field = "hyperparameters.\(key)"
        name = try ArchitectureReader.word(.string(key), field: field)
        var reader = try ArchitectureReader(json, field: field)
        configKeys = try reader.optionalStrings("config") ?? []
        ggufKey = try reader.optionalString("gguf")
        fallback = try reader.optionalExpression("default")
        ggufFallback = try reader.optionalExpression("gguf-default")
        fractionKey = try reader.optionalString("fraction")
        try reader.finish()
    }
}

extension RoPERule {
    init(_ reader: inout ArchitectureReader) throws(ModelError) {
        pairing = try reader.word("pairing")
        theta = try reader.number("theta")
        localTheta = try reader.optionalNumber("local-theta")
        originalContext = try reader.optionalInteger("original-context", in: Hyperparameter.context.limits)
        scalings = try reader.strings("scaling")
        for scaling in scalings where !RoPE.Scaling.names.contains(scaling) {
            throw ArchitectureReader.error("rope.scaling", "'\(scaling)' is none of \(RoPE.Scaling.names.joined(separator: ", "))")
        }
        try reader.finish()
    }
}

extension TensorRule {
    init(name text: String, _ json: JSONValue) throws(ModelError) {
        let field = "tensors.\(text)"
        guard let pattern = TensorPattern(text) else { throw ArchitectureReader.error(field, "is not a name pattern") }
        var reader = try ArchitectureReader(json, field: field)
        let ggufText = try reader.string("gguf")
        guard let ggufPattern = TensorPattern(ggufText), ggufPattern.hasLayer == pattern.hasLayer,
            pattern.hasExpert || !ggufPattern.hasExpert
        else { throw ArchitectureReader.error("\(field).gguf", "is not a name pattern with the same placeholders") }
        name = pattern
        ggufName = ggufPattern
        role = try reader.word("role")
        shape = try reader.expressions("shape")
        change = try reader.optionalWord("change") ?? .none
        presence = try reader.optionalWord("presence") ?? .required
        try reader.finish()
    }
}

extension MetadataRule {
    init(key: String, _ json: JSONValue) throws(ModelError) {
        let field = "metadata.\(key)"
        var reader = try ArchitectureReader(json, field: field)
        self.key = key
        type = try reader.word("type")
        var sources: [Source] = []
        if let keys = try reader.optionalStrings("config") {
            guard !keys.isEmpty else { throw ArchitectureReader.error("\(field).config", "names no key") }
            sources.append(.config(keys))
        }
        if let expression = try reader.optionalExpression("value") { sources.append(.expression(expression)) }
        if let rope: RoPEField = try reader.optionalWord("rope") { sources.append(.rope(rope)) }
        if let constant = reader.optionalValue("constant") { sources.append(.constant(constant)) }
        guard sources.count == 1 else {
            throw ArchitectureReader.error(field, "needs exactly one of config, value, rope, constant")
        }
        source = sources[0]
        fallback = reader.optionalValue("default")
        nullValue = reader.optionalValue("null")
        implied = reader.optionalValue("implied")
        try reader.finish()
    }
}
