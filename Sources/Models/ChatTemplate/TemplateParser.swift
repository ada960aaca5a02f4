/// Makes statements of a template's tokens, by Jinja's grammar.
///
/// Statements: `if`, `for`, `set`, `macro`, `filter`, `with`, `break`, `continue`, and `generation`, which transformers adds.
struct TemplateParser {
    private let tokens: [TemplateToken]
    private var at = 0
    private var depth = 0
    /// Loops around the current place, inside the current macro.
    private var loops = 0

    static func statements(of template: String) throws(TemplateError) -> [TemplateStatement] {
        var parser = TemplateParser(tokens: try TemplateLexer.tokens(of: template))
        return try parser.parseBody(until: []).body
    }

    private init(tokens: [TemplateToken]) { self.tokens = tokens }

    var token: TemplateToken { tokens[at] }
    var line: Int { token.line }

    func error(_ why: String) -> TemplateError { TemplateError(why: why, line: line) }

    mutating func advance() { if at < tokens.count - 1 { at += 1 } }

    func stands(_ symbol: String) -> Bool { if case .symbol(let found) = token.kind { found == symbol } else { false } }

    func standsName(_ name: String) -> Bool { if case .name(let found) = token.kind { found == name } else { false } }

    func nextIsSymbol(_ symbol: String) -> Bool {
        guard at + 1 < tokens.count, case .symbol(let found) = tokens[at + 1].kind else { return false }
        return found == symbol
    }

    func nextIsName(_ name: String) -> Bool {
        guard at + 1 < tokens.count, case .name(let found) = tokens[at + 1].kind else { return false }
        return found == name
    }

    mutating func skip(_ symbol: String) -> Bool {
        guard stands(symbol) else { return false }
        advance()
        return true
    }

    mutating func skipName(_ name: String) -> Bool {
        guard standsName(name) else { return false }
        advance()
        return true
    }

    mutating func expect(_ symbol: String) throws(TemplateError) {
        guard skip(symbol) else { throw error("\(token.kind) stands where '\(symbol)' is expected") }
    }

    mutating func expectName() throws(TemplateError) -> String {
        guard case .name(let name) = token.kind else { throw error("\(token.kind) stands where a name is expected") }
        advance()
        return name
    }

    private mutating func expectEnd(_ kind: TemplateToken.Kind) throws(TemplateError) {
        guard token.kind == kind else { throw error("\(token.kind) stands where \(kind) is expected") }
        advance()
    }

    /// Counts what is parsed inside something else.
    mutating func enter() throws(TemplateError) {
        depth += 1
        if depth > TemplateLimit.nesting { throw error("it nests deeper than \(TemplateLimit.nesting)") }
    }

    mutating func leave() { depth -= 1 }

    /// Statements up to a tag that starts with one of the words, which is taken up to and with that word.
    private mutating func parseBody(until words: [String]) throws(TemplateError) -> (body: [TemplateStatement], end: String) {
        try enter()
        defer { leave() }
        let opening = line
        var body: [TemplateStatement] = []
        while true {
            let line = line
            switch token.kind {
            case .text(let text):
                advance()
                body.append(TemplateStatement(kind: .text(text), line: line))
            case .outputBegin:
                advance()
                let value = try parseTuple()
                try expectEnd(.outputEnd)
                body.append(TemplateStatement(kind: .output(value), line: line))
            case .tagBegin:
                advance()
                let word = try expectName()
                if words.contains(word) { return (body, word) }
                body.append(TemplateStatement(kind: try parseStatement(word), line: line))
            default:
                guard words.isEmpty else {
                    throw TemplateError(why: "a block is not closed: there is no '\(words.last ?? "")'", line: opening)
                }
                return (body, "")
            }
        }
    }

    /// The body of a block that this tag opens, with its closing tag.
    private mutating func parseBlock(_ word: String) throws(TemplateError) -> [TemplateStatement] {
        try expectEnd(.tagEnd)
        let body = try parseBody(until: ["end" + word]).body
        try expectEnd(.tagEnd)
        return body
    }

    private mutating func parseStatement(_ word: String) throws(TemplateError) -> TemplateStatement.Kind {
        switch word {
        case "if": return try parseIf()
        case "for": return try parseFor()
        case "set": return try parseSet()
        case "macro":
            let name = try expectName()
            return .macro(try parseMacro(name, parameters: parseParameters()))
        case "filter":
            let filters = try parseFilters(isFirst: true)
            return .filterBody(filters, try parseBlock(word))
        case "with": return try parseWith()
        case "generation": return .body(try parseBlock(word))
        case "break", "continue":
            guard loops > 0 else { throw error("'\(word)' stands outside of a loop") }
            try expectEnd(.tagEnd)
            return word == "break" ? .breakLoop : .continueLoop
        default: throw error("'\(word)' is no statement that is known here")
        }
    }

    private mutating func parseIf() throws(TemplateError) -> TemplateStatement.Kind {
        var branches: [(condition: TemplateExpression?, body: [TemplateStatement])] = []
        var condition: TemplateExpression? = try parseTuple(hasConditionals: false)
        while true {
            try expectEnd(.tagEnd)
            let (body, end) = try parseBody(until: condition == nil ? ["endif"] : ["elif", "else", "endif"])
            branches.append((condition, body))
            switch end {
            case "elif": condition = try parseTuple(hasConditionals: false)
            case "else": condition = nil
            default:
                try expectEnd(.tagEnd)
                return .choice(branches)
            }
        }
    }

    private mutating func parseFor() throws(TemplateError) -> TemplateStatement.Kind {
        let target = try parseTarget()
        guard skipName("in") else { throw error("\(token.kind) stands where 'in' is expected") }
        let sequence = try parseTuple(hasConditionals: false)
        let condition = skipName("if") ? try parseExpression() : nil
        if standsName("recursive") { throw error("recursive loops are not supported") }
        try expectEnd(.tagEnd)
        loops += 1
        var (body, end) = try parseBody(until: ["else", "endfor"])
        loops -= 1
        var otherwise: [TemplateStatement] = []
        if end == "else" {
            try expectEnd(.tagEnd)
            (otherwise, end) = try parseBody(until: ["endfor"])
        }
        try expectEnd(.tagEnd)
        return .loop(TemplateLoopNode(target: target, sequence: sequence, condition: condition, body: body, otherwise: otherwise))
    }

    private mutating func parseSet() throws(TemplateError) -> TemplateStatement.Kind {
        let target = try parseTarget()
        if skip("=") {
            let value = try parseTuple()
            try expectEnd(.tagEnd)
            return .set(target, value)
        }
        let filters = try parseFilters(isFirst: false)
        return .setBody(target, filters, try parseBlock("set"))
    }

    private mutating func parseWith() throws(TemplateError) -> TemplateStatement.Kind {
        var values: [(target: TemplateTarget, value: TemplateExpression)] = []
        while token.kind != .tagEnd {
            if !values.isEmpty { try expect(",") }
            let target = try parseTarget(isOne: true)
            try expect("=")
            values.append((target, try parseExpression()))
        }
        return .with(values, try parseBlock("with"))
    }

    /// `a`, `a, b`, `(a, b)`, `namespace.a`.
    private mutating func parseTarget(isOne: Bool = false) throws(TemplateError) -> TemplateTarget {
        try enter()
        defer { leave() }
        var targets: [TemplateTarget] = []
        var isTuple = false
        repeat {
            if skip("(") {
                targets.append(try parseTarget())
                try expect(")")
            } else if isTuple, !isNameToken {
                break
            } else {
                let name = try expectName()
                if ["true", "false", "none", "True", "False", "None", "loop"].contains(name) { throw error("'\(name)' cannot be set") }
                targets.append(skip(".") ? .attribute(namespace: name, try expectName()) : .name(name))
            }
            guard !isOne, skip(",") else { break }
            isTuple = true
        } while true
        return isTuple ? .names(targets) : targets[0]
    }

    private var isNameToken: Bool { if case .name(let name) = token.kind { name != "in" } else { false } }

    private mutating func parseParameters() throws(TemplateError) -> [(name: String, initial: TemplateExpression?)] {
        var parameters: [(name: String, initial: TemplateExpression?)] = []
        try expect("(")
        while !stands(")") {
            if !parameters.isEmpty { try expect(",") }
            let name = try expectName()
            let initial = skip("=") ? try parseExpression() : nil
            if initial == nil, parameters.last?.initial != nil { throw error("a parameter without a default follows one with") }
            parameters.append((name, initial))
        }
        try expect(")")
        return parameters
    }

    private mutating func parseMacro(
        _ name: String, parameters: [(name: String, initial: TemplateExpression?)]
    ) throws(TemplateError) -> TemplateMacroNode {
        let outer = loops
        loops = 0
        defer { loops = outer }
        return TemplateMacroNode(name: name, parameters: parameters, body: try parseBlock("macro"))
    }
}
