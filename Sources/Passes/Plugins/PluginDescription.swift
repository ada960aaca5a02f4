import Formats

/// A plugin's answer to *describe*, checked.
struct PluginDescription: Sendable {
    let name: String
    let version: String
    /// Bytes of memory of its own that its process takes at most, when it says so.
    let memoryLimit: Int?
    /// Each with the host's own option `match`.
    private(set) var passes: [Declaration] = []
    private(set) var roundings: [(declaration: Declaration, facts: PluginRounding.Facts)] = []
    private(set) var metrics: [(declaration: Declaration, needsReference: Bool)] = []
    private(set) var statistics: [(declaration: Declaration, facts: PluginStatistic.Facts)] = []
    private(set) var types: [(declaration: Declaration, blockSize: Int, typeSize: Int)] = []
    private(set) var exporters: [Declaration] = []

    /// - Throws: `PluginError` saying what is wrong with the answer.
    init(_ answer: JSONValue, plugin path: String) throws {
        do throws(RecipeError) {
            try self.init(RecipeNode(answer, at: RecipeLocation(file: path)))
        } catch {
            throw PluginError(plugin: path, what: "its description is wrong: \(error.sentence)")
        }
    }

    private init(_ answer: RecipeNode) throws(RecipeError) {
        let what = "the description"
        _ = try answer.mapping(what, keys: ["id", "protocol", "name", "version", "shared-memory", "memory-limit", "passes", "roundings", "metrics", "statistics", "types", "exporters"])
        let versions = 1...Plugin.protocolVersion
        _ = try answer.required("protocol", in: what).integer("'protocol'", in: versions)
        name = try answer.required("name", in: what).word("'name'")
        guard name != "resq" else { throw RecipeError("the name 'resq' is taken", at: answer.location) }
        version = try answer.required("version", in: what).text("'version'")
        memoryLimit = try answer["memory-limit"]?.integer("'memory-limit'", in: 1...Int.max)
        var names: Set<String> = []
        /// Descriptions under a key; one plugin has every name once, whatever it names.
        func each(_ key: String, _ kind: String, facts: [String], _ body: (Declaration, RecipeNode) throws(RecipeError) -> Void) throws(RecipeError) {
            for node in try answer[key]?.sequence("'\(key)'") ?? [] {
                let declaration = try Declaration(node, kind: kind, plugin: name, facts: facts)
                guard names.insert(declaration.identifier).inserted else {
                    throw RecipeError("\(kind) '\(declaration.identifier)' is described twice", at: node.location)
                }
                try body(declaration, node)
            }
        }
        try each("passes", "pass", facts: ["contract", "preserves-function", "reads", "writes"]) { declaration, _ in
            passes.append(declaration)
        }
        try each("roundings", "rounding", facts: ["calibrated", "values", "types"]) { declaration, node throws(RecipeError) in
            var facts = PluginRounding.Facts()
            facts.isCalibrated = try node["calibrated"]?.boolean("'calibrated' of rounding '\(declaration.identifier)'") ?? false
            facts.givesValues = try node["values"]?.boolean("'values' of rounding '\(declaration.identifier)'") ?? false
            for type in try node["types"]?.sequence("'types' of rounding '\(declaration.identifier)'") ?? [] {
                facts.types.append(try type.encoding("a type of rounding '\(declaration.identifier)'"))
            }
            roundings.append((declaration, facts))
        }
        try each("metrics", "metric", facts: ["reference"]) { declaration, node throws(RecipeError) in
            metrics.append((declaration, try node["reference"]?.boolean("'reference' of metric '\(declaration.identifier)'") ?? false))
        }
        try each("statistics", "statistic", facts: ["matrix", "largest", "inputs"]) { declaration, node throws(RecipeError) in
            var facts = PluginStatistic.Facts()
            facts.isMatrix = try node["matrix"]?.boolean("'matrix' of statistic '\(declaration.identifier)'") ?? false
            facts.keepsLargest = try node["largest"]?.boolean("'largest' of statistic '\(declaration.identifier)'") ?? false
            for input in try node["inputs"]?.sequence("'inputs' of statistic '\(declaration.identifier)'") ?? [] {
                facts.inputs.insert(try input.choice("an input of statistic '\(declaration.identifier)'", of: PluginStatistic.inputNames))
            }
            guard declaration.options.allSatisfy({ $0.fallback != .required }) else {
                throw RecipeError("statistic '\(declaration.identifier)' has options that must be given, and nobody can give them", at: node.location)
            }
            statistics.append((declaration, facts))
        }
        try each("types", "type", facts: ["block", "bytes"]) { declaration, node throws(RecipeError) in
            guard declaration.options.isEmpty else {
                throw RecipeError("type '\(declaration.identifier)' has options, which nobody can give", at: node.location)
            }
            let what = "type '\(declaration.identifier)'"
            types.append((
                declaration, try node.required("block", in: what).integer("'block' of \(what)", in: 1...65536),
                try node.required("bytes", in: what).integer("'bytes' of \(what)", in: 1...(1 << 20))
            ))
        }
        try each("exporters", "format", facts: []) { declaration, _ in exporters.append(declaration) }
        guard !names.isEmpty else { throw RecipeError("there are no passes, nor anything else", at: answer.location) }
    }

    /// How much of what there is, for people.
    var summary: String {
        let counts = [
            (passes.count, "passes"), (roundings.count, "roundings"), (metrics.count, "metrics"), (statistics.count, "statistics"), (types.count, "types"), (exporters.count, "formats"),
        ]
        return counts.filter { $0.0 > 0 }.map { "\($0.0) \($0.1)" }.joined(separator: ", ")
    }
}

extension Declaration {
    /// The option that every pass of a plugin has, answered by the host.
    static let matchOption = OptionDeclaration("match", .selector, default: .text("*"), summary: "Which tensors the plugin is shown.")

    /// - Parameter facts: keys that things of this kind have beside those of all.
    fileprivate init(_ node: RecipeNode, kind: String, plugin: String, facts: [String]) throws(RecipeError) {
        let what = "a \(kind)"
        _ = try node.mapping(what, keys: ["name", "summary", "options"] + facts)
        let name = try node.required("name", in: what).word("'name' of \(what)")
        let owner = "\(kind) '\(name)'"
        let summary = try node.required("summary", in: owner).text("'summary' of \(owner)")
        var contract = kind == "pass" ? "Nothing is promised beyond the plan." : ""
        if let text = node["contract"] { contract = try text.text("'contract' of \(owner)") }
        var promises = Promises()
        promises.preservesFunction = try node["preserves-function"]?.boolean("'preserves-function' of \(owner)") ?? false
        promises.reads = try node["reads"].map { node throws(RecipeError) in try Selector(node) }
        promises.writes = try node["writes"].map { node throws(RecipeError) in try Selector(node) }
        var options: [OptionDeclaration] = kind == "pass" ? [Self.matchOption] : []
        for node in try node["options"]?.sequence("'options' of \(owner)") ?? [] {
            let option = try OptionDeclaration(node, owner: owner)
            guard !options.contains(where: { $0.name == option.name }) else {
                let whose = option.name == Self.matchOption.name ? "the host's own" : "declared twice"
                throw RecipeError("option '\(option.name)' of \(owner) is \(whose)", at: node.location)
            }
            if case .path = option.type, kind != "pass" {
                throw RecipeError("option '\(option.name)' of \(owner) is a path, which only passes may ask for", at: node.location)
            }
            options.append(option)
        }
        self.init(identifier: plugin + "." + name, summary: summary, contract: contract, promises: promises, options: options)
    }
}

extension OptionDeclaration {
    fileprivate init(_ node: RecipeNode, owner: String) throws(RecipeError) {
        _ = try node.mapping("an option of \(owner)", keys: ["name", "type", "default", "summary", "low", "high", "choices", "of"])
        let name = try node.required("name", in: "an option of \(owner)").word("'name' of an option")
        let what = "option '\(name)' of \(owner)"
        let type = try OptionType(node, key: "type", what: what)
        let summary = try node.required("summary", in: what).text("'summary' of \(what)")
        var fallback = OptionDefault.required
        if let value = node["default"] {
            fallback = try OptionDefault(value, what: "'default' of \(what)")
            if fallback != .absent { _ = try OptionValue(value, as: type, what: "'default' of \(what)") }
        }
        self.init(name, type, default: fallback, summary: summary)
    }
}

extension OptionType {
    fileprivate init(_ node: RecipeNode, key: String, what: String) throws(RecipeError) {
        let words = ["boolean", "integer", "number", "text", "path", "choice", "type"] + (key == "type" ? ["list"] : [])
        let word = try node.required(key, in: what).choice("'\(key)' of \(what)", of: words)
        switch word {
        case "boolean": self = .boolean
        case "integer":
            let low = try node["low"]?.integer("'low' of \(what)", in: .min ... .max) ?? .min
            let high = try node["high"]?.integer("'high' of \(what)", in: .min ... .max) ?? .max
            guard low <= high else { throw RecipeError("'low' of \(what) is above 'high'", at: node.location) }
            self = .integer(low...high)
        case "number":
            let all = OptionType.allNumbers
            let low = try node["low"]?.number("'low' of \(what)", in: all) ?? all.lowerBound
            let high = try node["high"]?.number("'high' of \(what)", in: all) ?? all.upperBound
            guard low <= high else { throw RecipeError("'low' of \(what) is above 'high'", at: node.location) }
            self = .number(low...high)
        case "text": self = .text
        case "path": self = .path
        case "choice":
            var choices: [String] = []
            for choice in try node.required("choices", in: what).sequence("'choices' of \(what)") {
                choices.append(try choice.text("a choice of \(what)"))
            }
            self = .choice(choices)
        case "type": self = .encoding
        default: self = .list(of: try OptionType(node, key: "of", what: what))
        }
    }
}

extension OptionDefault {
    fileprivate init(_ node: RecipeNode, what: String) throws(RecipeError) {
        switch node.value {
        case .null: self = .absent
        case .boolean(let flag): self = .boolean(flag)
        case .integer(let integer): self = .integer(integer)
        case .number(let number): self = .number(number)
        case .text(let text): self = .text(text)
        case .sequence(let elements):
            var words: [String] = []
            for element in elements { words.append(try element.text("an element of \(what)")) }
            self = .list(words)
        case .mapping: throw node.unexpected(what, expected: "a value")
        }
    }
}

extension RecipeNode {
    /// A plugin's answer, read as strictly as a recipe.
    init(_ json: JSONValue, at location: RecipeLocation) {
        let value: Value =
            switch json {
            case .null: .null
            case .bool(let flag): .boolean(flag)
            case .integer(let integer): .integer(integer)
            case .unsigned(let integer): .number(Double(integer))
            case .number(let number): .number(number)
            case .string(let text): .text(text)
            case .array(let elements): .sequence(elements.map { RecipeNode($0, at: location) })
            case .object(let object):
                .mapping(
                    object.keys.map { key in
                        Entry(key: key, keyLocation: location, value: RecipeNode(object[key] ?? .null, at: location))
                    })
            }
        self.init(value, at: location)
    }

    /// A name that recipes can write: letters, digits, `-` and `_`.
    fileprivate func word(_ what: String) throws(RecipeError) -> String {
        let text = try text(what)
        let isWord = text.utf8.count <= 64 && text.unicodeScalars.allSatisfy { scalar in
            "a"..."z" ~= scalar || "A"..."Z" ~= scalar || "0"..."9" ~= scalar || scalar == "-" || scalar == "_"
        }
        guard isWord else { throw unexpected(what, expected: "letters, digits, '-' and '_', at most 64") }
        return text
    }
}

extension RecipeError {
    /// The sentence without the place.
    var sentence: String { what + (suggestion.map { "; did you mean '\($0)'?" } ?? "") }
}
