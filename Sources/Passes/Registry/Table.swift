/// Declared things of one kind, by identifier.
public struct Table<Thing>: Sendable {
    private struct Entry: Sendable {
        var declaration: Declaration
        var make: @Sendable (PassOptions) throws(RecipeError) -> Thing
    }

    /// What they are, in messages: `pass`.
    let kind: String
    private var entries: [String: Entry] = [:]

    /// - Parameter kind: what the things are, in messages.
    public init(of kind: String) { self.kind = kind }

    /// All declarations, by identifier.
    public var declarations: [Declaration] { entries.values.map(\.declaration).sorted { $0.identifier < $1.identifier } }

    /// What a thing declares, or `nil` when there is none of that name.
    public subscript(identifier: String) -> Declaration? { entries[identifier]?.declaration }

    mutating func add(_ declaration: Declaration, make: @escaping @Sendable (PassOptions) throws(RecipeError) -> Thing) {
        precondition(entries[declaration.identifier] == nil, "\(kind) '\(declaration.identifier)' is registered twice")
        entries[declaration.identifier] = Entry(declaration: declaration, make: make)
    }

    /// Makes the thing of that name, with its options checked.
    /// - Parameters:
    ///   - options: a mapping, or `nil` when the recipe says nothing.
    ///   - complete: gives options what they need to be read.
    /// - Throws: `RecipeError` for an unknown name and for options that are unknown, missing, of a wrong type or out of range.
    func make(
        _ identifier: String, _ options: RecipeNode?, at location: RecipeLocation,
        complete: (OptionDeclaration) -> OptionDeclaration = { $0 }
    ) throws(RecipeError) -> Thing {
        guard let entry = entries[identifier] else {
            throw unknown(identifier, "unknown \(kind) '\(identifier)'", at: location)
        }
        return try entry.make(
            PassOptions(
                options, declared: entry.declaration.options.map(complete), owner: "\(kind) '\(identifier)'", location: location))
    }

    /// The error for a name that nothing has: with the nearest name, or with where names of plugins come from.
    private func unknown(_ identifier: String, _ what: String, at location: RecipeLocation) -> RecipeError {
        let known = entries.keys.sorted()
        if let whole = known.first(where: { $0.hasSuffix("." + identifier) }) { return RecipeError(what, at: location, suggestion: whole) }
        let error = RecipeError(what, at: location, word: identifier, known: known)
        guard let dot = identifier.firstIndex(of: "."), !known.contains(where: { $0.hasPrefix(identifier[...dot]) }),
            error.suggestion?.contains(".") != true
        else { return error }
        let hint = "; names with a dot are those of plugins, which the recipe lists under 'plugins' or the command line as '--plugin'"
        return RecipeError(what + hint, at: location)
    }

    /// Makes the thing that a node names: `NAME`, or `{use: NAME, with: {OPTION: VALUE}}`.
    /// - Parameter what: what the node is, for messages.
    func make(_ node: RecipeNode, what: String) throws(RecipeError) -> (name: String, thing: Thing) {
        guard case .mapping = node.value else {
            let name = try identifier(node, what: what)
            return (name, try make(name, nil, at: node.location))
        }
        _ = try node.mapping(what, keys: ["use", "with"])
        let name = try identifier(try node.required("use", in: what), what: "'use' of \(what)")
        return (name, try make(name, node["with"], at: node.location))
    }

    /// The name of something that there is.
    private func identifier(_ node: RecipeNode, what: String) throws(RecipeError) -> String {
        guard case .text(let name) = node.value, entries[name] == nil else { return try node.choice(what, of: entries.keys.sorted()) }
        do throws(RecipeError) {
            return try node.choice(what, of: entries.keys.sorted())
        } catch {
            throw unknown(name, error.what, at: node.location)
        }
    }
}
