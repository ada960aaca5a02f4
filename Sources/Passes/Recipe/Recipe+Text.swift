import Formats

extension Recipe {
    /// The recipe with imports, parameters and overrides worked in, as one line of JSON, which is YAML.
    ///
    /// Equal recipes have equal texts, and the text loads as an equal recipe.
    public var resolvedText: String {
        var members: [(String, RecipeNode.Value)] = [("recipe", .integer(Recipe.schemaVersion)), ("name", .text(name))]
        if !description.isEmpty { members.append(("description", .text(description))) }
        if !plugins.isEmpty { members.append(("plugins", .sequence(plugins.map { node($0.value) }))) }
        members.append((
            "calibration",
            mapping([
                ("text", calibration.text.map { .text($0) } ?? .null), ("sequences", .integer(calibration.sequences)),
                ("context", .integer(calibration.context)), ("seed", .integer(calibration.seed)),
            ])
        ))
        members.append(("passes", .sequence(passes.map { node(mapping($0.members)) })))
        members.append(("output", .sequence(outputs.map { node(mapping($0.members)) })))
        members.append((
            "verify",
            mapping([
                ("readback", .text(verification.readBack ? "exact" : "none")),
                ("max-relative-error", verification.maximumRelativeError.map { .number($0) } ?? .null),
            ])
        ))
        members.append(("on-fallback", .text(onFallback.rawValue)))
        var text = ""
        mapping(members).write(to: &text)
        return text
    }
}

extension RecipePlugin {
    fileprivate var value: RecipeNode.Value {
        guard let timeLimit else { return .text(path) }
        return mapping([("path", .text(path)), ("time-limit", .integer(timeLimit))])
    }
}

extension RecipeStep {
    fileprivate var members: [(String, RecipeNode.Value)] {
        var members: [(String, RecipeNode.Value)] = []
        if let id { members.append(("id", .text(id))) }
        members.append(("use", .text(use)))
        if let options { members.append(("with", options.value)) }
        return members
    }
}

extension OutputSpecification {
    fileprivate var members: [(String, RecipeNode.Value)] {
        var members: [(String, RecipeNode.Value)] = [("format", .text(formatName)), ("path", .text(path))]
        for (key, value) in [("level", level), ("frame-size", frameSize), ("shard-size", shardSize), ("split", split)] {
            if let value { members.append((key, .integer(value))) }
        }
        if let formatOptions { members.append(("with", formatOptions.value)) }
        return members
    }
}

private let nowhere = RecipeLocation(file: "")

private func node(_ value: RecipeNode.Value) -> RecipeNode { RecipeNode(value, at: nowhere) }

private func mapping(_ members: [(String, RecipeNode.Value)]) -> RecipeNode.Value {
    .mapping(members.map { RecipeNode.Entry(key: $0.0, keyLocation: nowhere, value: node($0.1)) })
}

extension RecipeNode.Value {
    fileprivate func write(to text: inout String) {
        switch self {
        case .null: text += "null"
        case .boolean(let flag): text += flag ? "true" : "false"
        case .integer(let integer): text += "\(integer)"
        case .number(let number): text += "\(number)"
        case .text(let string): write(string.replacing("${", with: "$${"), to: &text)
        case .sequence(let elements):
            text += "["
            for (index, element) in elements.enumerated() {
                if index > 0 { text += ", " }
                element.value.write(to: &text)
            }
            text += "]"
        case .mapping(let entries):
            text += "{"
            for (index, entry) in entries.enumerated() {
                if index > 0 { text += ", " }
                write(entry.key, to: &text)
                text += ": "
                entry.value.value.write(to: &text)
            }
            text += "}"
        }
    }

    /// A string in quotes. Beside what JSON must escape, so are characters that YAML takes for line breaks or refuses.
    private func write(_ string: String, to text: inout String) {
        text += "\""
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\t": text += "\\t"
            case "\0"..."\u{1F}", "\u{7F}"..."\u{A0}", "\u{2028}", "\u{2029}", "\u{FEFF}", "\u{FFFE}", "\u{FFFF}":
                let digits = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }
}
