import Formats

/// A plugin's answer to *describe*, checked.
struct PluginDescription {
    var name: String
    var version: String
    /// Named `PLUGIN.PASS`, each with the host's own option `match`.
    var passes: [PassDeclaration]

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
        _ = try answer.mapping(what, keys: ["id", "protocol", "name", "version", "passes"])
        let versions = 1...Plugin.protocolVersion
        _ = try answer.required("protocol", in: what).integer("'protocol'", in: versions)
        name = try answer.required("name", in: what).word("'name'")
        guard name != "resq" else { throw RecipeError("the name 'resq' is taken", at: answer.location) }
        version = try answer.required("version", in: what).text("'version'")
        passes = []
        for node in try answer.required("passes", in: what).sequence("'passes'") {
            let pass = try PassDeclaration(node, plugin: name)
            guard !passes.contains(where: { $0.identifier == pass.identifier }) else {
                throw RecipeError("pass '\(pass.identifier)' is described twice", at: node.location)
            }
            passes.append(pass)
        }
        guard !passes.isEmpty else { throw RecipeError("there are no passes", at: answer.location) }
    }
}

extension PassDeclaration {
    /// The option that every pass of a plugin has, answered by the host.
    static let matchOption = OptionDeclaration("match", .selector, default: .text("*"), summary: "Which tensors the plugin is shown.")

    fileprivate init(_ node: RecipeNode, plugin: String) throws(RecipeError) {
        let what = "a pass"
        _ = try node.mapping(what, keys: ["name", "summary", "contract", "options"])
        let name = try node.required("name", in: what).word("'name' of a pass")
        let summary = try node.required("summary", in: "pass '\(name)'").text("'summary' of pass '\(name)'")
        var contract = "Nothing is promised beyond the plan."
        if let text = node["contract"] { contract = try text.text("'contract' of pass '\(name)'") }
        var options: [OptionDeclaration] = [Self.matchOption]
        if let list = node["options"] {
            for node in try list.sequence("'options' of pass '\(name)'") {
                let option = try OptionDeclaration(node, pass: name)
                guard !options.contains(where: { $0.name == option.name }) else {
                    let whose = option.name == Self.matchOption.name ? "the host's own" : "declared twice"
                    throw RecipeError("option '\(option.name)' of pass '\(name)' is \(whose)", at: node.location)
                }
                options.append(option)
            }
        }
        self.init(identifier: plugin + "." + name, summary: summary, contract: contract, options: options)
    }
}

extension OptionDeclaration {
    fileprivate init(_ node: RecipeNode, pass: String) throws(RecipeError) {
        _ = try node.mapping("an option of pass '\(pass)'", keys: ["name", "type", "default", "summary", "low", "high", "choices", "of"])
        let name = try node.required("name", in: "an option of pass '\(pass)'").word("'name' of an option")
        let what = "option '\(name)' of pass '\(pass)'"
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
