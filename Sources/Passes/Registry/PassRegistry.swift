/// The passes a recipe may use, by identifier. A value: whoever runs a recipe says which passes exist.
public struct PassRegistry: Sendable {
    private struct Entry: Sendable {
        var declaration: PassDeclaration
        var make: @Sendable (PassOptions) throws(RecipeError) -> any Pass
    }

    private var entries: [String: Entry] = [:]

    public init() {}

    /// All declarations, by identifier.
    public var declarations: [PassDeclaration] { entries.values.map(\.declaration).sorted { $0.identifier < $1.identifier } }

    /// What a pass declares, or `nil` when there is none of that name.
    public func declaration(of identifier: String) -> PassDeclaration? { entries[identifier]?.declaration }

    /// Adds a pass type under its own identifier.
    public mutating func register<P: DeclaredPass>(_ type: P.Type) {
        register(P.declaration) { options throws(RecipeError) in try P(options: options) }
    }

    /// Adds a pass that something else makes: a plugin's, say.
    public mutating func register(
        _ declaration: PassDeclaration, make: @escaping @Sendable (PassOptions) throws(RecipeError) -> any Pass
    ) {
        precondition(entries[declaration.identifier] == nil, "pass '\(declaration.identifier)' is registered twice")
        entries[declaration.identifier] = Entry(declaration: declaration, make: make)
    }

    /// Makes the pass that a step of a recipe names, with its options checked.
    /// - Throws: `RecipeError` for an unknown pass and for options that are unknown, missing, of a wrong type or out of range.
    public func pass(for step: RecipeStep) throws(RecipeError) -> any Pass {
        guard let entry = entries[step.use] else {
            throw RecipeError("unknown pass '\(step.use)'", at: step.useLocation, word: step.use, known: entries.keys.sorted())
        }
        let options = try PassOptions(
            step.options, declared: entry.declaration.options, owner: "pass '\(step.use)'", location: step.useLocation)
        return try entry.make(options)
    }
}
