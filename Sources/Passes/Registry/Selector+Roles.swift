import Models

/// The names of the roles that a word of a recipe stands for.
func roleNames(_ node: RecipeNode) throws(RecipeError) -> Set<String> {
    guard case .text(let word) = node.value else { throw node.unexpected("'role' of the selector", expected: "a role's name") }
    guard let roles = TensorRole.named(word) else {
        throw RecipeError(
            "unknown role '\(word)'", at: node.location, word: word,
            known: TensorRole.Family.allCases.map(\.rawValue) + TensorRole.allCases.map(\.rawValue))
    }
    return Set(roles.map(\.rawValue))
}
