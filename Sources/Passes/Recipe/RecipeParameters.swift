/// The parameters of a recipe and their substitution for `${name}`.
///
/// A scalar that is nothing but `${name}` becomes the parameter's value, whatever its type; inside longer text the value
/// is written out. `$${` stands for `${`. Values are taken as they are: they cannot use parameters themselves.
struct RecipeParameters {
    private var values: [String: RecipeNode] = [:]
    /// Parameters that `--set` gave, and where.
    private var overridden: [(name: String, location: RecipeLocation)] = []
    /// Where each parameter is declared, and those that some document uses, before overrides replace anything.
    private var declarations: [(name: String, location: RecipeLocation)] = []
    private var used: Set<String> = []

    var names: [String] { values.keys.sorted() }

    /// Adds a document's parameters; they win over those that are there.
    mutating func merge(_ document: RecipeNode) throws(RecipeError) {
        if case .mapping(let entries) = document.value {
            for entry in entries where entry.key != "params" { noteUses(in: entry.value) }
        }
        guard let node = document["params"] else { return }
        guard case .mapping(let entries) = node.value else { throw node.unexpected("'params'", expected: "a mapping") }
        for entry in entries {
            guard isParameterName(entry.key) else {
                throw RecipeError(
                    "the parameter's name '\(entry.key)' is not made of letters, digits, '-' and '_'", at: entry.keyLocation)
            }
            if let inner = firstUse(in: entry.value) {
                throw RecipeError("the value of parameter '\(entry.key)' uses '${'; parameters cannot use parameters", at: inner)
            }
            values[entry.key] = entry.value
            declarations.append((entry.key, entry.keyLocation))
        }
    }

    private mutating func noteUses(in node: RecipeNode) {
        switch node.value {
        case .text(let text):
            // An unclosed one is an error that the substitution reports.
            for piece in text.replacing("$${", with: "").split(separator: "${", omittingEmptySubsequences: false).dropFirst() {
                if let close = piece.firstIndex(of: "}") { used.insert(String(piece[..<close])) }
            }
        case .sequence(let elements): for element in elements { noteUses(in: element) }
        case .mapping(let entries): for entry in entries { noteUses(in: entry.value) }
        case .null, .boolean, .integer, .number: break
        }
    }

    mutating func set(_ override: RecipeOverride) throws(RecipeError) {
        guard !overridden.contains(where: { $0.name == override.parameterName }) else {
            throw RecipeError("the parameter is set twice", at: override.location)
        }
        values[override.parameterName] = override.value
        overridden.append((override.parameterName, override.location))
    }

    /// The document with all parameters filled in.
    /// - Throws: `RecipeError` for unknown parameters, for parameters that nothing uses, and when the result is too large.
    func substituted(in root: RecipeNode) throws(RecipeError) -> RecipeNode {
        var substitution = Substitution(values: values)
        let result = try substitution.run(root, depth: 0)
        if let unused = overridden.first(where: { !substitution.used.contains($0.name) }) {
            throw RecipeError("nothing in the recipe uses the parameter '\(unused.name)'", at: unused.location)
        }
        if let unused = declarations.first(where: { !used.contains($0.name) }) {
            throw RecipeError("nothing in the recipe uses the parameter '\(unused.name)'", at: unused.location)
        }
        return result
    }

    private func firstUse(in node: RecipeNode) -> RecipeLocation? {
        switch node.value {
        case .text(let text): text.contains("${") ? node.location : nil
        case .sequence(let elements): elements.lazy.compactMap(firstUse).first
        case .mapping(let entries): entries.lazy.compactMap { firstUse(in: $0.value) }.first
        default: nil
        }
    }
}

private func isParameterName(_ name: some StringProtocol) -> Bool {
    !name.isEmpty && name.utf8.allSatisfy { byte in
        let scalar = Unicode.Scalar(byte)
        return ("a"..."z").contains(scalar) || ("A"..."Z").contains(scalar) || ("0"..."9").contains(scalar) || scalar == "-"
            || scalar == "_"
    }
}

private struct Substitution {
    let values: [String: RecipeNode]
    private(set) var used: Set<String> = []
    /// Nodes and bytes of text so far: a parameter may be used often, but not to make a small recipe huge.
    private var size = 0

    private static let maximumSize = 1 << 20

    init(values: [String: RecipeNode]) { self.values = values }

    mutating func run(_ node: RecipeNode, depth: Int) throws(RecipeError) -> RecipeNode {
        guard depth < RecipeNode.maximumDepth else {
            throw RecipeError("nested more than \(RecipeNode.maximumDepth) levels deep", at: node.location)
        }
        try count(1, at: node.location)
        var result = node
        switch node.value {
        case .null, .boolean, .integer, .number: break
        case .text(let text):
            if text.hasPrefix("${"), let close = text.firstIndex(of: "}"), text.index(after: close) == text.endIndex {
                let parameter = try value(of: text.dropFirst(2).dropLast(), at: node.location)
                try measure(parameter, depth: depth)
                return parameter
            }
            result.value = .text(try interpolated(text, at: node.location))
        case .sequence(let elements):
            var filled: [RecipeNode] = []
            for element in elements { filled.append(try run(element, depth: depth + 1)) }
            result.value = .sequence(filled)
        case .mapping(let entries):
            var filled = entries
            for index in entries.indices { filled[index].value = try run(entries[index].value, depth: depth + 1) }
            result.value = .mapping(filled)
        }
        return result
    }

    private mutating func interpolated(_ text: String, at location: RecipeLocation) throws(RecipeError) -> String {
        try count(text.utf8.count, at: location)
        guard text.contains("${") else { return text }
        var result = ""
        var rest = text[...]
        while let dollar = rest.firstIndex(of: "$") {
            result += rest[..<dollar]
            rest = rest[dollar...]
            if rest.hasPrefix("$${") {
                result += "${"
                rest = rest.dropFirst(3)
            } else if rest.hasPrefix("${") {
                guard let close = rest.firstIndex(of: "}") else {
                    throw RecipeError("'${' without '}' ('$${' stands for the characters themselves)", at: location)
                }
                let name = rest[rest.index(rest.startIndex, offsetBy: 2)..<close]
                let written: String
                switch try value(of: name, at: location).value {
                case .text(let text): written = text
                case .boolean(let flag): written = "\(flag)"
                case .integer(let integer): written = "\(integer)"
                case .number(let number): written = "\(number)"
                case .null, .sequence, .mapping:
                    throw RecipeError("the parameter '\(name)' is not text or a number and cannot stand inside text", at: location)
                }
                try count(written.utf8.count, at: location)
                result += written
                rest = rest[rest.index(after: close)...]
            } else {
                result += "$"
                rest = rest.dropFirst()
            }
        }
        return result + rest
    }

    private mutating func value(of name: some StringProtocol, at location: RecipeLocation) throws(RecipeError) -> RecipeNode {
        let name = String(name)
        guard let value = values[name] else {
            throw RecipeError("unknown parameter '\(name)'", at: location, word: name, known: values.keys.sorted())
        }
        used.insert(name)
        return value
    }

    private mutating func measure(_ node: RecipeNode, depth: Int) throws(RecipeError) {
        guard depth < RecipeNode.maximumDepth else {
            throw RecipeError("nested more than \(RecipeNode.maximumDepth) levels deep", at: node.location)
        }
        try count(1, at: node.location)
        switch node.value {
        case .text(let text): try count(text.utf8.count, at: node.location)
        case .sequence(let elements): for element in elements { try measure(element, depth: depth + 1) }
        case .mapping(let entries): for entry in entries { try measure(entry.value, depth: depth + 1) }
        case .null, .boolean, .integer, .number: break
        }
    }

    private mutating func count(_ amount: Int, at location: RecipeLocation) throws(RecipeError) {
        size += amount
        guard size <= Substitution.maximumSize else {
            throw RecipeError("the recipe grows past \(Substitution.maximumSize) bytes when its parameters are filled in", at: location)
        }
    }
}
