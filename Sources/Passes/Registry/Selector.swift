import Models

/// What a selector looks at in a tensor.
public struct TensorFacts: Sendable {
    public var name: String
    /// The role's name, when the architecture is known, e.g. `q` or `attention-norm`.
    public var role: String?
    /// The layer, for tensors that belong to one.
    public var layer: Int?
    /// Layers of the model; 0 when unknown.
    public var layerCount: Int
    /// Outermost dimension first.
    public var shape: [Int]

    public init(name: String, role: String? = nil, layer: Int? = nil, layerCount: Int = 0, shape: [Int]) {
        self.name = name
        self.role = role
        self.layer = layer
        self.layerCount = layerCount
        self.shape = shape
    }
}

/// Which tensors are meant: a glob on names, a regular expression, or conditions on role, layer and shape.
///
///     "*.weight"                     glob: * any run (dots too), ? any one character, [a-z] and [!a-z] one of a set
///     "re:.*\\.(q|k)_proj\\.weight"  regular expression, the whole name
///     {role: [q, k], layer: 0-3}     all conditions must hold; not: SELECTOR reverses one
///     ["*.bias", {role: norm}]       any of a list
public struct Selector: Sendable {
    public let location: RecipeLocation
    private let condition: Condition

    /// Whether a tensor is meant.
    public func matches(_ tensor: TensorFacts) -> Bool { condition.matches(tensor) }

    /// The error for a selector that finds nothing in a model, with a hint when a name is nearly right.
    public func matchesNothing(_ what: String, in tensors: [TensorFacts]) -> RecipeError {
        var sentence = "\(what) matches no tensor of the model"
        var suggestion: String?
        if condition.usesRoles, tensors.allSatisfy({ $0.role == nil }) {
            sentence += " (its architecture is unknown, so its tensors have no roles)"
        } else if let text = condition.pattern {
            // `*.down_proj.weight` and the like for every name, beside the names themselves.
            let endings = tensors.lazy.flatMap { tensor in
                tensor.name.indices.lazy.filter { tensor.name[$0] == "." }.map { "*" + tensor.name[$0...] }
            }
            suggestion = nearest(to: text, in: tensors.lazy.map(\.name)) ?? nearest(to: text, in: endings)
        }
        return RecipeError(sentence, at: location, suggestion: suggestion)
    }

    /// - Throws: `RecipeError` for what is not a selector, a bad pattern, or an unknown role.
    public init(_ node: RecipeNode) throws(RecipeError) {
        location = node.location
        condition = try Condition(node)
    }
}

private indirect enum Condition: Sendable {
    case name(Pattern, text: String)
    case role(Set<String>)
    case layer([LayerRange])
    case shape([Int?])
    case all([Condition])
    case any([Condition])
    case not(Condition)

    func matches(_ tensor: TensorFacts) -> Bool {
        switch self {
        case .name(let pattern, _): pattern.matches(tensor.name)
        case .role(let roles): tensor.role.map(roles.contains) ?? false
        case .layer(let ranges): tensor.layer.map { layer in ranges.contains { $0.contains(layer, of: tensor.layerCount) } } ?? false
        case .shape(let dimensions):
            dimensions.count == tensor.shape.count && zip(dimensions, tensor.shape).allSatisfy { $0 == nil || $0 == $1 }
        case .all(let conditions): conditions.allSatisfy { $0.matches(tensor) }
        case .any(let conditions): conditions.contains { $0.matches(tensor) }
        case .not(let condition): !condition.matches(tensor)
        }
    }

    /// The pattern, when a name is all that is asked for.
    var pattern: String? {
        switch self {
        case .name(_, let text): text
        case .all(let conditions), .any(let conditions): conditions.count == 1 ? conditions[0].pattern : nil
        default: nil
        }
    }

    var usesRoles: Bool {
        switch self {
        case .role, .layer: true
        case .all(let conditions), .any(let conditions): conditions.contains(where: \.usesRoles)
        case .not(let condition): condition.usesRoles
        case .name, .shape: false
        }
    }
}

/// Parsing.
extension Condition {
    init(_ node: RecipeNode) throws(RecipeError) {
        switch node.value {
        case .text: self = try Condition(name: node)
        case .sequence(let elements):
            guard !elements.isEmpty else {
                throw RecipeError("the selector is an empty list, expected at least one selector", at: node.location)
            }
            var conditions: [Condition] = []
            for element in elements { conditions.append(try Condition(element)) }
            self = .any(conditions)
        case .mapping:
            let entries = try node.mapping("the selector", keys: ["name", "role", "layer", "shape", "not"])
            guard !entries.isEmpty else {
                throw RecipeError("the selector is an empty mapping, expected at least one condition", at: node.location)
            }
            var conditions: [Condition] = []
            for entry in entries { conditions.append(try Condition(key: entry.key, entry.value)) }
            self = .all(conditions)
        default: throw node.unexpected("the selector", expected: "a glob, 're:' and a regular expression, or a mapping")
        }
    }

    private init(name node: RecipeNode) throws(RecipeError) {
        let text = try node.text("the selector")
        do throws(Pattern.Failure) {
            self = .name(text.hasPrefix("re:") ? try Pattern(regex: text.dropFirst(3)) : try Pattern(glob: text), text: text)
        } catch {
            throw RecipeError("the pattern '\(text)' \(error.why)", at: node.location)
        }
    }

    private init(key: String, _ node: RecipeNode) throws(RecipeError) {
        switch key {
        case "name":
            var names: [Condition] = []
            for element in node.oneOrMore { names.append(try Condition(name: element)) }
            self = .any(names)
        case "role":
            var roles: Set<String> = []
            for element in node.oneOrMore { roles.formUnion(try roleNames(element)) }
            self = .role(roles)
        case "layer":
            var ranges: [LayerRange] = []
            for element in node.oneOrMore { ranges.append(try LayerRange(element)) }
            self = .layer(ranges)
        case "shape":
            var dimensions: [Int?] = []
            for element in try node.sequence("'shape' of the selector") {
                let isAny = element.value == .text("*")
                dimensions.append(isAny ? nil : try element.integer("a dimension of 'shape'", in: 0...Int.max))
            }
            self = .shape(dimensions)
        default: self = .not(try Condition(node))
        }
    }
}

/// Layers by number, by range, or counted from the end.
private enum LayerRange: Sendable {
    case range(ClosedRange<Int>)
    case last

    init(_ node: RecipeNode) throws(RecipeError) {
        let expected = "a layer's number, a range such as 0-3, first or last"
        switch node.value {
        case .integer(let layer) where layer >= 0: self = .range(layer...layer)
        case .text("first"): self = .range(0...0)
        case .text("last"): self = .last
        case .text(let text):
            let parts = text.split(separator: "-", omittingEmptySubsequences: false)
            guard parts.count == 2, let lower = Int(parts[0]), let upper = Int(parts[1]), lower <= upper else {
                throw node.unexpected("'layer' of the selector", expected: expected)
            }
            self = .range(lower...upper)
        default: throw node.unexpected("'layer' of the selector", expected: expected)
        }
    }

    func contains(_ layer: Int, of count: Int) -> Bool {
        switch self {
        case .range(let range): range.contains(layer)
        case .last: layer == count - 1
        }
    }
}
