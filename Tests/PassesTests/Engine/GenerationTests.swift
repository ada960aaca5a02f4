import Formats
import Models
import Passes
import Testing

@Suite struct GenerationTests {
    private func network(_ name: String) throws -> (Network, Scratch) {
        let scratch = try Scratch()
        try ForwardFixture.named(name).write(to: scratch.path + "/model")
        return (try graph(at: scratch.path + "/model").network(weightBudget: 1 << 30, threadCount: 2), scratch)
    }

    private func tokens(_ generation: Generation) throws -> [Int] {
        var generation = generation
        while try generation.next() != nil {}
        return generation.tokens
    }

    @Test(arguments: ["llama-gqa-tied", "gemma3", "qwen3moe"]) func greedyTokensAreTheLikeliestOfTheWholePass(name: String) throws {
        let (network, _) = try network(name)
        var sequence = [3, 1, 4, 1, 5]
        let written = try tokens(Generation(network, prompt: sequence, limit: 20))
        for token in written {
            let logits = try network.logits([sequence])[0].last ?? []
            #expect(token == logits.firstIndex(of: logits.max() ?? 0))
            sequence.append(token)
        }
        #expect(written.count == 20)
    }

    @Test func itEndsAtAStopAtTheLimitAndWhenTheContextIsFull() throws {
        let (network, _) = try network("llama-mha")
        var free = try Generation(network, prompt: [1, 2, 3], limit: 200)
        while try free.next() != nil {}
        // The context of 128 positions takes the prompt and all tokens but the last.
        #expect(free.ending == .context && free.tokens.count == 126)
        let stop = free.tokens[7]
        var stopped = try Generation(network, prompt: [1, 2, 3], limit: 200, stops: [stop])
        while try stopped.next() != nil {}
        #expect(stopped.ending == .stop && stopped.tokens == Array(free.tokens[0...(free.tokens.firstIndex(of: stop) ?? 0)]))
        var short = try Generation(network, prompt: [1, 2, 3], limit: 4)
        while try short.next() != nil {}
        #expect(short.ending == .length && short.tokens == Array(free.tokens[..<4]))
        #expect(throws: ForwardError.contextTooLong(tokens: 129, context: 128)) {
            try Generation(network, prompt: [Int](repeating: 1, count: 129), limit: 1)
        }
        #expect(throws: ForwardError.emptySequence) { try Generation(network, prompt: [], limit: 1) }
        #expect(throws: ForwardError.tokenOutOfRange(id: 40, position: 1, vocabulary: 32)) {
            try tokens(Generation(network, prompt: [1, 40], limit: 1))
        }
    }

    @Test func theSeedDecides() throws {
        let (network, _) = try network("llama-mha")
        func written(_ sampling: Sampling) throws -> [Int] { try tokens(Generation(network, prompt: [5], limit: 40, sampling: sampling)) }
        let one = try written(Sampling(seed: 1))
        #expect(try one == written(Sampling(seed: 1)))
        #expect(try one != written(Sampling(seed: 2)))
        #expect(try written(Sampling(topK: 1, seed: 3)) == written(.greedy))
        #expect(try written(Sampling(temperature: 1e-20, seed: 3)) == written(.greedy))
    }
}

@Suite struct SamplerTests {
    private func counts(_ sampling: Sampling, _ logits: [Float], draws: Int) -> [Double] {
        var sampler = Sampler(sampling)
        var counts = [Double](repeating: 0, count: logits.count)
        for _ in 0..<draws { counts[sampler.next(logits.span)] += 1 / Double(draws) }
        return counts
    }

    /// log of 0.1, 0.4, 0.2, 0.3.
    private let logits: [Float] = [-2.3025851, -0.9162907, -1.609438, -1.2039728]

    @Test func drawsFollowTheDistribution() {
        let draws = 20000
        /// Shares in proportion to weights, within five standard deviations.
        func expect(_ sampling: Sampling, _ weights: [Double]) {
            let found = counts(sampling, logits, draws: draws)
            let total = weights.reduce(0, +)
            for (share, weight) in zip(found, weights) {
                let expected = weight / total
                let deviation = (expected * (1 - expected) / Double(draws)).squareRoot()
                // Shares are sums of many small steps.
                #expect(abs(share - expected) <= 5 * deviation + 1e-9)
            }
        }
        expect(Sampling(seed: 1), [1, 4, 2, 3])
        expect(Sampling(temperature: 0.5, seed: 2), [1, 16, 4, 9])
        expect(Sampling(topK: 2, seed: 3), [0, 4, 0, 3])
        // 0.4 + 0.3 are not yet 0.75; with 0.2 they are.
        expect(Sampling(topP: 0.75, seed: 4), [0, 4, 2, 3])
        expect(Sampling(topK: 3, topP: 0.3, seed: 5), [0, 1, 0, 0])
    }

    @Test func theFirstOfEqualTokensComesFirst() {
        #expect(counts(Sampling(topK: 1, seed: 1), [0, 2, 2, 1], draws: 4) == [0, 1, 0, 0])
        #expect(counts(.greedy, [1, 3, 3], draws: 4) == [0, 1, 0])
    }

    /// The numbers are part of what a seed promises: they must not change from one version to the next.
    @Test func aSeedGivesTheseTokens() {
        var sampler = Sampler(Sampling(temperature: 0.8, topK: 3, topP: 0.95, seed: 42))
        let drawn = (0..<16).map { _ in sampler.next(logits.span) }
        #expect(drawn == [2, 1, 2, 3, 3, 3, 1, 3, 1, 2, 3, 2, 3, 1, 1, 3])
    }
}
