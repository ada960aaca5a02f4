/// What a thing of the registry is called, promises and can be told.
public struct Declaration: Sendable {
    /// The name in recipes, e.g. `fold-norms`.
    public let identifier: String
    /// One sentence.
    public let summary: String
    /// For a pass: what holds afterwards, and whether the model still computes the same function.
    public let contract: String
    /// For a pass: what of its contract the host can check.
    public let promises: Promises
    public let options: [OptionDeclaration]

    public init(
        identifier: String, summary: String, contract: String = "", promises: Promises = Promises(), options: [OptionDeclaration] = []
    ) {
        precondition(Set(options.map(\.name)).count == options.count, "an option of '\(identifier)' is declared twice")
        self.identifier = identifier
        self.summary = summary
        self.contract = contract
        self.promises = promises
        self.options = options
    }

    /// The same with other options.
    func with(options: [OptionDeclaration]) -> Declaration {
        Declaration(identifier: identifier, summary: summary, contract: contract, promises: promises, options: options)
    }
}

/// A Swift type that says itself what it is called and can be told, and is made of a recipe's options.
public protocol Declared: Sendable {
    /// Identifier and options, from which parsing, help and docs derive.
    static var declaration: Declaration { get }
    /// - Throws: `RecipeError` naming the option, for what the declaration alone cannot check.
    init(options: PassOptions) throws(RecipeError)
}
