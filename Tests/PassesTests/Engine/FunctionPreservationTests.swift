import Formats
import Models
import Passes
import Testing

/// Passes that promise to preserve the function, judged by the logits.
@Suite struct FunctionPreservationTests {
    private func logits(_ fixture: ForwardFixture, passes: [String]) throws -> (before: [[[Float]]], after: [[[Float]]], graph: TensorGraph) {
        let scratch = try Scratch()
        try fixture.write(to: scratch.path + "/model")
        let original = try graph(at: scratch.path + "/model")
        var changed = original
        for name in passes {
            let recipe = try Recipe.parse("{recipe: 1, name: t, passes: [{use: \(name)}]}", file: "t")
            try PassRegistry.builtIn.pass(for: recipe.passes[0]).rewrite(&changed, in: PassContext(onFallback: .error))
        }
        let ids = fixture.sequences.map(\.ids)
        return (
            try original.network(weightBudget: 1 << 30, threadCount: 2).logits(ids),
            try changed.network(weightBudget: 1 << 30, threadCount: 2).logits(ids), changed
        )
    }

    /// Gemma's architectures have no head of their own to untie into.
    static let withHead = ForwardFixture.all.filter { !$0.name.hasPrefix("gemma") }

    @Test(arguments: withHead) func foldedNormsGiveTheSameLogits(fixture: ForwardFixture) throws {
        let (before, after, graph) = try logits(fixture, passes: ["fold-norms"])
        for (before, after) in zip(before, after) {
            let difference = largestDifference(before, after)
            // Folding multiplies in another order, so that equal bits would mean nothing was folded.
            #expect(difference > 0 && difference < 3e-5)
        }
        for tensor in graph.tensors where tensor.info.name.hasSuffix("layernorm.weight") || tensor.info.name == "model.norm.weight" {
            #expect(floats(try tensor.rows(0..<1)).allSatisfy { $0 == 1 })
        }
    }

    @Test(arguments: withHead) func anUntiedModelGivesTheSameBits(fixture: ForwardFixture) throws {
        let (before, after, graph) = try logits(fixture, passes: ["untie"])
        #expect(before == after)
        #expect(graph["lm_head.weight"] != nil)
    }

    @Test(arguments: ["gemma2", "gemma3"]) func modelsWithoutAHeadOfTheirOwnAreRefused(name: String) throws {
        for pass in ["untie", "fold-norms"] {
            #expect(throws: PipelineError.self) { try logits(.named(name), passes: [pass]) }
        }
    }
}
