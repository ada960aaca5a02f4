import Formats

/// The blocks of a recipe, each read strictly.
extension Recipe {
    static let schemaVersion = 1
    static let keys = [
        "recipe", "name", "description", "imports", "params", "plugins", "calibration", "passes", "output", "verify",
        "on-fallback",
    ]

    /// Reads a document whose imports, parameters and overrides have been worked in.
    init(resolved root: RecipeNode, name fallbackName: String) throws(RecipeError) {
        location = root.location
        _ = try root.mapping("the recipe", keys: Recipe.keys)
        name = try root["name"].text("'name'") ?? fallbackName
        description = try root["description"].text("'description'") ?? ""
        plugins = []
        for node in try root["plugins"].sequence("'plugins'") ?? [] {
            plugins.append(try RecipePlugin(node))
        }
        calibration = try root["calibration"].map(Calibration.init) ?? Calibration()
        passes = try Recipe.steps(try root["passes"].sequence("'passes'") ?? [])
        outputs = []
        for node in try root["output"].sequence("'output'") ?? [] { outputs.append(try OutputSpecification(node)) }
        verification = try root["verify"].map(Verification.init) ?? Verification()
        onFallback = .error
        if let node = root["on-fallback"] {
            let word = try node.choice("'on-fallback'", of: FallbackPolicy.allCases.map(\.rawValue))
            onFallback = FallbackPolicy(rawValue: word) ?? .error
        }
    }

    /// The steps, with ids given and checked.
    private static func steps(_ nodes: [RecipeNode]) throws(RecipeError) -> [RecipeStep] {
        var steps: [RecipeStep] = []
        var ids: Set<String> = []
        for node in nodes {
            _ = try node.mapping("the step", keys: ["id", "use", "with"])
            let use = try node.required("use", in: "the step")
            let id = try node["id"].text("'id'")
            if let id, !ids.insert(id).inserted {
                throw RecipeError("the id '\(id)' stands twice", at: node["id"]?.location ?? node.location)
            }
            steps.append(
                RecipeStep(id: id, use: try use.text("'use'"), useLocation: use.location, options: node["with"]))
        }
        return steps
    }
}

extension RecipePlugin {
    /// A path, or a mapping that says more.
    init(_ node: RecipeNode) throws(RecipeError) {
        location = node.location
        guard case .mapping = node.value else {
            path = try node.text("a plugin")
            return
        }
        _ = try node.mapping("a plugin", keys: ["path", "time-limit"])
        path = try node.required("path", in: "a plugin").text("'path' of a plugin")
        timeLimit = try node["time-limit"]?.integer("'time-limit' of a plugin", in: 1...86_400)
    }
}

extension Calibration {
    init(_ node: RecipeNode) throws(RecipeError) {
        self.init()
        for entry in try node.mapping("'calibration'", keys: ["text", "sequences", "context", "seed"]) {
            let what = "'\(entry.key)' of 'calibration'"
            switch entry.key {
            case "text": text = entry.value.isNull ? nil : try entry.value.text(what)
            case "sequences": sequences = try entry.value.integer(what, in: 1...1_000_000)
            case "context": context = try entry.value.integer(what, in: 1...10_000_000)
            default: seed = try entry.value.integer(what, in: 0...Int.max)
            }
        }
    }
}

extension Verification {
    init(_ node: RecipeNode) throws(RecipeError) {
        self.init()
        for entry in try node.mapping("'verify'", keys: ["readback", "max-relative-error"]) {
            let what = "'\(entry.key)' of 'verify'"
            switch entry.key {
            case "readback": readBack = try entry.value.choice(what, of: ["exact", "none"]) == "exact"
            default: maximumRelativeError = entry.value.isNull ? nil : try entry.value.number(what, in: 0...1e6)
            }
        }
    }
}

extension OutputSpecification {
    init(_ node: RecipeNode) throws(RecipeError) {
        let what = "the output"
        let entries = try node.mapping(what, keys: ["format", "path", "with"] + ContainerFormat.options.map(\.key))
        let formatNode = try node.required("format", in: what)
        let names = ContainerFormat.allCases.map(\.rawValue)
        var formatWord = try formatNode.text("'format' of the output")
        // A dot makes it one of a plugin, which the registry looks up; 'gguf.zst' is ours.
        if !formatWord.contains(".") { formatWord = try formatNode.choice("'format' of the output", of: names) }
        let format = ContainerFormat(rawValue: formatWord)
        if format != nil, let options = node["with"] {
            throw RecipeError("'with' means nothing for the format \(formatWord)", at: options.location)
        }
        let pathNode = try node.required("path", in: what)
        let path = try pathNode.text("'path' of the output")
        if let problem = path.placeholderProblem(known: ["name", "model"]) {
            throw RecipeError("'path' of the output: \(problem)", at: pathNode.location)
        }
        var values: [String: Int] = [:]
        for entry in entries {
            guard let option = ContainerFormat.options.first(where: { $0.key == entry.key }) else { continue }
            guard let format, option.formats.contains(format) else {
                throw RecipeError("'\(entry.key)' means nothing for the format \(formatWord)", at: entry.keyLocation)
            }
            values[entry.key] = try entry.value.integer("'\(entry.key)' of the output", in: option.range)
        }
        self.init(
            format: format, formatName: formatWord, formatLocation: formatNode.location, formatOptions: node["with"], path: path, level: values["level"], frameSize: values["frame-size"],
            shardSize: values["shard-size"], split: values["split"], location: node.location)
    }
}

extension ContainerFormat {
    /// The options of outputs, the formats they are for, and what they may be.
    fileprivate static let options: [(key: String, formats: [ContainerFormat], range: ClosedRange<Int>)] = [
        ("level", [.ggufZst], 1...22),
        ("frame-size", [.ggufZst], 1 << 16...1 << 30),
        ("shard-size", [.safetensors, .huggingFace], 1 << 20...Int.max),
        ("split", [.gguf], 1 << 20...Int.max),
    ]
}

/// Values that need not be there: `nil` stays `nil`.
extension RecipeNode? {
    fileprivate func text(_ what: String) throws(RecipeError) -> String? { try self?.text(what) }

    fileprivate func sequence(_ what: String) throws(RecipeError) -> [RecipeNode]? { try self?.sequence(what) }
}

extension String {
    /// The text with every `{word}` replaced.
    func replacingPlaceholders(_ value: (Substring) -> String) -> String {
        var result = ""
        var rest = self[...]
        while let open = rest.firstIndex(of: "{"), let close = rest[open...].firstIndex(of: "}") {
            result += rest[..<open] + value(rest[rest.index(after: open)..<close])
            rest = rest[rest.index(after: close)...]
        }
        return result + rest
    }

    /// What is wrong with the placeholders of a path, or `nil`.
    fileprivate func placeholderProblem(known: [String]) -> String? {
        var rest = self[...]
        while let brace = rest.firstIndex(where: { $0 == "{" || $0 == "}" }) {
            guard rest[brace] == "{", let close = rest[brace...].firstIndex(of: "}") else { return "a brace without its partner" }
            let word = String(rest[rest.index(after: brace)..<close])
            guard known.contains(word) else {
                let hint = nearest(to: word, in: known).map { ", did you mean {\($0)}" } ?? ""
                return "unknown placeholder {\(word)}, known are \(known.map { "{\($0)}" }.joined(separator: " and "))\(hint)"
            }
            rest = rest[rest.index(after: close)...]
        }
        return nil
    }
}
