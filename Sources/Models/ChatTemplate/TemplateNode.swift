/// An expression of a template. Chains of operators and suffixes are lists, so a tree is only as deep as brackets and blocks nest.
indirect enum TemplateExpression: Sendable {
    case null
    case bool(Bool)
    case integer(Int)
    case number(Double)
    case string(String)
    case name(String)
    case list([TemplateExpression])
    case tuple([TemplateExpression])
    case dictionary([(key: TemplateExpression, value: TemplateExpression)])
    /// What follows a value: attributes, items, calls, filters, tests.
    case suffixed(TemplateExpression, [TemplateSuffix])
    /// `-x`, or `+x`.
    case signed(TemplateExpression, isNegative: Bool)
    case not(TemplateExpression)
    case and([TemplateExpression])
    case or([TemplateExpression])
    /// `a < b < c` is `a < b and b < c`.
    case comparison(TemplateExpression, [(relation: TemplateRelation, operand: TemplateExpression)])
    /// From left to right.
    case arithmetic(TemplateExpression, [(operation: TemplateOperation, operand: TemplateExpression)])
    /// `a ~ b ~ c`.
    case concatenation([TemplateExpression])
    /// `then if condition else otherwise`.
    case conditional(condition: TemplateExpression, then: TemplateExpression, otherwise: TemplateExpression?)
}

enum TemplateRelation: String, Sendable {
    case equal = "==", unequal = "!=", less = "<", lessOrEqual = "<=", greater = ">", greaterOrEqual = ">="
    case inside = "in", outside = "not in"
}

enum TemplateOperation: String, Sendable {
    case add = "+", subtract = "-", multiply = "*", divide = "/", floorDivide = "//", remainder = "%"
}

enum TemplateSuffix: Sendable {
    case attribute(String)
    case item(TemplateExpression)
    case slice(from: TemplateExpression?, to: TemplateExpression?, step: TemplateExpression?)
    case call(TemplateArguments)
    case filter(String, TemplateArguments)
    case test(String, TemplateArguments, isNegated: Bool)
}

/// What stands between the brackets of a call.
struct TemplateArguments: Sendable {
    var positional: [TemplateExpression] = []
    var named: [(name: String, value: TemplateExpression)] = []
}

/// What a value is assigned to.
enum TemplateTarget: Sendable {
    case name(String)
    /// `namespace.attribute`.
    case attribute(namespace: String, String)
    case names([TemplateTarget])
}

/// A statement and its line.
struct TemplateStatement: Sendable {
    indirect enum Kind: Sendable {
        case text(String)
        case output(TemplateExpression)
        /// The first branch whose condition holds; the last may have none.
        case choice([(condition: TemplateExpression?, body: [TemplateStatement])])
        case loop(TemplateLoopNode)
        case set(TemplateTarget, TemplateExpression)
        /// `set` of a rendered body, which goes through filters (suffixes of that kind) first.
        case setBody(TemplateTarget, [TemplateSuffix], [TemplateStatement])
        case macro(TemplateMacroNode)
        case filterBody([TemplateSuffix], [TemplateStatement])
        /// Variables for a body; a body with none is one of a scope of its own.
        case with([(target: TemplateTarget, value: TemplateExpression)], [TemplateStatement])
        /// A body that is rendered as if it stood there itself.
        case body([TemplateStatement])
        case breakLoop, continueLoop
    }

    var kind: Kind
    var line: Int
}

struct TemplateLoopNode: Sendable {
    var target: TemplateTarget
    var sequence: TemplateExpression
    /// Elements for which it does not hold are left out.
    var condition: TemplateExpression?
    var body: [TemplateStatement]
    /// Rendered when there are no elements.
    var otherwise: [TemplateStatement]
}

struct TemplateMacroNode: Sendable {
    var name: String
    var parameters: [(name: String, initial: TemplateExpression?)]
    var body: [TemplateStatement]
}
