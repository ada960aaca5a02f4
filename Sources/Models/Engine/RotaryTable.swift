import Formats

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Cosines and sines of RoPE for the positions of a context.
///
///     angle(p, i) = p · f_i,    f_i = theta^(-2i/d)  changed by the scaling,    i in 0..<d/2
///
/// Angles are products in single precision, as Hugging Face's models compute them. Long-context and YaRN scaling also
/// multiply both tables by a factor.
struct RotaryTable: Sendable {
    /// Pairs of a head that turn.
    let pairCount: Int
    private(set) var positionCount: Int
    /// `[positionCount, pairCount]`.
    private(set) var cosines: [Float]
    private(set) var sines: [Float]
    private let frequencies: [Float]
    private let factor: Float

    /// - Parameters:
    ///   - isLocal: whether this is the table of layers with a window, where those have a base of their own.
    ///   - contextLength: positions that will be used; long-context scaling chooses its factors by it.
    init(_ model: ModelDescription, isLocal: Bool, contextLength: Int) {
        let rope = model.rope
        let dimension = model.hyperparameters[.ropeDimension] ?? model.hyperparameters.headDimension
        let theta = isLocal ? rope.localTheta ?? rope.theta : rope.theta
        pairCount = dimension / 2
        var frequencies = (0..<dimension / 2).map { pair in
            1 / Float(pow(Double(Float(theta)), Double(Float(2 * pair) / Float(dimension))))
        }
        var factor = 1.0
        switch isLocal ? .none : rope.scaling {
        case .none: break
        case .linear(let linear): for pair in frequencies.indices { frequencies[pair] /= Float(linear) }
        case .llama3(let scale, let low, let high, let original):
            let factors = RoPE.llama3Factors(
                theta: theta, headDimension: dimension, factor: scale, lowFrequency: low, highFrequency: high, originalContext: original)
            for pair in frequencies.indices { frequencies[pair] /= factors[pair] }
        case .longRoPE(let long, let short):
            let original = rope.originalContext ?? contextLength
            let factors = contextLength > original ? long : short
            for pair in frequencies.indices { frequencies[pair] /= Float(factors[pair]) }
            factor = RoPE.longAttentionFactor(context: model.hyperparameters[.context] ?? 0, originalContext: original)
        case .yarn(let scale, let original, _, let attentionFactor, let betaFast, let betaSlow):
            let ramp = RoPE.yarnRamp(
                theta: theta, dimension: dimension, originalContext: original, betaFast: betaFast ?? 32, betaSlow: betaSlow ?? 1)
            for pair in frequencies.indices {
                let whole = frequencies[pair]
                frequencies[pair] = whole / Float(scale) * ramp[pair] + whole * (1 - ramp[pair])
            }
            factor = attentionFactor ?? (scale > 1 ? 0.1 * log(scale) + 1 : 1)
        }
        self.frequencies = frequencies
        self.factor = Float(factor)
        positionCount = 0
        cosines = []
        sines = []
    }

    /// Extends the tables to more positions.
    mutating func reserve(_ count: Int) {
        guard count > positionCount else { return }
        cosines.reserveCapacity(count * pairCount)
        sines.reserveCapacity(count * pairCount)
        for position in positionCount..<count {
            for frequency in frequencies {
                let angle = Float(position) * frequency
                cosines.append(cos(angle) * factor)
                sines.append(sin(angle) * factor)
            }
        }
        positionCount = count
    }
}

extension RoPE {
    /// How far YaRN interpolates each pair: 0 keeps its frequency, 1 divides it by the factor (arXiv 2309.00071).
    ///
    ///     d(r) = dim · ln(L / (2π r)) / (2 ln theta);   ramp_i = clamp((i - ⌊d(fast)⌋) / (⌈d(slow)⌉ - ⌊d(fast)⌋), 0, 1)
    static func yarnRamp(theta: Double, dimension: Int, originalContext: Int, betaFast: Double, betaSlow: Double) -> [Float] {
        func place(_ rotations: Double) -> Double {
            Double(dimension) * log(Double(originalContext) / (rotations * 2 * Double.pi)) / (2 * log(theta))
        }
        let low = max(place(betaFast).rounded(.down), 0)
        var high = min(place(betaSlow).rounded(.up), Double(dimension - 1))
        if low == high { high += 0.001 }
        return (0..<dimension / 2).map { Float(min(max((Double($0) - low) / (high - low), 0), 1)) }
    }
}
