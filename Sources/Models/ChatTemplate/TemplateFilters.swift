import Formats

/// Jinja's filters, as chat templates use them, and `tojson` as transformers has it.
extension TemplateEvaluator {
    func filter(_ name: String, _ value: TemplateValue, _ arguments: TemplateCallArguments) throws(TemplateError) -> TemplateValue {
        try enter()
        defer { leave() }
        try spend(1)
        switch name {
        case "default", "d":
            let values = try bind(arguments, "default_value", "boolean", of: name)
            let isReplaced = value.isUndefined || (values[1]?.isTrue ?? false && !value.isTrue)
            return isReplaced ? values[0] ?? .string("") : value
        case "tojson": return .string(try json(value, arguments))
        case "safe", "string", "trim", "upper", "lower", "capitalize", "replace", "indent":
            return try filterText(name, try text(of: value), arguments)
        case "int", "float", "abs", "round": return try filterNumber(name, value, arguments)
        default: return try filterSequence(name, value, arguments)
        }
    }

    private func json(_ value: TemplateValue, _ arguments: TemplateCallArguments) throws(TemplateError) -> String {
        let values = try bind(arguments, "ensure_ascii", "indent", "separators", "sort_keys", of: "tojson")
        var writer = TemplateJSONWriter()
        writer.escapesNonASCII = values[0]?.isTrue ?? false
        if case .string(let indent)? = values[1] { writer.indent = indent } else if let width = try integer(values[1], of: "tojson") {
            guard width <= 64 else { throw error("'tojson' indents by \(width), more than 64") }
            writer.indent = String(repeating: " ", count: max(0, width))
        }
        if writer.indent != nil { writer.itemSeparator = "," }
        if let separators = values[2], case .sequence(let sequence) = separators {
            guard sequence.elements.count == 2, let item = sequence.elements[0].asString, let key = sequence.elements[1].asString else {
                throw error("'tojson' takes two separators")
            }
            (writer.itemSeparator, writer.keySeparator) = (item, key)
        }
        writer.sortsKeys = values[3]?.isTrue ?? false
        let perElement = 6 + (writer.indent?.utf8.count ?? 0) * value.depth + writer.itemSeparator.utf8.count + writer.keySeparator.utf8.count
        let size = value.weight.multipliedReportingOverflow(by: perElement)
        // Blanks are as cheap as they are many.
        try spend(size.overflow ? Int.max : size.partialValue / 64)
        if let obstacle = writer.write(value) { throw error("\(obstacle) cannot be written as JSON") }
        return writer.text
    }

    private func filterText(_ name: String, _ text: String, _ arguments: TemplateCallArguments) throws(TemplateError) -> TemplateValue {
        try spend(bytes: 2 * text.utf8.count)
        switch name {
        case "trim":
            return .string(text.stripped(try string(try bind(arguments, "chars", of: name)[0], of: name), left: true, right: true))
        case "replace":
            let values = try bind(arguments, "old", "new", "count", of: name)
            guard let old = values[0], let new = values[1] else { throw error("'replace' takes two strings") }
            return .string(try replace(text, try self.text(of: old), try self.text(of: new), count: try integer(values[2], of: name)))
        case "indent": return .string(try indent(text, arguments))
        default: _ = try bind(arguments, of: name)
        }
        switch name {
        case "upper": return .string(text.uppercased())
        case "lower": return .string(text.lowercased())
        case "capitalize": return .string(text.pythonCapitalized)
        default: return .string(text)
        }
    }

    private func indent(_ text: String, _ arguments: TemplateCallArguments) throws(TemplateError) -> String {
        let values = try bind(arguments, "width", "first", "blank", of: "indent")
        let indent: String
        if case .string(let given)? = values[0] { indent = given } else {
            let width = max(0, try integer(values[0], of: "indent") ?? 4)
            guard width <= 1000 else { throw error("'indent' by \(width), more than 1000") }
            indent = String(repeating: " ", count: width)
        }
        let indentsBlank = values[2]?.isTrue ?? false
        let lines = (text + "\n").pythonLines
        let size = lines.count.multipliedReportingOverflow(by: indent.utf8.count + 1)
        try spend(bytes: size.overflow ? Int.max : size.partialValue)
        var out = values[1]?.isTrue ?? false ? indent : ""
        for (index, line) in lines.enumerated() {
            if index > 0 { out += "\n" + (line.isEmpty && !indentsBlank ? "" : indent) }
            out += line
        }
        return out
    }

    private func filterNumber(_ name: String, _ value: TemplateValue, _ arguments: TemplateCallArguments) throws(TemplateError) -> TemplateValue {
        switch name {
        case "int":
            let values = try bind(arguments, "default", "base", of: name)
            let radix = try integer(values[1], of: name) ?? 10
            guard (2...36).contains(radix) else { throw error("'int' has no base \(radix)") }
            var number = value.asNumber
            if let integer = value.asInteger { return .integer(integer) }
            if case .string(let text) = value {
                let digits = text.stripped(nil, left: true, right: true)
                if let integer = Int(digits, radix: radix) { return .integer(integer) }
                number = Double(digits)
            }
            return number.flatMap { Int(exactly: $0.rounded(.towardZero)) }.map(TemplateValue.integer) ?? values[0] ?? .integer(0)
        case "float":
            let initial = try bind(arguments, "default", of: name)[0]
            if let number = value.asNumber { return .number(number) }
            return value.asString.flatMap { Double($0.stripped(nil, left: true, right: true)) }.map(TemplateValue.number) ?? initial ?? .number(0)
        case "abs":
            _ = try bind(arguments, of: name)
            if let integer = value.asInteger {
                guard integer != .min else { throw error("a number does not fit 64 bits") }
                return .integer(abs(integer))
            }
            guard case .number(let number) = value else { throw error("'abs' takes a number, not \(value.kind)") }
            return .number(abs(number))
        default:
            let values = try bind(arguments, "precision", "method", of: name)
            let precision = try integer(values[0], of: name) ?? 0
            guard let number = value.asNumber, (-300...300).contains(precision) else { throw error("'round' takes a number, not \(value.kind)") }
            var scale = 1.0
            for _ in 0..<abs(precision) { scale *= 10 }
            if precision < 0 { scale = 1 / scale }
            let rule: FloatingPointRoundingRule =
                switch try string(values[1], of: name) ?? "common" {
                case "common": .toNearestOrEven
                case "ceil": .up
                case "floor": .down
                default: throw error("'round' has the methods common, ceil and floor")
                }
            return .number((number * scale).rounded(rule) / scale)
        }
    }
}
