import Formats

/// Jinja's tests: what may stand after `is`.
extension TemplateEvaluator {
    func test(_ name: String, _ value: TemplateValue, _ arguments: TemplateCallArguments) throws(TemplateError) -> Bool {
        if let relation = Self.relations[name] {
            guard let other = try bind(arguments, "other", of: name)[0] else { throw error("'is \(name)' needs a value") }
            return try holds(relation, value, other)
        }
        switch name {
        case "divisibleby":
            guard let divisor = try integer(try bind(arguments, "num", of: name)[0], of: name), divisor != 0, let number = value.asInteger else {
                throw error("'is divisibleby' takes integers above or below zero")
            }
            return divisor == -1 || number % divisor == 0
        case "sameas":
            guard let other = try bind(arguments, "other", of: name)[0] else { throw error("'is sameas' needs a value") }
            guard value.kind == other.kind else { return false }
            return try holds(.equal, value, other)
        default: _ = try bind(arguments, of: name)
        }
        switch name {
        case "defined": return !value.isUndefined
        case "undefined": return value.isUndefined
        case "none": if case .null = value { return true }
        case "boolean": if case .bool = value { return true }
        case "true": if case .bool(true) = value { return true }
        case "false": if case .bool(false) = value { return true }
        case "integer": if case .integer = value { return true }
        case "float": if case .number = value { return true }
        case "number": return value.asNumber != nil
        case "string": if case .string = value { return true }
        case "mapping": if case .dictionary = value { return true }
        case "callable": if case .function = value { return true }
        case "sequence", "iterable": return isIterable(value, hasItems: name == "sequence")
        case "odd", "even":
            guard let integer = value.asInteger else { throw error("'is \(name)' takes an integer, not \(value.kind)") }
            return (integer & 1 == 1) == (name == "odd")
        default: throw error("there is no test '\(printable(name))' here")
        }
        return false
    }

    private static let relations: [String: TemplateRelation] = [
        "eq": .equal, "equalto": .equal, "==": .equal, "ne": .unequal, "!=": .unequal, "lt": .less, "lessthan": .less, "<": .less,
        "le": .lessOrEqual, "<=": .lessOrEqual, "gt": .greater, "greaterthan": .greater, ">": .greater, "ge": .greaterOrEqual,
        ">=": .greaterOrEqual, "in": .inside,
    ]

    /// - Parameter hasItems: whether elements must be there by index or key.
    private func isIterable(_ value: TemplateValue, hasItems: Bool) -> Bool {
        switch value {
        case .string, .dictionary, .undefined: true
        case .sequence(let sequence): !hasItems || sequence.kind == .list || sequence.kind == .tuple
        case .loop: !hasItems
        default: false
        }
    }
}
