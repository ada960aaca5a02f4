/// What is wrong with a recipe, and where: `FILE:LINE:COLUMN: what (did you mean 'x'?)`.
public struct RecipeError: Error, Sendable, Equatable {
    /// The sentence, without the place.
    public var what: String
    /// The recipe's path, the name of a built-in recipe (`std/NAME`), or `--set`.
    public var file: String
    /// Line and column, from 1; `nil` when the whole file is meant.
    public var line: Int?
    public var column: Int?
    /// The nearest right spelling of what stands there.
    public var suggestion: String?

    public init(_ what: String, file: String, line: Int? = nil, column: Int? = nil, suggestion: String? = nil) {
        self.what = what
        self.file = file
        self.line = line
        self.column = column
        self.suggestion = suggestion
    }
}
