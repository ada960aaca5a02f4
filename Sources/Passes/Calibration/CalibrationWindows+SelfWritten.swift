import LinearAlgebra
import Models

extension CalibrationWindows {
    /// Sequences that the model writes itself, sampled from its own distribution: calibration without data.
    ///
    ///     t_0 = first token;   t_{i+1} ~ softmax(logits(t_0 … t_i))
    ///
    /// Each sequence has a generator of its own, seeded from `seed` and its number, so a longer calibration begins with
    /// the sequences of a shorter one.
    ///
    /// - Parameters:
    ///   - network: keeps its weights in memory if they fit; every token needs all of them.
    ///   - firstToken: the token every sequence begins with; `nil` for one drawn from the whole vocabulary.
    ///   - progress: told the number of tokens that were written.
    /// - Throws: `ForwardError.contextTooLong`, and what the forward pass throws.
    public init(
        writtenBy network: Network, count: Int, context: Int, seed: UInt64, firstToken: Int?, progress: (Int) throws -> Void = { _ in }
    ) throws {
        try network.checkContext(context)
        guard context > 0 else { throw EvaluationError(.windowTooShort(context: context)) }
        let vocabulary = network.model.hyperparameters.vocabulary
        var windows: [[Int]] = []
        // Keys and values of the sequences that are written together stay within 256 MiB, unless one alone takes more.
        let cacheByteCount = network.layerCount * 2 * network.keyValueWidth * context * 4
        let together = min(16, max(1, (256 << 20) / max(1, cacheByteCount)))
        let tables = network.rotaryTables(contextLength: context)
        var logits: [Float] = []
        while windows.count < count {
            let numbers = windows.count..<min(count, windows.count + together)
            var generators = numbers.map { SeededGenerator(seed: seed &+ UInt64($0) &* 0x9E37_79B9_7F4A_7C15) }
            var sequences = generators.indices.map { [firstToken ?? Int.random(in: 0..<vocabulary, using: &generators[$0])] }
            var caches: [KeyValueCache]? = try numbers.map { _ in try network.cache(capacity: context) }
            while sequences[0].count < context {
                let position = sequences[0].count - 1
                var batch = try network.embed(sequences.map { [$0[position]] }, starts: sequences.map { _ in position })
                try network.runLayers(on: &batch, caches: &caches, tables: tables)
                for first in stride(from: 0, to: sequences.count, by: network.logitRowsAtOnce) {
                    let rows = first..<min(sequences.count, first + network.logitRowsAtOnce)
                    try network.logits(of: batch, rows: rows, into: &logits)
                    for row in rows {
                        let place = (row - first) * vocabulary
                        sequences[row].append(sampledToken(logits.span.extracting(place..<place + vocabulary), &generators[row]))
                    }
                }
                try progress(sequences.count)
            }
            windows += sequences
        }
        self.init(windows: windows)
    }
}

/// A token drawn with the probabilities that logits stand for.
///
///     the first k with  Σ_{j ≤ k} exp(x_j) > u Σ_j exp(x_j),   u uniform in [0, 1)
func sampledToken(_ logits: Span<Float>, _ generator: inout SeededGenerator) -> Int {
    let summary = LogitSummary(logits)
    var left = generator.nextUniform()
    for token in 0..<logits.count {
        left -= summary.probability(of: token, in: logits)
        if left < 0 { return token }
    }
    // Rounding may leave a sliver of the last probability.
    return summary.index
}
