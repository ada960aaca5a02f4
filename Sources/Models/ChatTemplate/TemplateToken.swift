/// A piece of a template: text between tags, or a word inside one.
struct TemplateToken: Sendable {
    enum Kind: Sendable, Equatable {
        case text(String)
        /// `{{` and `}}`.
        case outputBegin, outputEnd
        /// `{%` and `%}`.
        case tagBegin, tagEnd
        case name(String)
        case string(String)
        case integer(Int)
        case number(Double)
        /// An operator or a bracket.
        case symbol(String)
        /// There is no more.
        case end
    }

    var kind: Kind
    var line: Int
}

extension TemplateToken.Kind: CustomStringConvertible {
    /// As messages name it.
    var description: String {
        switch self {
        case .text: "text"
        case .outputBegin: "'{{'"
        case .outputEnd: "'}}'"
        case .tagBegin: "'{%'"
        case .tagEnd: "'%}'"
        case .name(let name): "'\(name)'"
        case .string: "a string"
        case .integer, .number: "a number"
        case .symbol(let symbol): "'\(symbol)'"
        case .end: "the end of the template"
        }
    }
}

extension Unicode.Scalar {
    /// Whether Python's `str.isspace` holds.
    var isTemplateSpace: Bool { properties.isWhitespace || (0x1C...0x1F).contains(value) }

    var isDecimalDigit: Bool { ("0"..."9").contains(self) }
}
