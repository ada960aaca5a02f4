import Formats

extension TemplateEvaluator {
    /// The value of an expression.
    func evaluate(_ expression: TemplateExpression, in scope: TemplateScope) throws(TemplateError) -> TemplateValue {
        try spend(1)
        switch expression {
        case .null: return .null
        case .bool(let flag): return .bool(flag)
        case .integer(let integer): return .integer(integer)
        case .number(let number): return .number(number)
        case .string(let text): return .string(text)
        case .name(let name): return scope[name] ?? .undefined("'\(printable(name))' is undefined")
        default: break
        }
        try enter()
        defer { leave() }
        switch expression {
        case .suffixed(let base, let suffixes): return try evaluate(base, suffixes, in: scope)
        case .not(let operand): return .bool(!(try evaluate(operand, in: scope).isTrue))
        case .and(let operands): return try evaluate(operands, until: false, in: scope)
        case .or(let operands): return try evaluate(operands, until: true, in: scope)
        case .comparison(let first, let rest): return try compare(first, rest, in: scope)
        case .arithmetic(let first, let rest):
            var value = try evaluate(first, in: scope)
            for (operation, operand) in rest { value = try compute(operation, value, try evaluate(operand, in: scope)) }
            return value
        case .conditional(let condition, let then, let otherwise):
            if try evaluate(condition, in: scope).isTrue { return try evaluate(then, in: scope) }
            if let otherwise { return try evaluate(otherwise, in: scope) }
            return .undefined("an 'if' without 'else' has no value")
        default: return try collect(expression, in: scope)
        }
    }

    /// Lists and their like.
    private func collect(_ expression: TemplateExpression, in scope: TemplateScope) throws(TemplateError) -> TemplateValue {
        switch expression {
        case .list(let elements): return try sequence(.list, try evaluate(elements, in: scope))
        case .tuple(let elements): return try sequence(.tuple, try evaluate(elements, in: scope))
        case .dictionary(let members):
            var values: [(TemplateValue, TemplateValue)] = []
            for (key, value) in members { values.append((try evaluate(key, in: scope), try evaluate(value, in: scope))) }
            return try dictionary(values)
        case .concatenation(let operands):
            var text = ""
            for operand in operands {
                let part = try self.text(of: try evaluate(operand, in: scope))
                try spend(bytes: part.utf8.count)
                text += part
            }
            return .string(text)
        case .signed(let operand, let isNegative):
            let value = try evaluate(operand, in: scope)
            if case .number(let number) = value { return .number(isNegative ? -number : number) }
            guard let integer = value.asInteger else { throw error("\(value.kind) has no sign") }
            let (negative, overflow) = 0.subtractingReportingOverflow(integer)
            if overflow { throw error("a number does not fit 64 bits") }
            return .integer(isNegative ? negative : integer)
        default: throw error("an expression is not known")
        }
    }

    private func evaluate(_ expressions: [TemplateExpression], in scope: TemplateScope) throws(TemplateError) -> [TemplateValue] {
        var values: [TemplateValue] = []
        for expression in expressions { values.append(try evaluate(expression, in: scope)) }
        return values
    }

    /// The first operand with that truth, or the last.
    private func evaluate(
        _ operands: [TemplateExpression], until truth: Bool, in scope: TemplateScope
    ) throws(TemplateError) -> TemplateValue {
        var value = TemplateValue.null
        for operand in operands {
            value = try evaluate(operand, in: scope)
            if value.isTrue == truth { break }
        }
        return value
    }

    private func compare(
        _ first: TemplateExpression, _ rest: [(relation: TemplateRelation, operand: TemplateExpression)], in scope: TemplateScope
    ) throws(TemplateError) -> TemplateValue {
        var left = try evaluate(first, in: scope)
        for (relation, operand) in rest {
            let right = try evaluate(operand, in: scope)
            guard try holds(relation, left, right) else { return .bool(false) }
            left = right
        }
        return .bool(true)
    }

    private func evaluate(
        _ base: TemplateExpression, _ suffixes: [TemplateSuffix], in scope: TemplateScope
    ) throws(TemplateError) -> TemplateValue {
        var value = try evaluate(base, in: scope)
        for suffix in suffixes {
            try spend(1)
            let line = line
            switch suffix {
            case .attribute(let name): value = try attribute(name, of: value)
            case .item(let expression): value = try item(try evaluate(expression, in: scope), of: value)
            case .slice(let from, let to, let step):
                let bounds = (try bound(from, in: scope), try bound(to, in: scope), try bound(step, in: scope))
                value = try slice(value, from: bounds.0, to: bounds.1, step: bounds.2 ?? 1)
            case .call(let arguments):
                value = try call(value, try evaluate(arguments, in: scope))
            case .filter(let name, let arguments): value = try filter(name, value, try evaluate(arguments, in: scope))
            case .test(let name, let arguments, let isNegated):
                value = .bool(try test(name, value, try evaluate(arguments, in: scope)) != isNegated)
            }
            self.line = line
        }
        return value
    }

    /// A value through filters.
    func apply(_ filters: [TemplateSuffix], to value: TemplateValue, in scope: TemplateScope) throws(TemplateError) -> TemplateValue {
        var value = value
        for case .filter(let name, let arguments) in filters { value = try filter(name, value, try evaluate(arguments, in: scope)) }
        return value
    }

    private func bound(_ expression: TemplateExpression?, in scope: TemplateScope) throws(TemplateError) -> Int? {
        guard let expression else { return nil }
        let value = try evaluate(expression, in: scope)
        if case .null = value { return nil }
        guard let integer = value.asInteger else { throw error("a bound of a slice is \(value.kind), expected an integer") }
        return integer
    }

    private func evaluate(_ arguments: TemplateArguments, in scope: TemplateScope) throws(TemplateError) -> TemplateCallArguments {
        var result = TemplateCallArguments()
        for expression in arguments.positional { result.positional.append(try evaluate(expression, in: scope)) }
        for (name, expression) in arguments.named { result.named.append((name, try evaluate(expression, in: scope))) }
        return result
    }

    /// `value.name`: a method, else a member.
    func attribute(_ name: String, of value: TemplateValue) throws(TemplateError) -> TemplateValue {
        switch value {
        case .undefined(let why): throw error("\(why), so it has no '\(printable(name))'")
        case .dictionary(let dictionary):
            if TemplateMethods.ofDictionaries.contains(name) { return .function(.method(name, of: value)) }
            if let member = dictionary[name] { return member }
        case .namespace(let namespace): if let member = namespace.values[name] { return member }
        case .loop(let loop): if let member = loop[name] { return member }
        case .string: if TemplateMethods.ofStrings.contains(name) { return .function(.method(name, of: value)) }
        case .sequence: if TemplateMethods.ofSequences.contains(name) { return .function(.method(name, of: value)) }
        case .function(.macro(let macro)): if name == "name" { return .string(macro.node.name) }
        default: break
        }
        return .undefined("\(value.kind) has no '\(printable(name))'")
    }

    /// `value[key]`: an element or member, else a method.
    func item(_ key: TemplateValue, of value: TemplateValue) throws(TemplateError) -> TemplateValue {
        switch value {
        case .undefined(let why): throw error("\(why), so it has no items")
        case .dictionary(let dictionary): if let member = dictionary[key] { return member }
        case .sequence(let sequence):
            if sequence.kind == .list || sequence.kind == .tuple, let index = key.asInteger {
                if let place = place(index, count: sequence.elements.count) { return sequence.elements[place] }
            }
        case .string(let text):
            if let index = key.asInteger {
                try spend(bytes: text.utf8.count)
                let scalars = text.unicodeScalars
                if let place = place(index, count: scalars.count) {
                    return .string(String(scalars[scalars.index(scalars.startIndex, offsetBy: place)]))
                }
            }
        default: break
        }
        guard case .string(let name) = key else { return .undefined("\(value.kind) has no such item") }
        return try attribute(name, of: value)
    }

    /// An index from the end when it is negative; `nil` past the ends.
    private func place(_ index: Int, count: Int) -> Int? {
        if index >= 0 { return index < count ? index : nil }
        return index >= -count ? index + count : nil
    }

    private func slice(_ value: TemplateValue, from: Int?, to: Int?, step: Int) throws(TemplateError) -> TemplateValue {
        guard step != 0 else { throw error("a slice has a step of zero") }
        switch value {
        case .undefined(let why): throw error("\(why), so it has no items")
        case .sequence(let sequence) where sequence.kind == .list || sequence.kind == .tuple:
            let places = places(count: sequence.elements.count, from: from, to: to, step: step)
            return try self.sequence(sequence.kind, places.map { sequence.elements[$0] })
        case .string(let text):
            try spend(text.utf8.count / 4)
            let scalars = Array(text.unicodeScalars)
            var part = String.UnicodeScalarView()
            for place in places(count: scalars.count, from: from, to: to, step: step) { part.append(scalars[place]) }
            return .string(String(part))
        default: return .undefined("\(value.kind) has no such part")
        }
    }

    /// The places that a slice takes, by Python's rules: bounds count from the end when negative and are held within the ends.
    private func places(count: Int, from: Int?, to: Int?, step: Int) -> [Int] {
        func held(_ bound: Int, _ low: Int, _ high: Int) -> Int {
            let place = bound < 0 ? (bound < -count ? -1 : bound + count) : bound
            return min(max(place, low), high)
        }
        if step > 0 {
            let start = from.map { held($0, 0, count) } ?? 0, end = to.map { held($0, 0, count) } ?? count
            return start < end ? Array(stride(from: start, to: end, by: min(step, count + 1))) : []
        }
        let start = from.map { held($0, -1, count - 1) } ?? count - 1, end = to.map { held($0, -1, count - 1) } ?? -1
        return start > end ? Array(stride(from: start, to: end, by: max(step, -count - 1))) : []
    }
}

/// The values that a call, a filter or a test is given.
struct TemplateCallArguments {
    var positional: [TemplateValue] = []
    var named: [(name: String, value: TemplateValue)] = []
}
