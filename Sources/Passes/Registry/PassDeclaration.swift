/// What a pass is called, promises and can be told.
public struct PassDeclaration: Sendable {
    /// The name in recipes, e.g. `fold-norms`.
    public let identifier: String
    /// One sentence.
    public let summary: String
    /// What holds after the pass, and whether the model still computes the same function.
    public let contract: String
    public let options: [OptionDeclaration]

    public init(identifier: String, summary: String, contract: String, options: [OptionDeclaration] = []) {
        precondition(Set(options.map(\.name)).count == options.count, "an option of '\(identifier)' is declared twice")
        self.identifier = identifier
        self.summary = summary
        self.contract = contract
        self.options = options
    }
}
