import Formats

/// One rule of an ordered list: the tensors it is for, and the type they get. The last rule that matches decides.
public struct Rule: Sendable {
    public let selector: Selector
    public let type: TargetType
    /// The further keys that the pass declares for its rules.
    public let options: PassOptions
    public let location: RecipeLocation

    init(_ node: RecipeNode, mixtures: [String], extra: [OptionDeclaration], types: TypeTable) throws(RecipeError) {
        let what = "the rule"
        let entries = try node.mapping(what, keys: ["match", "type"] + extra.map(\.name))
        selector = try Selector(try node.required("match", in: what))
        type = try TargetType(try node.required("type", in: what), mixtures: mixtures, types: types)
        let rest = entries.filter { $0.key != "match" && $0.key != "type" }
        options = try PassOptions(
            RecipeNode(.mapping(rest), at: node.location), declared: extra, owner: what, location: node.location)
        location = node.location
    }
}

/// What a rule turns a tensor into.
public enum TargetType: Sendable, Equatable {
    /// Left as it is.
    case keep
    case encoding(Encoding)
    /// A named mixture chooses for each tensor, e.g. `q4_k_m`.
    case mixture(String)
    /// Integers of so many bits, e.g. `int4`, or `{split: {high: int8, low: int4}}`.
    case split(SplitBits)

    init(_ node: RecipeNode, mixtures: [String], types: TypeTable) throws(RecipeError) {
        switch node.value {
        case .text("keep"): self = .keep
        case .text(let name):
            if let bits = SplitBits.bits(named: name) { self = .split(SplitBits(middle: bits)); return }
            guard let encoding = types[name] else {
                if mixtures.contains(name.lowercased()) {
                    throw RecipeError(
                        "'\(name)' is a mixture of types, written 'type: {mixture: \(name.lowercased())}'", at: node.location)
                }
                throw node.unknownType(name, of: types, what: "'type' of the rule", others: ["keep"])
            }
            self = .encoding(encoding)
        case .mapping:
            _ = try node.mapping("'type' of the rule", keys: ["mixture", "split"])
            if let split = node["split"] {
                guard node["mixture"] == nil else {
                    throw split.unexpected("'type' of the rule", expected: "either a mixture or a split")
                }
                self = .split(try SplitBits(split))
                return
            }
            let named = try node.required("mixture", in: "'type' of the rule")
            guard case .text(let name) = named.value else {
                throw named.unexpected("'mixture' of the rule", expected: "the name of a mixture")
            }
            guard mixtures.contains(name.lowercased()) else {
                throw RecipeError("unknown mixture '\(name)'", at: named.location, word: name, known: mixtures)
            }
            self = .mixture(name.lowercased())
        default:
            throw node.unexpected("'type' of the rule", expected: "the name of a type, keep, {mixture: NAME}, or {split: {high: int8, low: int4}}")
        }
    }
}

extension SplitBits {
    /// `{high: int8, low: int4}`, or with a middle between them; how many columns share a scale, and whether it has a zero point.
    fileprivate init(_ node: RecipeNode) throws(RecipeError) {
        let what = "'split' of the rule"
        _ = try node.mapping(what, keys: ["low", "middle", "high", "group", "zero-points"])
        func bits(_ name: String) throws(RecipeError) -> Int? {
            guard let node = node[name] else { return nil }
            guard case .text(let text) = node.value, let bits = SplitBits.bits(named: text) else {
                throw node.unexpected("'\(name)' of 'split'", expected: "int2 to int8")
            }
            return bits
        }
        let (low, middle, high) = (try bits("low"), try bits("middle"), try bits("high"))
        guard let rest = middle ?? low else { throw node.unexpected(what, expected: "bits for 'low'") }
        self.init(low: middle == nil ? nil : low, middle: rest, high: high)
        if let group = node["group"], group.value != .null {
            guard case .integer(let width) = group.value, (8...65536).contains(width) else {
                throw group.unexpected("'group' of 'split'", expected: "an integer from 8 to 65536, or null")
            }
            scaleWidth = width
        }
        if let zeros = node["zero-points"] {
            guard case .boolean(let flag) = zeros.value else { throw zeros.unexpected("'zero-points' of 'split'", expected: "true or false") }
            hasZeroPoints = flag
        }
    }
}

extension [Rule] {
    /// For each tensor, the place of the last rule that matches it, or `nil`.
    /// - Throws: `RecipeError` at the first rule that matches no tensor at all.
    public func decisions(for tensors: [TensorFacts]) throws(RecipeError) -> [Int?] {
        var decisions = [Int?](repeating: nil, count: tensors.count)
        for (place, rule) in enumerated() {
            var matched = false
            for (index, tensor) in tensors.enumerated() where rule.selector.matches(tensor) {
                decisions[index] = place
                matched = true
            }
            guard matched else { throw rule.selector.matchesNothing("the rule", in: tensors) }
        }
        return decisions
    }
}
