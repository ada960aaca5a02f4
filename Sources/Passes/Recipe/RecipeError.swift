import Formats

/// What is wrong with a recipe, and where: `FILE:LINE:COLUMN: what; did you mean 'x'?`.
public struct RecipeError: Error, Sendable, Equatable {
    /// The sentence, without the place.
    public var what: String
    public var location: RecipeLocation
    /// The nearest right spelling of what stands there.
    public var suggestion: String?

    public init(_ what: String, at location: RecipeLocation, suggestion: String? = nil) {
        self.what = what
        self.location = location
        self.suggestion = suggestion
    }

    /// An error about a word that is none of `known`, with the nearest of them.
    init(_ what: String, at location: RecipeLocation, word: String, known: some Sequence<String>) {
        self.init(what, at: location, suggestion: nearest(to: word, in: known))
    }
}

extension RecipeError: CustomStringConvertible {
    public var description: String {
        "\(location): \(printable(what, limit: 600))" + (suggestion.map { "; did you mean '\(printable($0))'?" } ?? "")
    }
}

/// Where something stands in a recipe.
public struct RecipeLocation: Sendable, Hashable, CustomStringConvertible {
    /// The recipe's path, the name of a built-in recipe, or `--set KEY`.
    public var file: String
    /// Line and column, from 1, the column in Unicode scalars; `nil` when the whole file is meant.
    public var line: Int?
    public var column: Int?

    /// Whether a `--set` of the command line is meant and no file.
    public var isOverride: Bool { file.hasPrefix("--set ") }

    public init(file: String, line: Int? = nil, column: Int? = nil) {
        self.file = file
        self.line = line
        self.column = column
    }

    public var description: String {
        ([printable(file)] + [line, column].compactMap { $0.map(String.init) }).joined(separator: ":")
    }
}
