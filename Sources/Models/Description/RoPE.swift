import Formats

/// Rotary position embedding: which elements of a head are paired, and how fast each pair turns.
public struct RoPE: Sendable, Equatable {
    /// How the halves of a complex number are laid out in a head of GGUF's runtime.
    public enum Pairing: String, Sendable, CaseIterable {
        /// Elements 2i and 2i+1; Hugging Face's order (i, i + d/2) is permuted into it.
        case interleaved
        /// Elements i and i + d/2, as Hugging Face has them.
        case halves
    }

    /// How frequencies are changed to reach beyond the context of the training.
    public enum Scaling: Sendable, Equatable {
        case none
        case linear(factor: Double)
        case yarn(
            factor: Double, originalContext: Int, extrapolationFactor: Double?, attentionFactor: Double?, betaFast: Double?,
            betaSlow: Double?)
        case llama3(factor: Double, lowFrequency: Double, highFrequency: Double, originalContext: Int)
        /// One factor per pair for contexts up to the original one (`short`) and beyond it (`long`).
        case longRoPE(long: [Double], short: [Double])

        static let names = ["linear", "yarn", "llama3", "longrope"]

        var name: String {
            switch self {
            case .none: "none"
            case .linear: "linear"
            case .yarn: "yarn"
            case .llama3: "llama3"
            case .longRoPE: "longrope"
            }
        }
    }

    public var pairing: Pairing
    /// The base of the frequencies: pair i of d/2 turns by theta^(-2i/d) per position.
    public var theta: Double
    /// The base in layers with a sliding window, where it differs (Gemma3).
    public var localTheta: Double?
    /// The context the model was trained with before scaling, where the architecture states one by itself (Phi3).
    public var originalContext: Int?
    public var scaling: Scaling
}

extension RoPE {
    /// Reads `rope_theta` and `rope_scaling`, or the newer `rope_parameters`, also split by layer type.
    init(config: JSONObject, rule: RoPERule, context: Int) throws(ModelError) {
        let reader = ConfigReader(config)
        let key = reader.isPresent("rope_parameters") ? "rope_parameters" : "rope_scaling"
        var full = try reader.object(key) ?? ConfigReader(JSONObject())
        var local: ConfigReader?
        if full.isPresent("full_attention") || full.isPresent("sliding_attention") {
            local = try full.object("sliding_attention")
            full = try full.object("full_attention") ?? ConfigReader(JSONObject())
        }
        pairing = rule.pairing
        let plainTheta = try reader.positive("rope_theta")
        theta = try full.positive("rope_theta") ?? plainTheta ?? rule.theta
        if let ruleTheta = rule.localTheta {
            let plainTheta = try reader.positive("rope_local_base_freq")
            localTheta = try local?.positive("rope_theta") ?? plainTheta ?? ruleTheta
        }
        let limits = Hyperparameter.context.limits
        let plainOriginal = try reader.integer("original_max_position_embeddings", in: limits)
        let original = try full.integer("original_max_position_embeddings", in: limits) ?? plainOriginal
        originalContext = rule.originalContext == nil ? nil : original ?? rule.originalContext

        let typeKey = full.isPresent("rope_type") ? "rope_type" : "type"
        var type = try full.string(typeKey) ?? "default"
        if type == "su" { type = "longrope" }
        // "dynamic" changes nothing within the model's own context.
        guard type != "default", type != "dynamic" else { scaling = .none; return }
        guard rule.scalings.contains(type) else {
            let known = rule.scalings.isEmpty ? "no scaling" : rule.scalings.joined(separator: " or ")
            throw ModelError(.invalidKey(key: full.path(typeKey), found: printable(type), expected: known))
        }
        switch type {
        case "linear": scaling = .linear(factor: try full.needed("factor"))
        case "yarn":
            let olderName = try full.positive("attn_factor")
            scaling = .yarn(
                factor: try full.needed("factor"), originalContext: original ?? context,
                extrapolationFactor: try full.positive("extrapolation_factor"),
                attentionFactor: try full.positive("attention_factor") ?? olderName,
                betaFast: try full.positive("beta_fast"), betaSlow: try full.positive("beta_slow"))
        case "llama3":
            let low = try full.positive("low_freq_factor") ?? 1
            let high = try full.positive("high_freq_factor") ?? 4
            guard high > low else {
                throw ModelError(.invalidKey(key: full.path("high_freq_factor"), found: "\(high)", expected: "more than \(low)"))
            }
            scaling = .llama3(
                factor: try full.positive("factor") ?? 8, lowFrequency: low, highFrequency: high,
                originalContext: original ?? 8192)
        default:
            scaling = .longRoPE(long: try full.numbers("long_factor"), short: try full.numbers("short_factor"))
        }
    }
}
