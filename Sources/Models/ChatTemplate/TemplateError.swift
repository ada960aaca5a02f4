/// What is wrong with a chat template or with what it was given, and the line of the template.
struct TemplateError: Error, Equatable {
    var why: String
    var line: Int
}

/// How far a template may go. Templates come with models, so they are as hostile as any other part of a file.
enum TemplateLimit {
    /// Bytes of a template. The longest of known models have about 30 kB.
    static let byteCount = 1 << 20
    /// Expressions and blocks inside each other, as they are written.
    static let nesting = 100
    /// Expressions, blocks and calls inside each other, as they are evaluated.
    static let depth = 400
    /// Lists and dictionaries inside each other.
    static let valueDepth = 100
    /// Steps of a rendering: one for each expression, statement, list element, and 16 bytes of text that are handled.
    static let steps = 1 << 23
    /// Bytes of the rendered text.
    static let outputByteCount = 1 << 26
    /// Elements of a range, as Jinja's sandbox has it.
    static let rangeCount = 100_000
}
