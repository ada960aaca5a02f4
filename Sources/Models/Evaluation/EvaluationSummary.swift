#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// What the scores of all tokens come to.
public struct EvaluationSummary: Sendable {
    /// Tokens that counted.
    public let tokenCount: Int
    /// exp of the mean negative log-likelihood.
    public let perplexity: Double
    /// Its standard error, from the spread of single tokens: perplexity · σ / √(n - 1).
    public let perplexityError: Double
    /// Mean negative log-likelihood in nats.
    public let meanNegativeLogLikelihood: Double
    /// Nats of all tokens together, in bits, per byte of the text they stand for; `nil` when the bytes are not
    /// known, or there are none because all tokens are special.
    public let bitsPerByte: Double?
    /// Against the reference; `nil` without one.
    public let divergence: Divergence?

    /// How far the model is from its reference.
    public struct Divergence: Sendable {
        public let mean: Double
        public let meanError: Double
        public let median: Double
        /// 99 % of tokens are not above it.
        public let percentile99: Double
        public let maximum: Double
        /// Share of tokens for which both models put the same token first.
        public let top1Agreement: Double
        /// Root mean square of the difference of logits.
        public let logitRootMeanSquare: Double
    }

    /// - Parameter byteCount: bytes of text that the tokens stand for.
    /// - Precondition: there is at least one score.
    public init(_ scores: [TokenScore], byteCount: Int? = nil) {
        precondition(!scores.isEmpty, "scores of a text")
        let count = Double(scores.count)
        let likelihoods = scores.map(\.negativeLogLikelihood)
        let mean = likelihoods.reduce(0, +) / count
        let variance = max(0, likelihoods.reduce(0) { $0 + $1 * $1 } / count - mean * mean)
        tokenCount = scores.count
        meanNegativeLogLikelihood = mean
        perplexity = exp(mean)
        perplexityError = scores.count > 1 ? exp(mean) * (variance / (count - 1)).squareRoot() : 0
        bitsPerByte = byteCount.flatMap { $0 > 0 ? mean * count / log(2.0) / Double($0) : nil }
        let comparisons = scores.compactMap(\.comparison)
        guard comparisons.count == scores.count else {
            divergence = nil
            return
        }
        let divergences = comparisons.map(\.divergence).sorted()
        let meanDivergence = divergences.reduce(0, +) / count
        let spread = max(0, divergences.reduce(0) { $0 + $1 * $1 } / count - meanDivergence * meanDivergence)
        divergence = Divergence(
            mean: meanDivergence, meanError: scores.count > 1 ? (spread / (count - 1)).squareRoot() : 0,
            median: EvaluationSummary.percentile(0.5, of: divergences), percentile99: EvaluationSummary.percentile(0.99, of: divergences),
            maximum: divergences.last ?? 0, top1Agreement: Double(comparisons.count { $0.agrees }) / count,
            logitRootMeanSquare: (comparisons.reduce(0) { $0 + $1.squareDifference } / count).squareRoot())
    }

    /// The value below which a share of sorted numbers lies, between neighbours in proportion.
    static func percentile(_ share: Double, of sorted: [Double]) -> Double {
        guard let last = sorted.last else { return 0 }
        let place = share * Double(sorted.count - 1)
        let lower = Int(place)
        guard lower + 1 < sorted.count else { return last }
        return sorted[lower] + (place - Double(lower)) * (sorted[lower + 1] - sorted[lower])
    }
}
