/// What one token that counts gave.
public struct TokenScore: Sendable, Equatable {
    /// Minus the log-probability of the token that came.
    public var negativeLogLikelihood: Double
    /// What comparing with the reference gave; `nil` without one.
    public var comparison: Comparison?

    /// One row of logits beside the reference's.
    public struct Comparison: Sendable, Equatable {
        /// Kullback-Leibler divergence of the model from the reference, in nats.
        public var divergence: Double
        /// Whether both put the same token first.
        public var agrees: Bool
        /// Mean over the vocabulary of the squared difference of logits.
        public var squareDifference: Double

        public init(divergence: Double, agrees: Bool, squareDifference: Double) {
            self.divergence = divergence
            self.agrees = agrees
            self.squareDifference = squareDifference
        }
    }

    public init(negativeLogLikelihood: Double, comparison: Comparison? = nil) {
        self.negativeLogLikelihood = negativeLogLikelihood
        self.comparison = comparison
    }

    /// Scores as plain numbers, to be kept in a file: one per token, or four beside a reference.
    public static func numbers(_ scores: [TokenScore]) -> [Double] {
        scores.flatMap { score in
            [score.negativeLogLikelihood]
                + (score.comparison.map { [$0.divergence, $0.squareDifference, $0.agrees ? 1 : 0] } ?? [])
        }
    }

    /// The way back; `nil` when the numbers are not those of `count` tokens.
    public static func scores(_ numbers: [Double], count: Int, hasReference: Bool) -> [TokenScore]? {
        let width = hasReference ? 4 : 1
        guard numbers.count == count * width else { return nil }
        return (0..<count).map { index in
            let part = numbers[index * width..<(index + 1) * width]
            let start = part.startIndex
            guard hasReference else { return TokenScore(negativeLogLikelihood: part[start]) }
            return TokenScore(
                negativeLogLikelihood: part[start],
                comparison: Comparison(divergence: part[start + 1], agrees: part[start + 3] == 1, squareDifference: part[start + 2]))
        }
    }
}
