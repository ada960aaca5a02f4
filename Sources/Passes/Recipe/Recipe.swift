import Formats

/// What is to be done with a model: passes, outputs, and what must hold afterwards. Data, checked as it is read.
public struct Recipe: Sendable, Equatable {
    public var name: String
    public var description: String
    /// Plugins to load, by explicit path.
    public var plugins: [RecipePlugin]
    public var calibration: Calibration
    /// The passes in order, those of imported recipes first.
    public var passes: [RecipeStep]
    public var outputs: [OutputSpecification]
    public var verification: Verification
    /// What happens when a type does not fit a tensor's shape.
    public var onFallback: FallbackPolicy
    /// Where the recipe itself was read from.
    public var location: RecipeLocation

    /// Reads a recipe, its imports, and applies parameters and overrides.
    /// - Parameters:
    ///   - pathOrName: a file, or the name of a built-in recipe (a word without `/` and without `.yaml`).
    ///   - sets: overrides as written behind `--set`: `PARAMETER=VALUE` or `DOTTED.PATH=VALUE`.
    public static func load(_ pathOrName: String, sets: [String] = []) throws(RecipeError) -> Recipe {
        try Recipe(loading: RecipeSource(argument: pathOrName), sets: sets)
    }

    /// Reads a recipe from text. Imports are taken from the built-in library, or from beside `file` when it is a path.
    public static func parse(_ text: String, file: String, sets: [String] = []) throws(RecipeError) -> Recipe {
        try Recipe(loading: RecipeSource(text: text, file: file), sets: sets)
    }

    /// Recipes are equal when they say the same, wherever they stand.
    public static func == (a: Recipe, b: Recipe) -> Bool { a.resolvedText == b.resolvedText }
}

/// One pass of a recipe, not yet checked against what the pass declares.
public struct RecipeStep: Sendable, Equatable {
    /// What `--set passes.ID...` calls the step: its `id`, else the pass's name when no other step has it.
    public var id: String?
    /// The pass's identifier.
    public var use: String
    public var useLocation: RecipeLocation
    /// The `with:` mapping.
    public var options: RecipeNode?

    public static func == (a: RecipeStep, b: RecipeStep) -> Bool {
        a.id == b.id && a.use == b.use && a.options == b.options
    }
}

/// A plugin named by a recipe.
public struct RecipePlugin: Sendable, Equatable {
    /// As it is written: relative to the recipe's folder, or to the current one behind `--set`.
    public var path: String
    /// Seconds that it may take for one answer, when the recipe says so.
    public var timeLimit: Int?
    public var location: RecipeLocation

    public static func == (a: RecipePlugin, b: RecipePlugin) -> Bool { a.path == b.path && a.timeLimit == b.timeLimit }

    /// Starts the plugin.
    /// - Parameter hear: is given each line that a program writes to standard error.
    /// - Throws: `RecipeError` at the place that names it.
    public func load(hear: @escaping @Sendable (String) -> Void = { _ in }) throws -> Plugin {
        let isElsewhere = path.hasPrefix("/") || location.isOverride
        let found = isElsewhere ? path : RecipeSource.folder(of: location.file) + "/" + path
        do {
            return try Plugin(path: found, timeLimit: timeLimit ?? Plugin.defaultTimeLimit, hear: hear)
        } catch let error as PluginError {
            throw RecipeError(error.description, at: location)
        }
    }
}

/// The text that analyses look at.
public struct Calibration: Sendable, Equatable {
    /// A text file, or `nil`: the model writes its own text.
    public var text: String?
    public var sequences = 128
    /// Tokens of one sequence; the default is shortened to the context of a model that has less.
    public var context = defaultContext
    public var seed = 0

    static let defaultContext = 2048
}

/// One artifact to write.
public struct OutputSpecification: Sendable, Equatable {
    /// `nil` for a format that is not ours.
    public var format: ContainerFormat?
    /// The name of the format.
    public var formatName: String
    public var formatLocation: RecipeLocation
    /// The options of a format that is not ours.
    public var formatOptions: RecipeNode?
    /// A path with the placeholders `{name}` (the recipe's name) and `{model}` (the input's name).
    public var path: String
    /// zstd's level, for `gguf.zst`.
    public var level: Int?
    /// Uncompressed bytes of a frame, for `gguf.zst`.
    public var frameSize: Int?
    /// Largest bytes of one shard of safetensors.
    public var shardSize: Int?
    /// Largest bytes of one part of a split GGUF.
    public var split: Int?
    public var location: RecipeLocation

    /// The path with its placeholders filled in.
    public func path(recipe: String, model: String) -> String {
        path.replacingPlaceholders { $0 == "name" ? recipe : model }
    }

    public static func == (a: OutputSpecification, b: OutputSpecification) -> Bool {
        a.formatName == b.formatName && a.formatOptions == b.formatOptions && a.path == b.path && a.level == b.level && a.frameSize == b.frameSize
            && a.shardSize == b.shardSize && a.split == b.split
    }
}

/// What is checked after writing.
public struct Verification: Sendable, Equatable {
    /// Whether every tensor is read back and compared bit for bit with what was computed.
    public var readBack = true
    /// Largest allowed relative error of one tensor against the input, or `nil` for no limit.
    public var maximumRelativeError: Double?
}
