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
            try Registry.builtIn.pass(for: recipe.passes[0]).rewrite(&changed, in: PassContext(onFallback: .error))
        }
        let ids = fixture.sequences.map(\.ids)
        return (
            try original.network(weightBudget: 1 << 30, threadCount: 2).logits(ids),
            try changed.network(weightBudget: 1 << 30, threadCount: 2).logits(ids), changed
        )
    }

    @Test(arguments: ForwardFixture.all) func foldedNormsGiveTheSameLogits(fixture: ForwardFixture) throws {
        let (before, after, graph) = try logits(fixture, passes: ["fold-norms"])
        for (before, after) in zip(before, after) {
            let difference = largestDifference(before, after)
            // Folding multiplies in another order, so that equal bits would mean nothing was folded.
            #expect(difference > 0 && difference < 3e-5)
        }
        let model = try #require(graph.model)
        let folded = graph.tensors.filter { tensor in
            model.architecture.folds.contains { $0.norm == model.match(name: tensor.info.name)?.role }
        }
        #expect(folded.count == 2 * model.hyperparameters.layers + 1)
        // Gemma's gains are stored with 1 subtracted.
        let one: Float = fixture.name.hasPrefix("gemma") ? 0 : 1
        for tensor in folded { #expect(floats(try tensor.rows(0..<1)).allSatisfy { $0 == one }) }
    }

    @Test(arguments: ForwardFixture.all) func anUntiedModelGivesTheSameBits(fixture: ForwardFixture) throws {
        let (before, after, graph) = try logits(fixture, passes: ["untie"])
        #expect(before == after)
        #expect(graph["lm_head.weight"] != nil)
    }
}
