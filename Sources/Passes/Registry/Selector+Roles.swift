/// The names of the roles that a word of a recipe stands for.
func roleNames(_ node: RecipeNode) throws(RecipeError) -> Set<String> {
    guard case .text(let word) = node.value else { throw node.unexpected("'role' of the selector", expected: "a role's name") }
    if let roles = families[word] { return Set(roles) }
    let known = families.values.flatMap { $0 }
    guard known.contains(word) else {
        throw RecipeError("unknown role '\(word)'", at: node.location, word: word, known: (families.keys + known).sorted())
    }
    return [word]
}

private let experts = ["expert-gate", "expert-up", "expert-down"]

private let families: [String: [String]] = [
    "embedding": ["embedding"],
    "head": ["head"],
    "norm": ["attention-norm", "attention-post-norm", "mlp-norm", "mlp-post-norm", "final-norm", "q-norm", "k-norm"],
    "linear": ["q", "k", "v", "o", "qkv", "gate", "up", "down", "gate-up"]
        + ["shared-expert-gate", "shared-expert-up", "shared-expert-down"] + experts,
    "expert": experts,
    "router": ["router", "shared-expert-router"],
    "bias": ["q-bias", "k-bias", "v-bias", "o-bias", "gate-bias", "up-bias", "down-bias"],
    "rope": ["rope-factors"],
]
