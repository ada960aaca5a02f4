import Formats
import LinearAlgebra
import Models
import Passes
import Testing

/// Bases that come from files.
@Suite struct BasesFileTests {
    private let fixture = ForwardFixture.named("llama-gqa-tied")
    private let scratch: Scratch
    private let original: TensorGraph

    init() throws {
        scratch = try Scratch()
        try fixture.write(to: scratch.path + "/model")
        original = try graph(at: scratch.path + "/model")
    }

    private func rotated(by file: String, _ more: String = "") throws -> TensorGraph {
        var changed = original
        let recipe = try Recipe.parse(
            "{recipe: 1, name: t, passes: [{use: resq.rotate, with: {basis: '\(file)', high-fraction: 0.25\(more)}}]}", file: "t")
        try Registry.builtIn.pass(for: recipe.passes[0]).rewrite(&changed, in: PassContext(onFallback: .error))
        return changed
    }

    private func write(_ tensors: [(name: String, shape: [Int], values: [Float])]) throws -> String {
        let infos = try tensors.map { try TensorInfo(name: $0.name, encoding: .plain(.f32), shape: $0.shape) }
        let layout = try Safetensors.layout(tensors: infos, fileName: "")
        let path = scratch.path + "/bases.safetensors"
        let output = try OutputFile(path: path, byteCount: layout.byteCount)
        let header = layout.files[0].header
        try output.write(header.bytes, at: 0)
        for placed in layout.files[0].tensors {
            let data = TensorBytes(bytes(tensors[placed.index].values))
            try output.write(data.bytes, at: placed.byteOffset)
        }
        try output.finish()
        return path
    }

    private func bases(spoiling change: (inout [(name: String, shape: [Int], values: [Float])]) -> Void = { _ in }) throws -> String {
        var generator = SeededGenerator(seed: 9)
        func draw(_ name: String, _ shape: [Int]) throws -> (name: String, shape: [Int], values: [Float]) {
            let values = try (0..<shape.dropLast(2).reduce(1, *)).flatMap { _ in
                try randomOrthogonal(order: shape[shape.count - 1], from: &generator).elements.map { Float($0) }
            }
            return (name, shape, values)
        }
        var tensors = try ["residual", "layers.0.residual", "layers.1.residual"].map { try draw($0, [32, 32]) }
        for layer in 0..<2 { tensors += [try draw("layers.\(layer).values", [2, 8, 8]), try draw("layers.\(layer).keys", [8, 8])] }
        change(&tensors)
        return try write(tensors)
    }

    @Test(arguments: ["", ", per-layer: true"]) func givenBasesPreserveTheLogits(option: String) throws {
        let ids = fixture.sequences.map(\.ids)
        let expected = try original.network(weightBudget: 1 << 30, threadCount: 2).logits(ids)
        let found = try rotated(by: try bases(), option).network(weightBudget: 1 << 30, threadCount: 2).logits(ids)
        for (a, b) in zip(expected, found) { #expect(largestDifference(a, b) > 0 && largestDifference(a, b) < 5e-5) }
    }

    @Test func aFileOfAnotherModelIsRefusedBeforeDataIsRead() throws {
        let missing = try bases { $0.removeAll { $0.name == "layers.1.keys" } }
        #expect(throws: FormatError(.missing(field: "tensor", name: "layers.1.keys"), path: missing)) { try rotated(by: missing) }
        _ = try rotated(by: missing, ", keys: false")
        let shared = try bases { $0.removeAll { $0.name == "layers.1.residual" } }
        #expect(throws: FormatError(.missing(field: "tensor", name: "layers.1.residual"), path: shared)) { try rotated(by: shared, ", per-layer: true") }
        #expect(throws: RecipeError.self) { try rotated(by: "random", ", per-layer: true") }
        let wider = try bases { $0[0] = ("residual", [16, 64], $0[0].values) }
        #expect {
            try rotated(by: wider)
        } throws: { "\($0)".contains("tensor 'residual'") && "\($0)".contains("[32, 32], as this model has") }
    }

    @Test(arguments: [Float.nan, 0.5]) func whatIsNotOrthogonalIsRefused(value: Float) throws {
        let path = try bases { $0[3].values[70] = value }
        let graph = try rotated(by: path)
        #expect {
            _ = try #require(graph["model.layers.0.self_attn.v_proj.weight"]).rows(0..<1)
        } throws: { "\($0)".contains("tensor 'layers.0.values'") && "\($0)".contains("an orthogonal matrix") }
    }

    /// Turned into the principal directions of what was seen, the model sees moments that are diagonal and ascending.
    @Test(arguments: [false, true]) func statisticsGiveTheirPrincipalDirections(perLayer: Bool) throws {
        let tokens = (0..<600).map { ($0 * $0 + 3 * $0) % 32 }
        let windows = try CalibrationWindows(drawnFrom: tokens, count: 6, context: 64, seed: 5)
        func calibrate(_ graph: TensorGraph, _ name: String) throws -> [String: [Float]] {
            _ = try CalibrationRun(of: graph, windows: windows, kinds: .all, threadCount: 2)
                .run(output: scratch.path + "/" + name, work: scratch.path + "/work", model: Digest(of: name))
            let source = try openTensorSource(at: scratch.path + "/" + name)
            return Dictionary(
                uniqueKeysWithValues: try source.manifest.tensors.enumerated().map { ($1.name, floats(try source.bytes(ofTensorAt: $0))) })
        }
        _ = try calibrate(original, "before.safetensors")
        let seen = try calibrate(try rotated(by: scratch.path + "/before.safetensors", ", rotation: identity, per-layer: \(perLayer)"), "after.safetensors")

        func check(_ names: [String], order: Int, skips: [Int] = [0]) throws {
            var sum = [Double](repeating: 0, count: order * order)
            for name in names {
                let values = try #require(seen[name])
                for skip in skips { for index in sum.indices { sum[index] += Double(values[skip + index]) } }
            }
            let diagonal = (0..<order).map { sum[$0 * (order + 1)] }
            let scale = try #require(diagonal.max())
            #expect(diagonal == diagonal.sorted())
            for row in 0..<order { for column in 0..<order where column != row { #expect(abs(sum[row * order + column]) < 2e-5 * scale) } }
        }
        let places = (0..<2).map { ["layers.\($0).attention.second_moment", "layers.\($0).mlp.second_moment"] }
        for layers in perLayer ? places : [places.flatMap(\.self)] { try check(layers, order: 32) }
        for layer in 0..<2 {
            for head in 0..<2 { try check(["layers.\(layer).values.second_moment"], order: 8, skips: [head * 64]) }
            try check(["layers.\(layer).keys.second_moment"], order: 8, skips: [0, 64])
        }
    }
}
