import Formats
import class Foundation.FileManager
import Models
import Passes
import Synchronization
import TestSupport
import Testing

/// `resq.rotate` with `basis: pca`, and gptq onto what it splits.
@Suite struct PrincipalBasesTests {
    private let folder: TemporaryFolder
    private let model: String
    private let tokens: [Int]
    private let text: String

    init() throws {
        folder = try TemporaryFolder()
        model = try SmallModel().write(to: folder)
        var generator = SplitMix64(seed: 4)
        // Few tokens often, so that the second moments are far from round.
        tokens = (0..<900).map { _ in
            let (a, b) = (Int.random(in: 0..<8, using: &generator), Int.random(in: 0..<8, using: &generator))
            return a * b / 8
        }
        let header = "{'descr': '<i4', 'fortran_order': False, 'shape': (\(tokens.count),), }"
        var bytes: [UInt8] = [0x93]
        bytes += Array("NUMPY".utf8)
        bytes += [1, 0, UInt8(header.utf8.count), 0]
        bytes += Array(header.utf8)
        for token in tokens { bytes += [UInt8(token), 0, 0, 0] }
        text = try folder.write(bytes, to: "tokens.npy")
    }

    private func conversion(_ passes: String, to name: String) throws -> Conversion {
        let recipe = try Recipe.parse(
            "{recipe: 1, name: t, calibration: {text: '\(text)', sequences: 6, context: 48, seed: 2}, passes: [\(passes)]}", file: "t")
        return try Conversion(
            input: model, passes: try recipe.passes.map { try PassRegistry.builtIn.pass(for: $0) },
            output: Output(path: folder.path(name), format: .gguf), onFallback: .error, provenance: ("text", "t"), architectures: .builtIn,
            calibration: recipe.calibration)
    }

    private func graph(_ name: String) throws -> TensorGraph {
        try TensorGraph(try openTensorSource(at: name.hasPrefix("/") ? name : folder.path(name)), architectures: .builtIn)
    }

    private func logits(_ graph: TensorGraph) throws -> [[[Float]]] {
        try graph.network(weightBudget: 1 << 30, threadCount: 2).logits([Array(tokens[200..<260])])
    }

    /// The model computes what it did, and what its layers see has moments that are diagonal, the largest last.
    @Test func whatIsSeenStandsAlongTheAxes() throws {
        _ = try conversion("{use: resq.rotate, with: {rotation: identity}}", to: "a.gguf").run(threadCount: 2)
        let (before, after) = (try logits(try graph(model)), try logits(try graph("a.gguf")))
        for (a, b) in zip(before, after) { #expect(largestDifference(a, b) > 0 && largestDifference(a, b) < 5e-5) }
        let windows = try CalibrationWindows(drawnFrom: tokens, count: 6, context: 48, seed: 2)
        _ = try CalibrationRun(of: try graph("a.gguf"), windows: windows, kinds: .all, threadCount: 2)
            .run(output: folder.path("seen"), work: folder.path("work"), model: Digest(of: "a"))
        let source = try openTensorSource(at: folder.path("seen"))
        let seen = Dictionary(
            uniqueKeysWithValues: try source.manifest.tensors.enumerated().map { ($1.name, floats(try source.bytes(ofTensorAt: $0))) })
        func check(_ names: [String], order: Int, at starts: [Int] = [0]) throws {
            var sum = [Double](repeating: 0, count: order * order)
            for name in names {
                let values = try #require(seen[name])
                for start in starts { for index in sum.indices { sum[index] += Double(values[start + index]) } }
            }
            let diagonal = (0..<order).map { sum[$0 * (order + 1)] }
            let scale = try #require(diagonal.max())
            // Where nothing was seen, rounding decides the order.
            for (a, b) in zip(diagonal, diagonal.dropFirst()) { #expect(a <= b + 1e-6 * scale) }
            for row in 0..<order { for column in 0..<order where column != row { #expect(abs(sum[row * order + column]) < 2e-5 * scale) } }
        }
        try check((0..<2).flatMap { ["layers.\($0).attention.second_moment", "layers.\($0).mlp.second_moment"] }, order: 64)
        for layer in 0..<2 {
            for head in 0..<2 { try check(["layers.\(layer).values.second_moment"], order: 16, at: [head * 256]) }
            try check(["layers.\(layer).keys.second_moment"], order: 16, at: [0, 256])
        }
    }

    @Test func weighingWithTheWeightsGivesOtherBasesOfTheSameFunction() throws {
        _ = try conversion("{use: resq.rotate, with: {weigh-weights: true}}", to: "a.gguf").run(threadCount: 2)
        _ = try conversion("{use: resq.rotate}", to: "b.gguf").run(threadCount: 2)
        let before = try logits(try graph(model))
        for name in ["a.gguf", "b.gguf"] {
            for (a, b) in zip(before, try logits(try graph(name))) { #expect(largestDifference(a, b) < 5e-5) }
        }
        let rows = try ["a.gguf", "b.gguf"].map { floats(try #require(try graph($0)["model.embed_tokens.weight"]).rows(0..<8)) }
        #expect(largestDifference([rows[0]], [rows[1]]) > 1e-2)
    }

    @Test func neitherThreadsNorAnInterruptionChangeTheBytes() throws {
        let passes = "{use: resq.rotate}, {use: quantize, with: {rules: [{match: {role: linear}, type: {split: {high: int8, low: int4}}, rounding: gptq}]}}"
        _ = try conversion(passes, to: "whole").run(threadCount: 1)
        let stopping = Mutex<Passes.Progress?>(nil)
        let progress = Passes.Progress { state in
            // After the first layer of two.
            if state.phase == .calibrating, state.done > state.total / 2 { stopping.withLock { $0 }?.cancel() }
        }
        stopping.withLock { $0 = progress }
        let work = folder.path("work")
        #expect(throws: PipelineError.interrupted) {
            try conversion(passes, to: "resumed").run(threadCount: 3, workDirectory: work, progress: progress)
        }
        #expect(try FileManager.default.subpathsOfDirectory(atPath: work).contains { $0.hasSuffix("/bases-0.safetensors") })
        _ = try conversion(passes, to: "resumed").run(threadCount: 3, workDirectory: work)
        #expect(try folder.read("resumed") == folder.read("whole"))
        #expect(try FileManager.default.contentsOfDirectory(atPath: work) == ["lock"])
    }

    /// With everything split, and with what a head-wise layout gathers alone.
    @Test(arguments: ["{role: linear}", "{role: o}"]) func gptqDoesLessDamage(match: String) throws {
        var damages: [Double] = []
        let before = try logits(try graph(model))[0]
        for rounding in ["nearest", "gptq"] {
            let rule = "{match: \(match), type: {split: {high: int5, low: int3}}, rounding: \(rounding)}"
            // What the runtime rounds is not what weights are rounded against.
            _ = try conversion("{use: resq.rotate}, {use: resq.online}, {use: quantize, with: {rules: [\(rule)]}}", to: rounding).run(threadCount: 2)
            var rounded = try graph(rounding)
            rounded.round(activations: 16, keyValues: 16)
            let after = try logits(rounded)[0]
            damages.append(zip(before.joined(), after.joined()).reduce(0) { $0 + Double(($1.0 - $1.1) * ($1.0 - $1.1)) })
        }
        #expect(damages[1] < 0.8 * damages[0], "\(damages)")
    }

    @Test func aPlanNeedsNoCalibration() throws {
        let plan = try conversion("{use: resq.rotate}, {use: resq.online}", to: "a.gguf").plan(threadCount: 1)
        #expect(plan.tensors.contains { $0.name == "blk.1.attn_key_rotation.weight" })
        #expect(folder.names == ["model", "tokens.npy"])
    }
}
