import CKernels
import LinearAlgebra

/// How the next token is chosen.
public struct Sampling: Sendable, Equatable {
    /// What logits are divided by; 0 takes the likeliest token.
    public var temperature: Double
    /// Only the k likeliest tokens stay.
    public var topK: Int?
    /// Only the likeliest tokens stay that together reach this probability.
    public var topP: Double?
    public var seed: UInt64

    /// The likeliest token every time.
    public static let greedy = Sampling(temperature: 0)

    public init(temperature: Double = 1, topK: Int? = nil, topP: Double? = nil, seed: UInt64 = 0) {
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
        self.seed = seed
    }
}

/// Chooses tokens by their logits; the same choices from the same seed and logits on every machine.
///
///     p = softmax(x / T);   the first k of p in descending order, of those the fewest that sum to P of their sum;
///     the first token of these whose running sum exceeds u times the whole,  u uniform in [0, 1)
///
/// Of equal probabilities the lower id comes first. Random numbers are those of `SeededGenerator`, one a token; a greedy
/// choice takes none.
public struct Sampler: Sendable {
    public let sampling: Sampling
    private var generator: SeededGenerator

    public init(_ sampling: Sampling) {
        self.sampling = sampling
        generator = SeededGenerator(seed: sampling.seed)
    }

    /// - Precondition: logits are finite, and there is at least one.
    public mutating func next(_ logits: Span<Float>) -> Int {
        guard sampling.temperature > 0 else { return LogitSummary(logits).index }
        let probabilities = self.probabilities(logits)
        let limit = min(probabilities.count, max(1, sampling.topK ?? probabilities.count))
        let isWhole = limit == probabilities.count && (sampling.topP ?? 1) >= 1
        var candidates = Array(probabilities.indices)
        if !isWhole {
            candidates.sort { (probabilities[$1], $0) < (probabilities[$0], $1) }
            candidates.removeLast(candidates.count - limit)
            candidates.removeLast(candidates.count - nucleus(of: candidates, probabilities))
        }
        let total = candidates.reduce(0.0) { $0 + Double(probabilities[$1]) }
        let threshold = generator.nextUniform() * total
        var sum = 0.0
        for token in candidates {
            sum += Double(probabilities[token])
            if sum > threshold { return token }
        }
        // Rounding may leave a sliver.
        return candidates.last { probabilities[$0] > 0 } ?? LogitSummary(logits).index
    }

    private func probabilities(_ logits: Span<Float>) -> [Float] {
        // A temperature below this is one of a choice that is certain; its inverse is still finite.
        let scale = Float(1 / max(sampling.temperature, 1e-30))
        var values = logits.array
        unsafe values.withUnsafeMutableBufferPointer { values in
            // `count` floats are there.
            unsafe resq_softmax(values.baseAddress!, values.count, scale, 0)
        }
        return values
    }

    /// How many of the candidates, likeliest first, reach the share that stays.
    private func nucleus(of candidates: [Int], _ probabilities: [Float]) -> Int {
        guard let share = sampling.topP, share < 1 else { return candidates.count }
        let total = candidates.reduce(0.0) { $0 + Double(probabilities[$1]) }
        var sum = 0.0
        for (index, token) in candidates.enumerated() {
            sum += Double(probabilities[token])
            if sum >= share * total { return index + 1 }
        }
        return candidates.count
    }
}

extension Span<Float> {
    fileprivate var array: [Float] {
        var values: [Float] = []
        values.reserveCapacity(count)
        for index in indices { values.append(self[index]) }
        return values
    }
}
