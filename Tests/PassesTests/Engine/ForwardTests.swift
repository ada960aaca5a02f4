import Formats
import Models
import Passes
import Testing

/// The forward pass beside transformers, and beside itself on other ways to the same numbers.
@Suite struct ForwardTests {
    @Test(arguments: ForwardFixture.all) func logitsAreThoseOfTheReference(fixture: ForwardFixture) throws {
        let scratch = try Scratch()
        try fixture.write(to: scratch.path + "/model")
        let network = try graph(at: scratch.path + "/model").network(weightBudget: 1 << 30, threadCount: 2)
        for sequence in fixture.sequences {
            let logits = try network.logits([sequence.ids])[0]
            let difference = largestDifference(sequence.rows.map { logits[$0] }, sequence.logits)
            // Single precision, sums in another order: about 1e-6 of logits of up to 10 in size.
            #expect(difference < 3e-5)
        }
    }

    @Test(arguments: ForwardFixture.all) func everyContainerGivesTheSameBits(fixture: ForwardFixture) throws {
        let scratch = try Scratch()
        let folder = scratch.path + "/model"
        try fixture.write(to: folder)
        let ids = fixture.sequences.map(\.ids)
        let expected = try graph(at: folder).network(weightBudget: 1 << 30, threadCount: 1).logits(ids)
        for (ending, format) in [(".gguf", ContainerFormat.gguf), (".gguf.zst", .ggufZst)] {
            let path = scratch.path + "/m" + ending
            _ = try Conversion(
                input: folder, passes: [], output: Output(path: path, format: format), onFallback: .error, provenance: nil,
                architectures: .builtIn
            ).run(threadCount: 2)
            // Without room to keep weights, and on another number of threads.
            let network = try graph(at: path).network(weightBudget: 0, threadCount: 3)
            #expect(try network.logits(ids) == expected)
        }
    }

    @Test(arguments: ForwardFixture.all) func piecesThroughACacheGiveTheWhole(fixture: ForwardFixture) throws {
        let scratch = try Scratch()
        try fixture.write(to: scratch.path + "/model")
        let network = try graph(at: scratch.path + "/model").network(weightBudget: 1 << 30, threadCount: 2)
        let ids = fixture.sequences.map(\.ids)
        let whole = try network.logits(ids)
        // A long piece, one token at a time, a piece across windows, the rest.
        let pieces = [29] + [Int](repeating: 1, count: 12) + [8, 1, 20]
        let cached = try network.logits(ids, pieces: pieces)
        for (cached, whole) in zip(cached, whole) { #expect(largestDifference(cached, whole) < 3e-5) }
    }

    @Test func sequencesOfABatchDoNotSeeEachOther() throws {
        let scratch = try Scratch()
        try ForwardFixture.named("gemma3").write(to: scratch.path + "/model")
        let network = try graph(at: scratch.path + "/model").network(weightBudget: 1 << 30, threadCount: 2)
        let sequences = [[1, 5, 9, 30, 2, 2, 7, 8, 9, 10, 11], [4], [9, 9, 9, 1, 0, 31]]
        let together = try network.logits(sequences)
        for (index, sequence) in sequences.enumerated() {
            #expect(largestDifference(together[index], try network.logits([sequence])[0]) < 3e-5)
        }
    }
}
