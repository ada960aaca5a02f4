import Formats

/// A family of models, as its data file describes it: names, shapes and roles of tensors, the configuration keys on
/// both sides, and what depends on what. Rules only; `ModelDescription` applies them to one model.
public struct Architecture: Sendable {
    /// The name of the data file, e.g. `qwen2`.
    public let identifier: String
    /// `general.architecture` in GGUF.
    public let ggufName: String
    /// Whether GGUF files of this architecture have experts; two architectures may share a GGUF name and differ in this.
    public let hasExperts: Bool
    /// Entries of `architectures` in `config.json`, the one to write first.
    public let classNames: [String]
    /// `model_type` in `config.json`, the one to write first.
    public let modelTypes: [String]
    /// Sets of roles that read the same input and must be treated alike (q/k/v; gate/up), by a name of the set.
    public let groups: [TensorGroup]
    /// Norms and the linear weights that read their output: what a norm can be folded into.
    public let folds: [NormFold]

    let config: JSONObject
    let fixed: [FixedRule]
    let flags: [(key: String, role: TensorRole)]
    let hyperparameters: [HyperparameterRule]
    let rope: RoPERule
    let tied: TiedRule
    let slidingPattern: Int?
    /// How the model computes; `nil` for an architecture that is only converted.
    let forward: ForwardRules?
    let tensors: [TensorRule]
    let ignored: [String]
    let computed: [(name: String, values: ComputedValues)]
    let metadata: [MetadataRule]

    let rulesByName: [String: Int]
    let rulesByGGUFName: [String: Int]

    /// The Hugging Face name of the output head.
    public var headName: String? { tensors.first { $0.role == .head }?.name.text }

    /// Whether a GGUF tensor of this name is computed from the configuration.
    package func isComputed(_ ggufName: String) -> Bool { computed.contains { $0.name == ggufName } }
}

/// Roles that share their input within one layer.
public struct TensorGroup: Sendable, Hashable {
    public let name: String
    public let roles: [TensorRole]
}

/// A norm and the roles in the same layer that consume it; for the final norm, the head.
public struct NormFold: Sendable, Hashable {
    public let norm: TensorRole
    public let consumers: [TensorRole]
}

/// One kind of tensor: its two names, its role, its shape, and how its elements differ between the containers.
public struct TensorRule: Sendable, Hashable {
    package let name: TensorPattern
    package let ggufName: TensorPattern
    public let role: TensorRole
    /// The shape in Hugging Face files, outermost first; of one expert where the experts are apart.
    package let shape: [DimensionExpression]
    package let change: Change
    package let presence: Presence

    /// What the GGUF convention does to the elements.
    package enum Change: String, Sendable, CaseIterable {
        case none
        /// Rows are reordered for interleaved RoPE, `heads` blocks.
        case permuteQ = "permute-q"
        /// The same with `key-value-heads` blocks.
        case permuteK = "permute-k"
        /// GGUF stores the weight plus one (Gemma's norms multiply by 1 + weight).
        case addOne = "add-one"
    }

    package enum Presence: String, Sendable, CaseIterable {
        case required, optional
        /// Absent when the head is the embedding.
        case untied
    }

    /// What a norm adds to its stored weight to get its gain: 1 where GGUF has the sum.
    package var gainOffset: Float { change == .addOne ? 1 : 0 }

    /// Whether GGUF holds all experts of a layer in one tensor that are separate tensors in Hugging Face files.
    package var stacksExperts: Bool { name.hasExpert && !ggufName.hasExpert }
}

/// Where a hyperparameter stands in either container.
struct HyperparameterRule: Sendable {
    let name: Hyperparameter
    /// Keys of `config.json`, the first that is there counts.
    let configKeys: [String]
    /// The GGUF key, `{arch}` standing for the architecture's name.
    let ggufKey: String?
    /// The value when the config keys are missing or null.
    let fallback: DimensionExpression?
    /// The value when the GGUF key is missing.
    let ggufFallback: DimensionExpression?
    /// A config key with a number in (0, 1] that the value is multiplied by, rounding down.
    let fractionKey: String?
}

/// A key of `config.json` that the GGUF runtime has built in: another value cannot be carried over.
struct FixedRule: Sendable {
    let key: String
    let values: Values

    enum Values: Sendable {
        /// Any of these; the first is written.
        case literals([JSONValue])
        /// A number, possibly another one for models with certain layer counts.
        case expression(DimensionExpression, byLayers: [Int: DimensionExpression])
    }
}

struct TiedRule: Sendable {
    let configKey: String
    let fallback: Bool
    /// Whether the GGUF runtime loads a head that is not the embedding.
    let allowsUntiedGGUF: Bool
}

/// One GGUF key and where its value comes from.
struct MetadataRule: Sendable {
    let key: String
    let type: ValueType
    let source: Source
    /// The value when no config key is there; without it the GGUF key is left out.
    let fallback: JSONValue?
    /// The value when the config says null; without it, null is an error if there is a `fallback` and else means absent.
    let nullValue: JSONValue?
    /// A value that the runtime assumes anyway, for which the key is left out.
    let implied: JSONValue?

    enum ValueType: String, Sendable, CaseIterable { case u32, i32, f32, bool, string }

    enum Source: Sendable {
        /// The first of these config keys that is there and not null.
        case config([String])
        case expression(DimensionExpression)
        case rope(RoPEField)
        case constant(JSONValue)
    }
}

/// The facts about RoPE that GGUF has keys for.
enum RoPEField: String, Sendable, CaseIterable {
    case theta
    case localTheta = "local-theta"
    case scalingType = "scaling-type"
    case factor
    case originalContext = "original-context"
    case extrapolationFactor = "extrapolation-factor"
    case yarnAttentionFactor = "yarn-attention-factor"
    case betaFast = "beta-fast"
    case betaSlow = "beta-slow"
    case longAttentionFactor = "long-attention-factor"
}

struct RoPERule: Sendable {
    let pairing: RoPE.Pairing
    let theta: Double
    let localTheta: Double?
    let originalContext: Int?
    let scalings: [String]
}

/// Tensors that GGUF stores and Hugging Face computes from the configuration.
enum ComputedValues: String, Sendable, CaseIterable {
    case llama3Factors = "llama3-factors"
    case longFactors = "long-factors"
    case shortFactors = "short-factors"
}
