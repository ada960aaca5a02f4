import Formats
import Models
import Passes
import TestSupport
import Testing

/// `resq.lower`: the function stays, and with `take-back` the axes are those of the original model.
@Suite struct LoweringTests {
    private func applying(_ passes: String, to graph: TensorGraph) throws -> TensorGraph {
        var changed = graph
        for pass in try PassesTests.passes(passes) { try pass.rewrite(&changed, in: PassContext(onFallback: .error)) }
        return changed
    }

    private func logits(_ graph: TensorGraph, _ ids: [[Int]]) throws -> [[[Float]]] {
        try graph.network(weightBudget: 1 << 30, threadCount: 2).logits(ids)
    }

    private static let takingBack = "{use: resq.lower, with: {type: f32, take-back: true}}"

    /// Rotated once or twice and taken back, every weight is what folding the norms alone makes of it.
    @Test(arguments: ForwardFixture.all, [1, 2]) func everyWeightComesBack(fixture: ForwardFixture, rotations: Int) throws {
        let scratch = try Scratch()
        try fixture.write(to: scratch.path + "/model")
        let original = try graph(at: scratch.path + "/model")
        let turnsStream = !fixture.name.hasPrefix("gemma")
        let fraction = fixture.name == "llama-head-dim" ? 0.34 : 0.25
        func rotate(_ seed: Int, _ more: String) -> String {
            "{use: resq.rotate, with: {basis: random, high-fraction: \(fraction), seed: \(seed), residual: \(turnsStream)\(more)}}"
        }
        var passes = rotate(1, "")
        if rotations == 2 { passes = rotate(5, ", keys: false, down: false") + ", " + passes }
        let rotated = try applying(passes, to: original)
        let lowered = try applying(Self.takingBack, to: rotated)
        let expected = turnsStream ? try applying("{use: fold-norms}", to: original) : original
        #expect(lowered.tensors.map(\.info.name) == expected.tensors.map(\.info.name))
        #expect(lowered.online == nil)
        var turned = 0
        for (found, wanted) in zip(lowered.tensors, expected.tensors) {
            let rows = 0..<wanted.info.rowCount
            func values(_ tensor: LazyTensor) throws -> [Float] { floats(try tensor.encoded(as: .plain(.f32)).rows(rows)) }
            let scale = try values(wanted).map(abs).max() ?? 0
            #expect(largestDifference([try values(found)], [try values(wanted)]) <= 2e-6 * scale, "\(found.info.name)")
            if try values(try #require(rotated[found.info.name])) != values(wanted) { turned += 1 }
        }
        #expect(turned > 2 * (expected.model?.hyperparameters.layers ?? 0))
        let ids = fixture.sequences.map(\.ids)
        for (a, b) in zip(try logits(original, ids), try logits(lowered, ids)) { #expect(largestDifference(a, b) < 5e-5) }
    }

    /// What an artifact computes without rounding activations, an ordinary model computes as well.
    @Test(arguments: [
        ("{use: resq.lower, with: {type: f32}}", ContainerFormat.gguf), (takingBack, .gguf), (takingBack, .huggingFace),
    ]) func aLoweredFileComputesWhatTheArtifactDid(passes: String, format: ContainerFormat) throws {
        let folder = try TemporaryFolder()
        let model = try SmallModel().write(to: folder)
        let split = "{use: quantize, with: {rules: [{match: {role: linear}, type: {split: {high: int8, low: int4}}}]}}"
        let artifact = try folder.convert("{use: resq.rotate, with: {basis: random}}, \(split), {use: resq.online}", from: model, to: "a.gguf.zst", .ggufZst)
        let ids = [[0, 3, 1, 6, 2, 2, 5, 4, 7, 1]]
        var unrounded = try graph(at: artifact)
        unrounded.round(activations: 16, keyValues: 16)
        let expected = try logits(unrounded, ids)
        let path = try folder.convert(passes, from: artifact, to: "b" + (format == .gguf ? ".gguf" : ""), format)
        let lowered = try graph(at: path)
        #expect(lowered.online == nil)
        #expect(lowered.model?.architecture.identifier == "llama")
        #expect(lowered.tensors.allSatisfy { if case .split = $0.info.encoding { false } else { true } })
        for (a, b) in zip(expected, try logits(lowered, ids)) { #expect(largestDifference(a, b) > 0 && largestDifference(a, b) < 5e-5) }
        if format == .gguf, case .gguf(let metadata) = try openTensorSource(at: path).manifest.metadata {
            #expect(metadata["general.architecture"]?.string == "llama")
            #expect(metadata.keys.allSatisfy { !$0.hasPrefix("resq.online") && !$0.hasPrefix("resq.split") })
        }
    }

    @Test func aDamagedRotationIsRefused() throws {
        let folder = try TemporaryFolder()
        let model = try SmallModel().write(to: folder)
        let artifact = try folder.convert("{use: resq.rotate, with: {basis: random}}", from: model, to: "a.gguf", .gguf)
        let source = try openTensorSource(at: artifact)
        let index = try #require(source.manifest.tensors.firstIndex { $0.name == "residual_rotation.weight" })
        let stored = try source.bytes(ofTensorAt: index).array
        var contents = try folder.read("a.gguf")
        let place = try #require((0..<contents.count - 64).first { contents[$0..<$0 + 64].elementsEqual(stored[..<64]) })
        contents[place + 3] ^= 0x02
        try folder.write(contents, to: "a.gguf")
        #expect {
            _ = try folder.convert(Self.takingBack, from: artifact, to: "b", .huggingFace)
        } throws: { "\($0)".contains("tensor 'residual_rotation.weight'") && "\($0)".contains("an orthogonal matrix") }
    }

    /// A file of before rotations were kept runs, and is lowered as far as it can be.
    @Test func anEarlierFileIsRead() throws {
        let folder = try TemporaryFolder()
        let model = try SmallModel().write(to: folder)
        let artifact = try folder.convert("{use: resq.rotate, with: {basis: random, residual: false, values: false}}", from: model, to: "a.gguf", .gguf)
        let ids = [[0, 3, 1, 6, 2, 2, 5, 4, 7, 1]]
        let expected = try logits(try graph(at: artifact), ids)
        var contents = try folder.read("a.gguf")
        func replace(_ old: String, by new: String) throws {
            let (old, new) = (Array(old.utf8), Array(new.utf8))
            let place = try #require((0..<contents.count - old.count).first { contents[$0..<$0 + old.count].elementsEqual(old) })
            contents.replaceSubrange(place..<place + old.count, with: new)
        }
        for key in ["residual.rotated", "values.rotated", "down.transformed"] { try replace("resq.online.\(key)", by: "resq.onlime.\(key)") }
        try replace("resq.online.version\u{4}\0\0\0\u{3}", by: "resq.online.version\u{4}\0\0\0\u{1}")
        try folder.write(contents, to: "a.gguf")
        #expect(try logits(try graph(at: artifact), ids) == expected)
    }
}
