import Formats

/// A value inside a template, with the meaning it has in Python. Lists and dictionaries never change; only namespaces do.
enum TemplateValue {
    /// What a name, attribute or key that is not there gives; the text says which.
    case undefined(String)
    case null
    case bool(Bool)
    case integer(Int)
    case number(Double)
    case string(String)
    case sequence(TemplateSequence)
    case dictionary(TemplateDictionary)
    case namespace(TemplateNamespace)
    case function(TemplateFunction)
    case loop(TemplateLoop)

    /// Python's name of the type, for messages.
    var kind: String {
        switch self {
        case .undefined: "undefined"
        case .null: "none"
        case .bool: "a boolean"
        case .integer: "an integer"
        case .number: "a number"
        case .string: "a string"
        case .sequence(let sequence): sequence.kind == .tuple ? "a tuple" : "a list"
        case .dictionary: "a dictionary"
        case .namespace: "a namespace"
        case .function: "a function"
        case .loop: "a loop"
        }
    }

    var isTrue: Bool {
        switch self {
        case .undefined, .null: false
        case .bool(let flag): flag
        case .integer(let integer): integer != 0
        case .number(let number): number != 0
        case .string(let text): !text.isEmpty
        // An iterator does not know whether there is anything to come.
        case .sequence(let sequence): sequence.kind == .iterator || !sequence.elements.isEmpty
        case .dictionary(let dictionary): !dictionary.keys.isEmpty
        case .namespace, .function, .loop: true
        }
    }

    /// How deep lists and dictionaries nest in it.
    var depth: Int {
        switch self {
        case .sequence(let sequence): sequence.depth
        case .dictionary(let dictionary): dictionary.depth
        case .function(.method(_, let value)): value.depth + 1
        default: 0
        }
    }

    /// An integer, as Python counts truth values among them.
    var asInteger: Int? {
        switch self {
        case .integer(let integer): integer
        case .bool(let flag): flag ? 1 : 0
        default: nil
        }
    }

    var asNumber: Double? { if case .number(let number) = self { number } else { asInteger.map(Double.init) } }

    var asString: String? { if case .string(let text) = self { text } else { nil } }

    var isUndefined: Bool { if case .undefined = self { true } else { false } }

    /// Equality as Python has it; texts are equal when their code points are.
    static func equal(_ a: TemplateValue, _ b: TemplateValue) -> Bool {
        switch (a, b) {
        case (.undefined, .undefined), (.null, .null): return true
        case (.string(let a), .string(let b)): return ExactString(a) == ExactString(b)
        case (.sequence(let a), .sequence(let b)):
            guard a.kind == b.kind, a.elements.count == b.elements.count else { return false }
            return zip(a.elements, b.elements).allSatisfy { equal($0, $1) }
        case (.dictionary(let a), .dictionary(let b)):
            guard a.keys.count == b.keys.count else { return false }
            return a.keys.allSatisfy { key in a[key].flatMap { mine in b[key].map { equal(mine, $0) } } ?? false }
        case (.namespace(let a), .namespace(let b)): return a === b
        case (.loop(let a), .loop(let b)): return a === b
        default:
            if let a = a.asInteger, let b = b.asInteger { return a == b }
            if let a = a.asNumber, let b = b.asNumber { return a == b }
            return false
        }
    }
}

/// A list, a tuple, or what Python computes on the way (generators, views of dictionaries), with its elements.
struct TemplateSequence {
    enum Kind { case list, tuple, view, iterator }

    let kind: Kind
    let elements: [TemplateValue]
    let depth: Int
    let weight: Int

    init(_ kind: Kind, _ elements: [TemplateValue]) {
        self.kind = kind
        self.elements = elements
        weight = elements.reduce(2) { $0.addingCapped($1.weight).addingCapped(2) }
        depth = 1 + (elements.lazy.map(\.depth).max() ?? 0)
    }
}

/// A dictionary, in the order in which its keys came.
struct TemplateDictionary {
    /// A key: equal numbers are the same key whatever their type.
    enum Key: Hashable {
        case string(ExactString)
        case integer(Int)
        case number(Double)
        case null

        init?(_ value: TemplateValue) {
            switch value {
            case .string(let text): self = .string(ExactString(text))
            case .null: self = .null
            case .number(let number): self = Int(exactly: number).map(Key.integer) ?? .number(number)
            default:
                guard let integer = value.asInteger else { return nil }
                self = .integer(integer)
            }
        }
    }

    private(set) var keys: [TemplateValue] = []
    private(set) var values: [TemplateValue] = []
    private(set) var depth = 1
    private(set) var weight = 2
    private var places: [Key: Int] = [:]

    init() {}

    subscript(key: TemplateValue) -> TemplateValue? { Key(key).flatMap { places[$0] }.map { values[$0] } }

    subscript(name: String) -> TemplateValue? { places[.string(ExactString(name))].map { values[$0] } }

    /// - Returns: whether a value of that kind can be a key.
    @discardableResult mutating func set(_ key: TemplateValue, _ value: TemplateValue) -> Bool {
        guard let exact = Key(key) else { return false }
        if let place = places[exact] {
            values[place] = value
        } else {
            places[exact] = keys.count
            keys.append(key)
            values.append(value)
        }
        depth = max(depth, 1 + max(value.depth, key.depth))
        weight = weight.addingCapped(key.weight).addingCapped(value.weight).addingCapped(4)
        return true
    }

    /// Key and value as tuples.
    var items: [TemplateValue] { zip(keys, values).map { .sequence(TemplateSequence(.tuple, [$0, $1])) } }
}

/// `namespace()`: a set of variables that loops can change.
final class TemplateNamespace {
    var values: [String: TemplateValue] = [:]
}

/// Something that can be called.
enum TemplateFunction {
    /// One that every template has: `range`, `namespace`, `dict`, `raise_exception`, `strftime_now`.
    case global(String)
    indirect case method(String, of: TemplateValue)
    case macro(TemplateMacro)
}

/// A macro and the variables around its definition.
final class TemplateMacro {
    let node: TemplateMacroNode
    /// Goes with the end of the rendering, so that a macro that holds itself is freed.
    var scope: TemplateScope?

    init(_ node: TemplateMacroNode, scope: TemplateScope) {
        self.node = node
        self.scope = scope
    }
}

/// What a template knows of the loop it is in.
final class TemplateLoop {
    let elements: [TemplateValue]
    var index = 0

    init(_ elements: [TemplateValue]) { self.elements = elements }

    subscript(name: String) -> TemplateValue? {
        switch name {
        case "index": .integer(index + 1)
        case "index0": .integer(index)
        case "revindex": .integer(elements.count - index)
        case "revindex0": .integer(elements.count - index - 1)
        case "first": .bool(index == 0)
        case "last": .bool(index == elements.count - 1)
        case "length": .integer(elements.count)
        case "previtem": index > 0 ? elements[index - 1] : .undefined("there is no previous item")
        case "nextitem": index + 1 < elements.count ? elements[index + 1] : .undefined("there is no next item")
        case "cycle": .function(.method(name, of: .loop(self)))
        default: nil
        }
    }
}

/// Variables of a block; what is not found there is looked for around it.
final class TemplateScope {
    var variables: [String: TemplateValue] = [:]
    let parent: TemplateScope?

    init(_ parent: TemplateScope?) { self.parent = parent }

    subscript(name: String) -> TemplateValue? {
        var scope: TemplateScope? = self
        while let current = scope {
            if let value = current.variables[name] { return value }
            scope = current.parent
        }
        return nil
    }
}

extension Int {
    /// The sum, or the highest number when it does not fit.
    fileprivate func addingCapped(_ other: Int) -> Int {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }
}
