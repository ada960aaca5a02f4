import Formats
import Foundation
import Models
import Passes
import Testing

/// Rotations, judged by the logits: function-preserving to F32 rounding, for every architecture that is accepted.
@Suite struct RotationTests {
    private func rotated(_ fixture: ForwardFixture, _ passes: String, in scratch: Scratch) throws -> (original: TensorGraph, rotated: TensorGraph) {
        try fixture.write(to: scratch.path + "/model")
        let original = try graph(at: scratch.path + "/model")
        var changed = original
        let recipe = try Recipe.parse("{recipe: 1, name: t, passes: [\(passes)]}", file: "t")
        let context = PassContext(onFallback: .error)
        for pass in recipe.passes { try Registry.builtIn.pass(for: pass).rewrite(&changed, in: context) }
        return (original, changed)
    }

    private func logits(_ graph: TensorGraph, _ fixture: ForwardFixture) throws -> [[[Float]]] {
        try graph.network(weightBudget: 1 << 30, threadCount: 2).logits(fixture.sequences.map(\.ids))
    }

    private func difference(_ fixture: ForwardFixture, _ passes: String) throws -> Float {
        let scratch = try Scratch()
        let (original, changed) = try rotated(fixture, passes, in: scratch)
        let (before, after) = (try logits(original, fixture), try logits(changed, fixture))
        return zip(before, after).map(largestDifference).max() ?? .nan
    }

    /// A share that every head of a fixture can be cut by.
    private func fraction(_ fixture: ForwardFixture) -> Double { fixture.name == "llama-head-dim" ? 0.34 : 0.25 }

    static let streamTurns = ForwardFixture.all.filter { !$0.name.hasPrefix("gemma") }

    @Test(arguments: streamTurns, ["residual", "values", "keys", "down"])
    func eachRotationPreservesTheLogits(fixture: ForwardFixture, part: String) throws {
        let switches = ["residual", "values", "keys", "down"].map { "\($0): \($0 == part)" }.joined(separator: ", ")
        let distance = try difference(
            fixture, "{use: resq.rotate, with: {basis: random, high-fraction: \(fraction(fixture)), seed: 3, \(switches)}}")
        // Equal bits would mean that nothing was rotated.
        #expect(distance > 0 && distance < 5e-5)
    }

    @Test(arguments: streamTurns, ["identity", "hadamard", "random"])
    func allTogetherPreserveTheLogits(fixture: ForwardFixture, basis: String) throws {
        let distance = try difference(
            fixture, "{use: resq.rotate, with: {basis: \(basis), high-fraction: \(fraction(fixture)), low-fraction: \(fraction(fixture)), rotation: random-hadamard}}")
        #expect(distance > 0 && distance < 5e-5)
    }

    @Test(arguments: streamTurns) func quarotPreservesTheLogits(fixture: ForwardFixture) throws {
        let distance = try difference(fixture, "{use: hadamard, with: {seed: 1}}")
        #expect(distance > 0 && distance < 5e-5)
    }

    @Test(arguments: ForwardFixture.all.filter { $0.name.hasPrefix("gemma") })
    func aStreamBehindNormsIsRefusedAndTheRestIsTurned(fixture: ForwardFixture) throws {
        #expect {
            _ = try difference(fixture, "{use: resq.rotate, with: {basis: random, high-fraction: 0.25}}")
        } throws: { error in
            guard case PipelineError.cannotApply("resq.rotate", let why) = error else { return false }
            return why.contains("attention-post-norm, mlp-post-norm") && why.contains("residual: false")
        }
        let distance = try difference(fixture, "{use: resq.rotate, with: {basis: random, high-fraction: 0.25, residual: false}}")
        #expect(distance > 0 && distance < 5e-5)
    }

    @Test(arguments: ForwardFixture.all.filter { $0.name.hasPrefix("gemma") })
    func quarotIsRefusedWhereTheStreamCannotTurn(fixture: ForwardFixture) throws {
        #expect {
            _ = try difference(fixture, "{use: hadamard}")
        } throws: { error in
            guard case PipelineError.cannotApply("hadamard", let why) = error else { return false }
            return why.contains("residual: false")
        }
        let distance = try difference(fixture, "{use: hadamard, with: {residual: false}}")
        #expect(distance > 0 && distance < 5e-5)
    }

    /// Bases found in a calibration, as they are, weighed with the weights, and a layer's own, through a file.
    @Test(arguments: ForwardFixture.all, ["seed: 0", "weigh-weights: true", "per-layer: true"])
    func principalDirectionsPreserveTheLogits(fixture: ForwardFixture, option: String) throws {
        let scratch = try Scratch()
        try fixture.write(to: scratch.path + "/model")
        let text = try SequentialRoundingTests.tokenFile(scratch, vocabulary: 32)
        let turnsStream = !fixture.name.hasPrefix("gemma")
        let recipe = try Recipe.parse(
            """
            {recipe: 1, name: t, calibration: {text: \(text), sequences: 8, context: 24}, passes: [{use: resq.rotate, with:
              {high-fraction: \(fraction(fixture)), \(option), residual: \(turnsStream)}}]}
            """, file: "t")
        _ = try Conversion(
            input: scratch.path + "/model", passes: try recipe.passes.map { try Registry.builtIn.pass(for: $0) },
            output: Output(path: scratch.path + "/out", format: .gguf), onFallback: .error, provenance: ("text", "t"), architectures: .builtIn,
            calibration: recipe.calibration
        ).run(threadCount: 2)
        let before = try logits(try graph(at: scratch.path + "/model"), fixture)
        let after = try logits(try graph(at: scratch.path + "/out"), fixture)
        let distance = zip(before, after).map(largestDifference).max() ?? .nan
        #expect(distance > 0 && distance < 5e-5)
    }

    /// Rows of rotated tensors do not depend on which rows are asked for, how often, and in which order.
    @Test func runsOfRowsAreTheSameRows() throws {
        let scratch = try Scratch()
        let fixture = ForwardFixture.named("llama-gqa-tied")
        let (_, graph) = try rotated(fixture, "{use: resq.rotate, with: {basis: random, high-fraction: 0.25}}", in: scratch)
        for tensor in graph.tensors {
            let whole = floats(try tensor.rows(0..<tensor.info.rowCount))
            let width = tensor.info.columnCount
            for row in (0..<tensor.info.rowCount).reversed() {
                #expect(floats(try tensor.rows(row..<row + 1)) == Array(whole[row * width..<(row + 1) * width]))
            }
            #expect(floats(try tensor.rows(0..<tensor.info.rowCount)) == whole)
        }
    }

    @Test(arguments: [
        ("high-fraction: 0.01", "0.01 of 8 dimensions is an empty subspace"),
        ("high-fraction: 0.4", "an odd number"),
    ]) func subspacesThatDoNotExistAreRefused(options: String, why: String) throws {
        #expect {
            _ = try difference(ForwardFixture.named("llama-gqa-tied"), "{use: resq.rotate, with: {basis: random, residual: false, \(options)}}")
        } throws: { "\($0)".contains(why) }
    }

    @Test func aSecondOnlineRotationIsRefused() throws {
        let once = "{use: resq.rotate, with: {basis: random, high-fraction: 0.25}}"
        #expect(throws: PipelineError.cannotApply(pass: "hadamard", why: "queries and keys have a rotation already")) {
            _ = try difference(ForwardFixture.named("llama-gqa-tied"), once + ", {use: hadamard}")
        }
        #expect(throws: PipelineError.cannotApply(pass: "hadamard", why: "the inputs of down are transformed already")) {
            _ = try difference(ForwardFixture.named("llama-gqa-tied"), once + ", {use: hadamard, with: {keys: false}}")
        }
    }
}
