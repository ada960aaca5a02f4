import Formats

/// Renders the statements of a template, within `TemplateLimit`.
final class TemplateEvaluator {
    /// How the rest of a body goes on after a statement.
    enum Flow { case normal, breakLoop, continueLoop }

    let date: TemplateDate
    /// The line of the statement at work.
    var line = 1
    private(set) var output = ""
    private var steps = 0
    private var depth = 0
    // Held until the end: what macros and namespaces hold may be a ring, or a chain too long to be freed by recursion.
    private var macros: [TemplateMacro] = []
    private var namespaces: [TemplateNamespace] = []

    init(date: TemplateDate) { self.date = date }

    /// The text of a template.
    func render(_ statements: [TemplateStatement], variables: [String: TemplateValue]) throws(TemplateError) -> String {
        let globals = TemplateScope(nil)
        for name in ["range", "namespace", "dict", "raise_exception", "strftime_now"] { globals.variables[name] = .function(.global(name)) }
        let context = TemplateScope(globals)
        context.variables = variables
        defer {
            for macro in macros { macro.scope = nil }
            for namespace in namespaces { namespace.values = [:] }
        }
        _ = try execute(statements, in: TemplateScope(context))
        return output
    }

    func error(_ why: String) -> TemplateError { TemplateError(why: why, line: line) }

    /// Counts work that is about to be done.
    func spend(_ count: Int) throws(TemplateError) {
        let (sum, overflow) = steps.addingReportingOverflow(max(1, count))
        steps = sum
        if overflow || steps > TemplateLimit.steps { throw error("it does not end within \(TemplateLimit.steps) steps") }
    }

    /// Counts text that is about to be handled.
    func spend(bytes: Int) throws(TemplateError) { try spend(1 + bytes / 16) }

    func enter() throws(TemplateError) {
        depth += 1
        if depth > TemplateLimit.depth { throw error("calls and blocks nest deeper than \(TemplateLimit.depth)") }
    }

    func leave() { depth -= 1 }

    func write(_ text: String) throws(TemplateError) {
        try spend(bytes: text.utf8.count)
        guard output.utf8.count + text.utf8.count <= TemplateLimit.outputByteCount else {
            throw error("its text is longer than \(TemplateLimit.outputByteCount) bytes")
        }
        output += text
    }

    /// What a body writes, instead of writing it.
    func captured(_ body: [TemplateStatement], in scope: TemplateScope) throws(TemplateError) -> (text: String, flow: Flow) {
        let outer = output
        output = ""
        defer { output = outer }
        let flow = try execute(body, in: scope)
        return (output, flow)
    }

    func execute(_ body: [TemplateStatement], in scope: TemplateScope) throws(TemplateError) -> Flow {
        try enter()
        defer { leave() }
        for statement in body {
            line = statement.line
            try spend(1)
            let flow = try execute(statement, in: scope)
            if flow != .normal { return flow }
        }
        return .normal
    }

    private func execute(_ statement: TemplateStatement, in scope: TemplateScope) throws(TemplateError) -> Flow {
        switch statement.kind {
        case .text(let text): try write(text)
        case .output(let expression):
            let value = try evaluate(expression, in: scope)
            try write(try text(of: value))
        case .choice(let branches):
            for branch in branches {
                if let condition = branch.condition, !(try evaluate(condition, in: scope).isTrue) { continue }
                return try execute(branch.body, in: scope)
            }
        case .loop(let loop): try execute(loop, in: scope)
        case .set(let target, let expression): try assign(try evaluate(expression, in: scope), to: target, in: scope)
        case .setBody(let target, let filters, let body):
            let (text, flow) = try captured(body, in: TemplateScope(scope))
            guard flow == .normal else { return flow }
            try assign(try apply(filters, to: .string(text), in: scope), to: target, in: scope)
        case .macro(let node): scope.variables[node.name] = try macro(node, in: scope)
        case .filterBody(let filters, let body):
            let (text, flow) = try captured(body, in: TemplateScope(scope))
            guard flow == .normal else { return flow }
            try write(try self.text(of: try apply(filters, to: .string(text), in: scope)))
        case .with(let values, let body):
            let inner = TemplateScope(scope)
            for (target, expression) in values { try assign(try evaluate(expression, in: scope), to: target, in: inner) }
            return try execute(body, in: inner)
        case .body(let body): return try execute(body, in: TemplateScope(scope))
        case .breakLoop: return .breakLoop
        case .continueLoop: return .continueLoop
        }
        return .normal
    }

    private func execute(_ node: TemplateLoopNode, in scope: TemplateScope) throws(TemplateError) {
        var elements = try elements(of: try evaluate(node.sequence, in: scope))
        try spend(elements.count)
        if let condition = node.condition {
            var kept: [TemplateValue] = []
            for element in elements {
                let inner = TemplateScope(scope)
                try assign(element, to: node.target, in: inner)
                if try evaluate(condition, in: inner).isTrue { kept.append(element) }
            }
            elements = kept
        }
        guard !elements.isEmpty else {
            _ = try execute(node.otherwise, in: TemplateScope(scope))
            return
        }
        let loop = TemplateLoop(elements)
        for (index, element) in elements.enumerated() {
            loop.index = index
            // Variables set inside live for one round.
            let inner = TemplateScope(scope)
            inner.variables["loop"] = .loop(loop)
            try assign(element, to: node.target, in: inner)
            if try execute(node.body, in: inner) == .breakLoop { break }
        }
    }

    func assign(_ value: TemplateValue, to target: TemplateTarget, in scope: TemplateScope) throws(TemplateError) {
        try spend(1)
        switch target {
        case .name(let name): scope.variables[name] = value
        case .attribute(let name, let attribute):
            guard case .namespace(let namespace)? = scope[name] else {
                throw error("'\(printable(name))' is no namespace, so '\(printable(attribute))' of it cannot be set")
            }
            namespace.values[attribute] = value
        case .names(let targets):
            let parts = try elements(of: value)
            guard parts.count == targets.count else { throw error("\(parts.count) values cannot be given to \(targets.count) names") }
            for (part, target) in zip(parts, targets) { try assign(part, to: target, in: scope) }
        }
    }

    private func macro(_ node: TemplateMacroNode, in scope: TemplateScope) throws(TemplateError) -> TemplateValue {
        try spend(20)
        let macro = TemplateMacro(node, scope: scope)
        macros.append(macro)
        return .function(.macro(macro))
    }

    func namespace() throws(TemplateError) -> TemplateNamespace {
        try spend(20)
        let namespace = TemplateNamespace()
        namespaces.append(namespace)
        return namespace
    }

    /// The text of a value, charged for.
    func text(of value: TemplateValue) throws(TemplateError) -> String {
        if case .string(let text) = value { return text }
        try spend(bytes: value.weight)
        return value.text
    }

    /// What a loop over a value goes through.
    func elements(of value: TemplateValue) throws(TemplateError) -> [TemplateValue] {
        switch value {
        case .sequence(let sequence): return sequence.elements
        case .dictionary(let dictionary): return dictionary.keys
        case .string(let text):
            try spend(text.utf8.count)
            return text.unicodeScalars.map { .string(String($0)) }
        case .undefined: return []
        default: throw error("\(value.kind) has no elements")
        }
    }

    /// A list or one of its kin.
    func sequence(_ kind: TemplateSequence.Kind, _ elements: [TemplateValue]) throws(TemplateError) -> TemplateValue {
        try spend(elements.count)
        return .sequence(try checked(TemplateSequence(kind, elements)))
    }

    private func checked(_ sequence: TemplateSequence) throws(TemplateError) -> TemplateSequence {
        if sequence.depth > TemplateLimit.valueDepth { throw error("lists nest deeper than \(TemplateLimit.valueDepth)") }
        return sequence
    }

    func dictionary(_ members: [(TemplateValue, TemplateValue)], from start: TemplateDictionary = .init()) throws(TemplateError) -> TemplateValue {
        try spend(members.count + start.keys.count)
        var dictionary = start
        for (key, value) in members {
            if case .string(let text) = key { try spend(bytes: text.utf8.count) }
            guard dictionary.set(key, value) else { throw error("\(key.kind) cannot be a key") }
        }
        if dictionary.depth > TemplateLimit.valueDepth { throw error("dictionaries nest deeper than \(TemplateLimit.valueDepth)") }
        return .dictionary(dictionary)
    }
}
