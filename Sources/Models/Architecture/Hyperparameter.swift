/// A number that gives a model its shape. The raw value is the word that architecture files use for it.
public enum Hyperparameter: String, Sendable, Hashable, CaseIterable {
    case layers
    case context
    /// Width of the residual stream.
    case hidden
    case heads
    case keyValueHeads = "key-value-heads"
    case headDimension = "head-dimension"
    /// Dimensions of each head that RoPE rotates.
    case ropeDimension = "rope-dimension"
    /// Inner width of the MLP.
    case feedForward = "feed-forward"
    case vocabulary
    /// Experts of each layer; zero for a dense model.
    case experts
    case expertsUsed = "experts-used"
    case expertFeedForward = "expert-feed-forward"
    case sharedExpertFeedForward = "shared-expert-feed-forward"

    /// The values a file may state. The upper ends are far above any model, and low enough that products of a few of
    /// them stay in range.
    var limits: ClosedRange<Int> {
        switch self {
        case .layers: 1...8192
        case .context: 1...Int(UInt32.max)
        case .hidden, .feedForward, .expertFeedForward: 1...(1 << 26)
        case .sharedExpertFeedForward: 0...(1 << 26)
        case .heads, .keyValueHeads, .headDimension, .ropeDimension: 1...(1 << 20)
        case .vocabulary: 1...(1 << 28)
        case .experts, .expertsUsed: 0...(1 << 16)
        }
    }
}

/// The hyperparameters of one model, each inside its limits.
public struct Hyperparameters: Sendable, Equatable {
    private var values: [Hyperparameter: Int] = [:]

    package init() {}

    /// The value, or `nil` when the architecture has no such number.
    public subscript(_ name: Hyperparameter) -> Int? { values[name] }

    mutating func set(_ name: Hyperparameter, to value: Int) { values[name] = value }

    public var layers: Int { values[.layers] ?? 0 }
    public var hidden: Int { values[.hidden] ?? 0 }
    public var heads: Int { values[.heads] ?? 0 }
    public var keyValueHeads: Int { values[.keyValueHeads] ?? 0 }
    public var headDimension: Int { values[.headDimension] ?? 0 }
    public var feedForward: Int { values[.feedForward] ?? 0 }
    public var vocabulary: Int { values[.vocabulary] ?? 0 }
    public var experts: Int { values[.experts] ?? 0 }
}
