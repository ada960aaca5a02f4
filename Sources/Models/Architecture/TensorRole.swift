/// What a tensor does in a model, whatever its name: the words that recipes select by.
public enum TensorRole: String, Sendable, Hashable, CaseIterable {
    case embedding
    /// The matrix that turns the last hidden state into logits.
    case head

    case attentionNorm = "attention-norm"
    /// A norm on the attention's output, before it is added to the residual stream (Gemma).
    case attentionPostNorm = "attention-post-norm"
    case mlpNorm = "mlp-norm"
    /// A norm on the MLP's output, before it is added to the residual stream (Gemma).
    case mlpPostNorm = "mlp-post-norm"
    case finalNorm = "final-norm"
    /// Norms inside each attention head (Qwen3, Gemma3).
    case qNorm = "q-norm"
    case kNorm = "k-norm"

    case q, k, v, o
    /// q, k and v in one matrix, stacked along the rows (Phi3).
    case qkv
    case gate, up, down
    /// gate and up in one matrix, stacked along the rows (Phi3).
    case gateUp = "gate-up"

    /// Chooses the experts of a token.
    case router
    case expertGate = "expert-gate"
    case expertUp = "expert-up"
    case expertDown = "expert-down"
    /// Weighs the shared expert against the chosen ones.
    case sharedExpertRouter = "shared-expert-router"
    case sharedExpertGate = "shared-expert-gate"
    case sharedExpertUp = "shared-expert-up"
    case sharedExpertDown = "shared-expert-down"

    case qBias = "q-bias"
    case kBias = "k-bias"
    case vBias = "v-bias"
    case oBias = "o-bias"
    case gateBias = "gate-bias"
    case upBias = "up-bias"
    case downBias = "down-bias"

    /// A table of RoPE frequency factors, which GGUF stores and Hugging Face computes.
    case ropeFactors = "rope-factors"

    /// The family the role belongs to; recipes may name either.
    public var family: Family {
        switch self {
        case .embedding: .embedding
        case .head: .head
        case .attentionNorm, .attentionPostNorm, .mlpNorm, .mlpPostNorm, .finalNorm, .qNorm, .kNorm: .norm
        case .q, .k, .v, .o, .qkv, .gate, .up, .down, .gateUp: .linear
        case .sharedExpertGate, .sharedExpertUp, .sharedExpertDown: .linear
        case .router, .sharedExpertRouter: .router
        case .expertGate, .expertUp, .expertDown: .expert
        case .qBias, .kBias, .vBias, .oBias, .gateBias, .upBias, .downBias: .bias
        case .ropeFactors: .rope
        }
    }

    /// Kinds of tensors that are usually treated alike.
    public enum Family: String, Sendable, Hashable, CaseIterable {
        case embedding, head, norm, linear, router, expert, bias, rope
    }

    /// The roles that a word of a recipe stands for: a role's own name, the name of a family, or `linear`, which takes
    /// the experts in as well. `nil` for a word that means nothing.
    public static func named(_ word: String) -> Set<TensorRole>? {
        if word == Family.linear.rawValue {
            return Set(allCases.filter { $0.family == .linear || $0.family == .expert })
        }
        if let family = Family(rawValue: word) { return Set(allCases.filter { $0.family == family }) }
        return TensorRole(rawValue: word).map { [$0] }
    }
}
