import Formats

/// Expressions, from the loosest operator to the tightest:
///
///     a if c else b;  or;  and;  not;  comparisons, in;  + -;  ~;  * / // %;  sign;  suffixes
extension TemplateParser {
    /// One expression, or several with commas between them as a tuple.
    mutating func parseTuple(hasConditionals: Bool = true) throws(TemplateError) -> TemplateExpression {
        let first = hasConditionals ? try parseExpression() : try parseOr()
        guard stands(",") else { return first }
        var elements = [first]
        while skip(",") {
            switch token.kind {
            case .tagEnd, .outputEnd, .symbol(")"): return .tuple(elements)
            default: elements.append(hasConditionals ? try parseExpression() : try parseOr())
            }
        }
        return .tuple(elements)
    }

    mutating func parseExpression() throws(TemplateError) -> TemplateExpression {
        try enter()
        defer { leave() }
        let value = try parseOr()
        guard skipName("if") else { return value }
        let condition = try parseOr()
        let conditional = TemplateExpression.conditional(
            condition: condition, then: value, otherwise: skipName("else") ? try parseExpression() : nil)
        return conditional
    }

    mutating func parseOr() throws(TemplateError) -> TemplateExpression {
        var operands = [try parseAnd()]
        while skipName("or") { operands.append(try parseAnd()) }
        return operands.count == 1 ? operands[0] : .or(operands)
    }

    private mutating func parseAnd() throws(TemplateError) -> TemplateExpression {
        var operands = [try parseNot()]
        while skipName("and") { operands.append(try parseNot()) }
        return operands.count == 1 ? operands[0] : .and(operands)
    }

    private mutating func parseNot() throws(TemplateError) -> TemplateExpression {
        guard standsName("not") else { return try parseComparison() }
        try enter()
        defer { leave() }
        advance()
        return .not(try parseNot())
    }

    private mutating func parseComparison() throws(TemplateError) -> TemplateExpression {
        let first = try parseSum()
        var rest: [(relation: TemplateRelation, operand: TemplateExpression)] = []
        while let relation = relation() { rest.append((relation, try parseSum())) }
        return rest.isEmpty ? first : .comparison(first, rest)
    }

    private mutating func relation() -> TemplateRelation? {
        if case .symbol(let symbol) = token.kind, let relation = TemplateRelation(rawValue: symbol) {
            advance()
            return relation
        }
        if skipName("in") { return .inside }
        guard standsName("not"), nextIsName("in") else { return nil }
        advance()
        advance()
        return .outside
    }

    private mutating func operation(_ symbols: [String]) -> TemplateOperation? {
        guard case .symbol(let symbol) = token.kind, symbols.contains(symbol) else { return nil }
        advance()
        return TemplateOperation(rawValue: symbol)
    }

    private mutating func parseSum() throws(TemplateError) -> TemplateExpression {
        let first = try parseConcatenation()
        var rest: [(operation: TemplateOperation, operand: TemplateExpression)] = []
        while let operation = operation(["+", "-"]) { rest.append((operation, try parseConcatenation())) }
        return rest.isEmpty ? first : .arithmetic(first, rest)
    }

    private mutating func parseConcatenation() throws(TemplateError) -> TemplateExpression {
        var operands = [try parseProduct()]
        while skip("~") { operands.append(try parseProduct()) }
        return operands.count == 1 ? operands[0] : .concatenation(operands)
    }

    private mutating func parseProduct() throws(TemplateError) -> TemplateExpression {
        let first = try parseUnary(hasFilters: true)
        var rest: [(operation: TemplateOperation, operand: TemplateExpression)] = []
        while let operation = operation(["*", "/", "//", "%"]) { rest.append((operation, try parseUnary(hasFilters: true))) }
        return rest.isEmpty ? first : .arithmetic(first, rest)
    }

    /// A sign binds tighter than filters and tests, looser than attributes and calls.
    private mutating func parseUnary(hasFilters: Bool) throws(TemplateError) -> TemplateExpression {
        let value: TemplateExpression
        var suffixes: [TemplateSuffix] = []
        if stands("-") || stands("+") {
            try enter()
            defer { leave() }
            let isNegative = stands("-")
            advance()
            value = .signed(try parseUnary(hasFilters: false), isNegative: isNegative)
        } else {
            value = try parsePrimary()
        }
        suffixes += try parsePostfix()
        if hasFilters { suffixes += try parseFiltersAndTests() }
        return suffixes.isEmpty ? value : .suffixed(value, suffixes)
    }

    private mutating func parsePrimary() throws(TemplateError) -> TemplateExpression {
        let kind = token.kind
        switch kind {
        case .name(let name):
            advance()
            switch name {
            case "true", "True": return .bool(true)
            case "false", "False": return .bool(false)
            case "none", "None": return .null
            default: return .name(name)
            }
        case .string(var text):
            advance()
            while case .string(let more) = token.kind {
                text += more
                advance()
            }
            return .string(text)
        case .integer(let value):
            advance()
            return .integer(value)
        case .number(let value):
            advance()
            return .number(value)
        case .symbol("("):
            advance()
            if skip(")") { return .tuple([]) }
            let value = try parseTuple()
            try expect(")")
            return value
        case .symbol("["):
            advance()
            var elements: [TemplateExpression] = []
            while !stands("]") {
                if !elements.isEmpty { try expect(",") }
                if stands("]") { break }
                elements.append(try parseExpression())
            }
            try expect("]")
            return .list(elements)
        case .symbol("{"):
            advance()
            var members: [(key: TemplateExpression, value: TemplateExpression)] = []
            while !stands("}") {
                if !members.isEmpty { try expect(",") }
                if stands("}") { break }
                let key = try parseExpression()
                try expect(":")
                members.append((key, try parseExpression()))
            }
            try expect("}")
            return .dictionary(members)
        default: throw error("\(kind) stands where a value is expected")
        }
    }

    /// Attributes, items, slices and calls.
    private mutating func parsePostfix() throws(TemplateError) -> [TemplateSuffix] {
        var suffixes: [TemplateSuffix] = []
        while true {
            if skip(".") {
                if case .integer(let index) = token.kind {
                    advance()
                    suffixes.append(.item(.integer(index)))
                } else {
                    suffixes.append(.attribute(try expectName()))
                }
            } else if skip("[") {
                suffixes.append(try parseSubscript())
                try expect("]")
            } else if stands("(") {
                suffixes.append(.call(try parseArguments()))
            } else {
                return suffixes
            }
        }
    }

    private mutating func parseSubscript() throws(TemplateError) -> TemplateSuffix {
        let from = stands(":") ? nil : try parseTuple()
        guard skip(":") else {
            guard let from else { throw error("an index is missing") }
            return .item(from)
        }
        let to = stands(":") || stands("]") ? nil : try parseExpression()
        let step = skip(":") && !stands("]") ? try parseExpression() : nil
        return .slice(from: from, to: to, step: step)
    }

    private mutating func parseFiltersAndTests() throws(TemplateError) -> [TemplateSuffix] {
        var suffixes: [TemplateSuffix] = []
        while true {
            if stands("|") {
                suffixes += try parseFilters(isFirst: false)
            } else if skipName("is") {
                let isNegated = skipName("not")
                let name = try parseDottedName()
                suffixes.append(.test(name, try parseTestArguments(), isNegated: isNegated))
            } else if stands("(") {
                suffixes.append(.call(try parseArguments()))
            } else {
                return suffixes
            }
        }
    }

    /// `| name(arguments)`, any number of times.
    /// - Parameter isFirst: whether the first has no bar.
    mutating func parseFilters(isFirst: Bool) throws(TemplateError) -> [TemplateSuffix] {
        var filters: [TemplateSuffix] = []
        var isFirst = isFirst
        while isFirst || skip("|") {
            isFirst = false
            let name = try parseDottedName()
            filters.append(.filter(name, stands("(") ? try parseArguments() : TemplateArguments()))
        }
        return filters
    }

    private mutating func parseDottedName() throws(TemplateError) -> String {
        var name = try expectName()
        while skip(".") { name += "." + (try expectName()) }
        return name
    }

    /// In brackets, or one value after the test's name.
    private mutating func parseTestArguments() throws(TemplateError) -> TemplateArguments {
        if stands("(") { return try parseArguments() }
        switch token.kind {
        case .name(let name) where ["else", "or", "and", "if"].contains(name): return TemplateArguments()
        case .name("is"): throw error("tests cannot follow each other")
        case .name, .string, .integer, .number, .symbol("["), .symbol("{"):
            let value = try parsePrimary()
            let suffixes = try parsePostfix()
            return TemplateArguments(positional: [suffixes.isEmpty ? value : .suffixed(value, suffixes)])
        default: return TemplateArguments()
        }
    }

    private mutating func parseArguments() throws(TemplateError) -> TemplateArguments {
        try enter()
        defer { leave() }
        var arguments = TemplateArguments()
        try expect("(")
        var isFirst = true
        while !stands(")") {
            if !isFirst { try expect(",") }
            if stands(")") { break }
            isFirst = false
            if case .name(let name) = token.kind, nextIsSymbol("=") {
                advance()
                advance()
                arguments.named.append((name, try parseExpression()))
            } else {
                guard arguments.named.isEmpty else { throw error("an argument without a name follows one with") }
                arguments.positional.append(try parseExpression())
            }
        }
        try expect(")")
        return arguments
    }
}
