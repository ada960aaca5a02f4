import Formats

extension TemplateEvaluator {
    func call(_ function: TemplateValue, _ arguments: TemplateCallArguments) throws(TemplateError) -> TemplateValue {
        switch function {
        case .function(.macro(let macro)): return try call(macro, arguments)
        case .function(.method(let name, let value)): return try method(name, of: value, arguments)
        case .function(.global(let name)): return try global(name, arguments)
        case .undefined(let why): throw error("\(why), so it cannot be called")
        default: throw error("\(function.kind) cannot be called")
        }
    }

    private func call(_ macro: TemplateMacro, _ arguments: TemplateCallArguments) throws(TemplateError) -> TemplateValue {
        try enter()
        defer { leave() }
        let node = macro.node
        guard let outer = macro.scope else { throw error("a macro outlived its template") }
        let scope = TemplateScope(outer)
        var named = arguments.named
        guard arguments.positional.count <= node.parameters.count else {
            throw error("macro '\(printable(node.name))' takes \(node.parameters.count) arguments, not \(arguments.positional.count)")
        }
        for (index, parameter) in node.parameters.enumerated() {
            if index < arguments.positional.count {
                scope.variables[parameter.name] = arguments.positional[index]
            } else if let place = named.firstIndex(where: { $0.name == parameter.name }) {
                scope.variables[parameter.name] = named.remove(at: place).value
            } else if let initial = parameter.initial {
                scope.variables[parameter.name] = try evaluate(initial, in: scope)
            } else {
                scope.variables[parameter.name] = .undefined("parameter '\(printable(parameter.name))' was not given")
            }
        }
        if let extra = named.first { throw error("macro '\(printable(node.name))' has no use for the argument '\(printable(extra.name))'") }
        return .string(try captured(node.body, in: scope).text)
    }

    /// The values of parameters, by place or by name.
    /// - Throws: an error that names the function for more arguments than there are parameters, and for other names.
    func bind(_ arguments: TemplateCallArguments, _ names: String..., of function: String) throws(TemplateError) -> [TemplateValue?] {
        var values = [TemplateValue?](repeating: nil, count: names.count)
        guard arguments.positional.count <= names.count else {
            throw error("'\(function)' takes \(names.count) arguments, not \(arguments.positional.count)")
        }
        for (index, value) in arguments.positional.enumerated() { values[index] = value }
        for (name, value) in arguments.named {
            guard let index = names.firstIndex(of: name), values[index] == nil else {
                throw error("'\(function)' has no use for the argument '\(printable(name))'")
            }
            values[index] = value
        }
        return values
    }

    func integer(_ value: TemplateValue?, of function: String) throws(TemplateError) -> Int? {
        guard let value else { return nil }
        if case .null = value { return nil }
        guard let integer = value.asInteger else { throw error("'\(function)' takes an integer, not \(value.kind)") }
        return integer
    }

    func string(_ value: TemplateValue?, of function: String) throws(TemplateError) -> String? {
        guard let value else { return nil }
        if case .null = value { return nil }
        guard case .string(let text) = value else { throw error("'\(function)' takes a string, not \(value.kind)") }
        return text
    }

    private func global(_ name: String, _ arguments: TemplateCallArguments) throws(TemplateError) -> TemplateValue {
        switch name {
        case "range": return try range(arguments)
        case "dict":
            var start = TemplateDictionary()
            if case .dictionary(let dictionary)? = arguments.positional.first { start = dictionary }
            return try dictionary(arguments.named.map { (.string($0.name), $0.value) }, from: start)
        case "namespace":
            let namespace = try namespace()
            if case .dictionary(let dictionary)? = arguments.positional.first {
                for (key, value) in zip(dictionary.keys, dictionary.values) { namespace.values[key.text] = value }
            }
            for (name, value) in arguments.named { namespace.values[name] = value }
            return .namespace(namespace)
        case "strftime_now":
            guard let format = try string(try bind(arguments, "format", of: name)[0], of: name) else { throw error("'\(name)' needs a format") }
            try spend(bytes: 16 * format.utf8.count)
            guard let text = date.formatted(format) else { throw error("'\(printable(format))' is no format that 'strftime_now' knows") }
            return .string(text)
        default:
            let message = try bind(arguments, "message", of: name)[0].map(text(of:)) ?? ""
            throw error("the template refuses this conversation: \(printable(message, limit: 500))")
        }
    }

    private func range(_ arguments: TemplateCallArguments) throws(TemplateError) -> TemplateValue {
        var bounds: [Int] = []
        for value in arguments.positional {
            guard let integer = value.asInteger else { throw error("'range' takes integers, not \(value.kind)") }
            bounds.append(integer)
        }
        guard (1...3).contains(bounds.count), arguments.named.isEmpty else { throw error("'range' takes 1 to 3 integers") }
        let start = bounds.count == 1 ? 0 : bounds[0], end = bounds.count == 1 ? bounds[0] : bounds[1]
        let step = bounds.count == 3 ? bounds[2] : 1
        guard step != 0 else { throw error("'range' has a step of zero") }
        let distance = step > 0 ? end.subtractingReportingOverflow(start) : start.subtractingReportingOverflow(end)
        let count = distance.overflow ? Int.max : distance.partialValue <= 0 ? 0 : (distance.partialValue - 1) / Int(clamping: step.magnitude) + 1
        guard count <= TemplateLimit.rangeCount else { throw error("'range' has more than \(TemplateLimit.rangeCount) elements") }
        var elements: [TemplateValue] = []
        elements.reserveCapacity(count)
        var value = start
        for index in 0..<count {
            elements.append(.integer(value))
            if index + 1 < count { value += step }
        }
        return try sequence(.list, elements)
    }
}
