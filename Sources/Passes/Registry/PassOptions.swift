import Formats

/// The options of one pass of a recipe: all declared, all of their declared type and range, defaults filled in.
///
/// Asking for an option that is not declared, or as another type than declared, is a programmer's error.
public struct PassOptions: Sendable {
    /// The pass, as messages name it: `pass 'quantize'`.
    public let owner: String
    /// Where the options stand, or the pass when it has none.
    public let location: RecipeLocation
    private let values: [String: (value: OptionValue?, location: RecipeLocation)]

    /// Checks a `with:` mapping against what is declared.
    /// - Parameter node: the mapping, or `nil` when the recipe says nothing.
    public init(
        _ node: RecipeNode?, declared: [OptionDeclaration], owner: String, location: RecipeLocation
    ) throws(RecipeError) {
        self.owner = owner
        self.location = node?.location ?? location
        if let node, !node.isNull { _ = try node.mapping("the options of \(owner)", keys: declared.map(\.name)) }
        var values: [String: (value: OptionValue?, location: RecipeLocation)] = [:]
        for option in declared {
            let what = "option '\(option.name)' of \(owner)"
            if let given = node?[option.name] {
                if given.isNull, option.fallback == .absent {
                    values[option.name] = (nil, given.location)
                } else {
                    values[option.name] = (try OptionValue(given, as: option.type, what: what), given.location)
                }
            } else if option.fallback == .required {
                throw RecipeError("\(what) is missing", at: self.location)
            } else {
                let fallback = option.fallback.node(at: self.location)
                var value: OptionValue?
                if let fallback { value = try OptionValue(fallback, as: option.type, what: what) }
                values[option.name] = (value, self.location)
            }
        }
        self.values = values
    }

    /// No options at all.
    static let none = PassOptions()

    private init() { (owner, location, values) = ("", RecipeLocation(file: ""), [:]) }

    /// An error about the value of an option, for what its declaration alone cannot check.
    public func error(_ what: String, option name: String) -> RecipeError {
        RecipeError("option '\(name)' of \(owner): \(what)", at: location(of: name))
    }

    /// Where an option's value stands; the pass when it is a default.
    public func location(of name: String) -> RecipeLocation { values[name]?.location ?? location }

    /// Whether an option has a value, its own or a default.
    public func has(_ name: String) -> Bool { value(name) != nil }

    public func boolean(_ name: String) -> Bool {
        guard case .boolean(let flag) = value(name) else { undeclared(name, "boolean") }
        return flag
    }

    public func integer(_ name: String) -> Int {
        guard case .integer(let integer) = value(name) else { undeclared(name, "integer") }
        return integer
    }

    public func number(_ name: String) -> Double {
        guard case .number(let number) = value(name) else { undeclared(name, "number") }
        return number
    }

    /// Text, a path or a choice.
    public func text(_ name: String) -> String {
        guard case .text(let text) = value(name) else { undeclared(name, "text") }
        return text
    }

    public func encoding(_ name: String) -> Encoding {
        guard case .encoding(let encoding) = value(name) else { undeclared(name, "encoding") }
        return encoding
    }

    public func selector(_ name: String) -> Selector {
        guard case .selector(let selector) = value(name) else { undeclared(name, "selector") }
        return selector
    }

    public func rules(_ name: String) -> [Rule] {
        guard case .rules(let rules) = value(name) else { undeclared(name, "rules") }
        return rules
    }

    /// A way of rounding, and what it is called.
    func rounding(_ name: String) -> (name: String, method: any RoundingMethod) {
        guard case .rounding(let identifier, let method) = value(name) else { undeclared(name, "rounding") }
        return (identifier, method)
    }

    /// A list of texts, paths or choices.
    public func texts(_ name: String) -> [String] {
        list(name).map {
            guard case .text(let text) = $0 else { undeclared(name, "list of text") }
            return text
        }
    }

    /// A list of selectors.
    public func selectors(_ name: String) -> [Selector] {
        list(name).map {
            guard case .selector(let selector) = $0 else { undeclared(name, "list of selectors") }
            return selector
        }
    }

    private func list(_ name: String) -> [OptionValue] {
        guard case .list(let elements) = value(name) else { undeclared(name, "list") }
        return elements
    }

    /// An option's value as JSON, null when it has none; a selector or rules, which only the host understands, are null too.
    func json(_ name: String) -> JSONValue { value(name)?.json ?? .null }

    private func value(_ name: String) -> OptionValue? {
        guard let entry = values[name] else { undeclared(name, "option") }
        return entry.value
    }

    private func undeclared(_ name: String, _ type: String) -> Never {
        preconditionFailure("\(owner) asks for '\(name)' as \(type), which it does not declare")
    }
}

/// The value of one option.
indirect enum OptionValue: Sendable {
    case boolean(Bool)
    case integer(Int)
    case number(Double)
    case text(String)
    case encoding(Encoding)
    case selector(Selector)
    case rules([Rule])
    case rounding(String, any RoundingMethod)
    case list([OptionValue])

    /// The value for others than the host.
    var json: JSONValue {
        switch self {
        case .boolean(let flag): .bool(flag)
        case .integer(let integer): .integer(integer)
        case .number(let number): .number(number)
        case .text(let text): .string(text)
        case .encoding(let encoding): .string(encoding.name)
        case .list(let elements): .array(elements.map(\.json))
        case .selector, .rules, .rounding: .null
        }
    }

    init(_ node: RecipeNode, as type: OptionType, what: String) throws(RecipeError) {
        switch type {
        case .boolean: self = .boolean(try node.boolean(what))
        case .integer(let range): self = .integer(try node.integer(what, in: range))
        case .number(let range): self = .number(try node.number(what, in: range))
        case .text, .path: self = .text(try node.text(what))
        case .choice(let choices): self = .text(try node.choice(what, of: choices))
        case .encoding: self = .encoding(try node.encoding(what))
        case .selector: self = .selector(try Selector(node))
        case .rules(let mixtures, let extra, let types):
            var rules: [Rule] = []
            for element in try node.sequence(what) { rules.append(try Rule(element, mixtures: mixtures, extra: extra, types: types)) }
            guard !rules.isEmpty else { throw RecipeError("\(what) is empty, expected at least one rule", at: node.location) }
            self = .rules(rules)
        case .rounding(let roundings):
            let (name, method) = try roundings.make(node, what: what)
            self = .rounding(name, method)
        case .list(let elementType):
            var elements: [OptionValue] = []
            for element in try node.sequence(what) {
                elements.append(try OptionValue(element, as: elementType, what: "an element of \(what)"))
            }
            self = .list(elements)
        }
    }
}

extension RecipeNode {
    func encoding(_ what: String) throws(RecipeError) -> Encoding {
        guard case .text(let name) = value else { throw unexpected(what, expected: "the name of a type") }
        guard let encoding = TypeTable.builtIn[name] else { throw unknownType(name, of: .builtIn, what: what, others: []) }
        return encoding
    }

    func unknownType(_ name: String, of types: TypeTable, what: String, others: [String]) -> RecipeError {
        RecipeError("\(what): unknown type '\(name)'", at: location, word: name, known: others + types.names)
    }
}
