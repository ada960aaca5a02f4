import Formats

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

extension RoPE {
    /// The frequency factors of llama3 scaling, one per pair of a head: each frequency is divided by its factor.
    ///
    /// With wavelength w = 2 pi theta^(2i/d): 1 if w < L/high, `factor` if w > L/low, else
    /// 1 / ((1 - s)/factor + s) with s = (L/w - low) / (high - low), L the original context.
    /// All in single precision and in this order of operations, as the reference does it (powers are rounded correctly,
    /// the reference's may be off by one unit in the last place).
    static func llama3Factors(
        theta: Double, headDimension: Int, factor: Double, lowFrequency: Double, highFrequency: Double, originalContext: Int
    ) -> [Float] {
        let length = Float(originalContext)
        let low = Float(lowFrequency)
        let shortest = Float(Double(originalContext) / highFrequency)
        let longest = Float(Double(originalContext) / lowFrequency)
        return (0..<headDimension / 2).map { pair in
            let exponent = Float(2 * pair) / Float(headDimension)
            let frequency = 1 / Float(pow(Double(Float(theta)), Double(exponent)))
            let wavelength = (1 / frequency) * Float(2 * Double.pi)
            if wavelength < shortest { return 1 }
            if wavelength > longest { return Float(factor) }
            let smooth = ((1 / wavelength) * length - low) / Float(highFrequency - lowFrequency)
            return 1 / ((1 - smooth) / Float(factor) + smooth)
        }
    }

    /// What long-context scaling multiplies the attention's cosines and sines by:
    /// sqrt(1 + ln(context / original) / ln(original)), 1 when the context is not longer than the original.
    static func longAttentionFactor(context: Int, originalContext: Int) -> Double {
        let scale = Double(context) / Double(originalContext)
        return scale > 1 ? (1 + log(scale) / log(Double(originalContext))).squareRoot() : 1
    }

    /// Checks that the lists of long-context scaling have one factor per pair.
    func checkFactors(_ hyperparameters: Hyperparameters) throws(ModelError) {
        guard case .longRoPE(let long, let short) = scaling else { return }
        let pairs = (hyperparameters[.ropeDimension] ?? hyperparameters.headDimension) / 2
        for (key, factors) in [("long_factor", long), ("short_factor", short)] where factors.count != pairs {
            throw ModelError(.invalidKey(key: "rope_scaling.\(key)", found: "\(factors.count) numbers", expected: "\(pairs)"))
        }
    }
}

extension RoPE {
    /// Reads the GGUF keys. Scaling that is stored as tensors is known as far as their values are given.
    init(
        metadata reader: MetadataReader, computed: [String: [Float]], rule: RoPERule, _ hyperparameters: Hyperparameters
    ) throws(ModelError) {
        pairing = rule.pairing
        theta = try reader.positive("{arch}.rope.freq_base") ?? 10000
        if let fallback = rule.localTheta { localTheta = try reader.positive("{arch}.rope.freq_base_swa") ?? fallback }
        let original = try reader.integer(
            "{arch}.rope.scaling.original_context_length", in: Hyperparameter.context.limits)
        originalContext = rule.originalContext == nil ? nil : original ?? rule.originalContext
        let type = try reader.string("{arch}.rope.scaling.type") ?? "none"
        switch type {
        case "none", "longrope": scaling = .none
        case "linear":
            scaling = .linear(factor: try reader.positive("{arch}.rope.scaling.factor") ?? 1)
        case "yarn":
            scaling = .yarn(
                factor: try reader.positive("{arch}.rope.scaling.factor") ?? 1,
                originalContext: original ?? hyperparameters[.context] ?? 1,
                extrapolationFactor: try reader.positive("{arch}.rope.scaling.yarn_ext_factor"),
                attentionFactor: try reader.positive("{arch}.rope.scaling.yarn_attn_factor"),
                betaFast: try reader.positive("{arch}.rope.scaling.yarn_beta_fast"),
                betaSlow: try reader.positive("{arch}.rope.scaling.yarn_beta_slow"))
        default:
            throw ModelError(
                .invalidKey(key: reader.key("{arch}.rope.scaling.type"), found: printable(type), expected: "none, linear, yarn or longrope"))
        }
        if let factors = computed["rope_freqs.weight"] {
            scaling = try Self.llama3Scaling(of: factors, theta: theta, headDimension: hyperparameters.headDimension)
        }
        if let long = computed["rope_factors_long.weight"], let short = computed["rope_factors_short.weight"] {
            scaling = .longRoPE(long: long.map(\.decimal), short: short.map(\.decimal))
            try checkFactors(hyperparameters)
        }
    }

    /// Finds the llama3 scaling that gives these factors: the largest is the factor, the frequency bounds are those of all
    /// published models (1 and 4), and the original context, 8192 or another power of two, must reproduce every element.
    private static func llama3Scaling(of factors: [Float], theta: Double, headDimension: Int) throws(ModelError) -> Scaling {
        let factor = (factors.max() ?? 1).decimal
        let (low, high) = (1.0, 4.0)
        let original = ([8192] + (8...20).map { 1 << $0 }.filter { $0 != 8192 }).first { original in
            let made = llama3Factors(
                theta: theta, headDimension: headDimension, factor: factor, lowFrequency: low, highFrequency: high,
                originalContext: original)
            return made.count == factors.count && zip(made, factors).allSatisfy { $0 == $1 || $0.nextUp == $1 || $0.nextDown == $1 }
        }
        guard let original else {
            throw ModelError(
                .invalidKey(
                    key: "rope_freqs.weight", found: "\(factors.count) factors up to \(factor)",
                    expected: "the factors of llama3 scaling with bounds 1 and 4, a power of two as original context and \(headDimension / 2) pairs"))
        }
        return .llama3(factor: factor, lowFrequency: low, highFrequency: high, originalContext: original)
    }
}

extension Float {
    /// The `Double` with the fewest digits that rounds to this value.
    fileprivate var decimal: Double { Double("\(self)") ?? Double(self) }
}
