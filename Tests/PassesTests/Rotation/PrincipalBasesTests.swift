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
        text = try folder.write(numPyBytes(tokens), to: "tokens.npy")
    }

    private func conversion(_ passes: String, from input: String? = nil, to name: String, limit: Double? = nil) throws -> Conversion {
        let recipe = try Recipe.parse(
            "{recipe: 1, name: t, calibration: {text: '\(text)', sequences: 6, context: 48, seed: 2}, passes: [\(passes)]}", file: "t")
        return try Conversion(
            input: input ?? model, passes: try recipe.passes.map { try Registry.builtIn.pass(for: $0) },
            output: Output(path: folder.path(name), format: .gguf), onFallback: .error, provenance: ("text", "t"), architectures: .builtIn,
            calibration: recipe.calibration, maximumRelativeError: limit)
    }

    private func graph(_ name: String) throws -> TensorGraph {
        try TensorGraph(try openTensorSource(at: name.hasPrefix("/") ? name : folder.path(name)), architectures: .builtIn)
    }

    private func logits(_ graph: TensorGraph) throws -> [[[Float]]] {
        try graph.network(weightBudget: 1 << 30, threadCount: 2).logits([Array(tokens[200..<260])])
    }

    /// The model computes what it did, and what its layers see has moments that are diagonal, the largest last.
    @Test(arguments: [false, true]) func whatIsSeenStandsAlongTheAxes(perLayer: Bool) throws {
        _ = try conversion("{use: resq.rotate, with: {rotation: identity, per-layer: \(perLayer)}}", to: "a.gguf").run(threadCount: 2)
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
        let places = (0..<2).map { ["layers.\($0).attention.second_moment", "layers.\($0).mlp.second_moment"] }
        for layers in perLayer ? places : [places.flatMap(\.self)] { try check(layers, order: 64) }
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

    /// The stream of an ordinary model cannot turn: its axes become the original's, and nothing else changes.
    @Test(arguments: ["{use: resq.lower, with: {type: f32}}", "{use: resq.lower, with: {type: f32, take-back: true}}"])
    func rotationsOfLayersAreTakenBack(passes: String) throws {
        let rotate = "{use: resq.rotate, with: {per-layer: true, keys: false, down: false}}"
        _ = try conversion(rotate, to: "a.gguf").run(threadCount: 2)
        guard case .gguf(let metadata) = try openTensorSource(at: folder.path("a.gguf")).manifest.metadata else { Issue.record("no GGUF"); return }
        #expect(metadata["general.architecture"]?.string == "resq" && metadata["resq.online.residual.per_layer"]?.bool == true)
        _ = try conversion(passes, from: folder.path("a.gguf"), to: "b.gguf").run(threadCount: 2)
        let (expected, lowered) = (try graph(model), try graph("b.gguf"))
        #expect(lowered.online == nil)
        for (a, b) in zip(try logits(expected), try logits(lowered)) { #expect(largestDifference(a, b) > 0 && largestDifference(a, b) < 5e-5) }
    }

    @Test(arguments: ["", ", group: 24", ", group: 24, zero-points: true"]) func neitherThreadsNorAnInterruptionChangeTheBytes(group: String) throws {
        let passes = "{use: resq.rotate}, {use: quantize, with: {rules: [{match: {role: linear}, type: {split: {high: int8, low: int4\(group)}}, rounding: gptq}]}}"
        _ = try conversion(passes, to: "whole").run(threadCount: 1)
        let stopping = Mutex<Passes.Progress?>(nil)
        let progress = Passes.Progress { state in
            // In the first layer of two, which is finished then.
            if state.phase == .calibrating, state.done > 0 { stopping.withLock { $0 }?.cancel() }
        }
        stopping.withLock { $0 = progress }
        let work = folder.path("work")
        #expect(throws: PipelineError.interrupted) {
            try conversion(passes, to: "resumed").run(threadCount: 3, workDirectory: work, progress: progress)
        }
        #expect(try FileManager.default.subpathsOfDirectory(atPath: work).contains { $0.hasSuffix("/bases-0.safetensors") })
        _ = try conversion(passes, to: "resumed").run(threadCount: 3, workDirectory: work)
        #expect(try folder.read("resumed") == folder.read("whole"))
    }

    /// The written codes and scales are those of the weights, in whatever order they were rounded.
    @Test(arguments: ["", ", act-order: true", ", sweeps: 1", ", scale-search: weighted"]) func groupsRoundedByGPTQAreWrittenInTheirPlaces(options: String) throws {
        let type = "{split: {high: int8, low: int4, group: 24, zero-points: true}}"
        let passes = "{use: resq.rotate}, {use: quantize, with: {rules: [{match: {role: linear}, type: \(type), rounding: gptq}]\(options)}}"
        #expect {
            _ = try conversion(passes, to: "a.gguf", limit: 0.02).run(threadCount: 2)
        } throws: { error in
            guard case PipelineError.tooInaccurate(_, let error, _) = error else { return false }
            return error < 0.2
        }
        _ = try conversion(passes, to: "a.gguf", limit: 0.2).run(threadCount: 2)
    }

    /// Weights rounded behind one that was rounded otherwise are others.
    @Test func zeroPointsOfOtherWeightsCount() throws {
        func passes(_ zeroPoints: Bool) -> String {
            let down = "{match: {role: down}, type: {split: {low: int4, zero-points: \(zeroPoints)}}}"
            return "{use: quantize, with: {rules: [{match: {role: [q, k, v, o]}, type: int4, rounding: gptq}, \(down)]}}"
        }
        let work = folder.path("work")
        _ = try conversion(passes(true), to: "first").run(threadCount: 1, workDirectory: work)
        _ = try conversion(passes(false), to: "second").run(threadCount: 1, workDirectory: work)
        _ = try conversion(passes(false), to: "fresh").run(threadCount: 1)
        #expect(try folder.read("second") == folder.read("fresh"))
    }

    /// A rotation of keys is in no weight, and layers behind rounded keys see it all the same.
    @Test func rotationsOfKeysCount() throws {
        func passes(_ seed: Int) -> String {
            let rotate = "{use: resq.rotate, with: {basis: random, residual: false, values: false, down: false, high-fraction: 0, seed: \(seed)}}"
            return rotate + ", {use: resq.online}, {use: quantize, with: {rules: [{match: {role: linear}, type: int4, rounding: gptq}]}}"
        }
        let work = folder.path("work")
        _ = try conversion(passes(0), to: "first").run(threadCount: 1, workDirectory: work)
        _ = try conversion(passes(1), to: "second").run(threadCount: 1, workDirectory: work)
        _ = try conversion(passes(1), to: "fresh").run(threadCount: 1)
        #expect(try folder.read("second") == folder.read("fresh"))
        let comparison = try Comparison(try graph("first"), try graph("second"), threadCount: 1)
        let keys = comparison.tensors.filter { $0.name.hasSuffix("attn_key_rotation.weight") }
        #expect(keys.count == 2 && keys.allSatisfy { !$0.isIdentical })
    }

    /// Bases of what rounded activations leave are others.
    @Test func roundedActivationsCount() throws {
        func passes(_ bits: Int) -> String { "{use: resq.online, with: {activations: \(bits)}}, {use: resq.rotate, with: {keys: false}}" }
        let work = folder.path("work")
        _ = try conversion(passes(4), to: "first").run(threadCount: 1, workDirectory: work)
        _ = try conversion(passes(2), to: "second").run(threadCount: 1, workDirectory: work)
        _ = try conversion(passes(2), to: "fresh").run(threadCount: 1)
        #expect(try folder.read("second") == folder.read("fresh"))
    }

    /// What was found stays in the work directory, without what it was found with, and serves whoever needs the same.
    @Test func basesAndRoundedWeightsAreUsedAgain() throws {
        let passes = "{use: resq.rotate}, {use: quantize, with: {rules: [{match: {role: linear}, type: {split: {high: int8, low: int4}}, rounding: gptq}]}}"
        let work = folder.path("work")
        _ = try conversion(passes, to: "first").run(threadCount: 1, workDirectory: work)
        let files = try FileManager.default.subpathsOfDirectory(atPath: work)
        let names: Set<Substring> = Set(files.compactMap { $0.split(separator: "/").last }.filter { $0.contains(".") })
        #expect(names == ["bases.safetensors", "rounded-0.safetensors", "rounded-1.safetensors"])
        let worked = Mutex<[String]>([])
        let progress = Passes.Progress { state in
            if [.calibrating, .rounding].contains(state.phase) { worked.withLock { $0.append("\(state.phase)") } }
        }
        _ = try conversion(passes + ", {use: resq.online}", to: "second").run(threadCount: 1, workDirectory: work, progress: progress)
        #expect(worked.withLock { $0 } == [])
        _ = try conversion(passes + ", {use: resq.online}", to: "third").run(threadCount: 1)
        #expect(try folder.read("second") == folder.read("third"))
        // Other rules need the same bases, and weights of their own.
        _ = try conversion(passes.replacing("int4", with: "int3"), to: "fourth").run(threadCount: 1, workDirectory: work, progress: progress)
        #expect(Set(worked.withLock { $0 }) == ["rounding"])
    }

    @Test func basesOfAnotherModelAreRefusedBeforeAnythingIsDone() throws {
        let other = try SmallModel(seed: 2).write(to: folder, as: "other")
        let work = folder.path("work")
        _ = try conversion("{use: resq.rotate}", to: "a.gguf").run(threadCount: 1, workDirectory: work)
        let bases = try #require(try FileManager.default.subpathsOfDirectory(atPath: work).first { $0.hasSuffix("bases.safetensors") })
        let passes = "{use: resq.rotate, with: {basis: '\(work)/\(bases)'}}, {use: resq.online}"
        // Those of this model serve again.
        _ = try conversion(passes, to: "b.gguf").run(threadCount: 1)
        #expect {
            _ = try conversion(passes, from: other, to: "c.gguf").run(threadCount: 1)
        } throws: { "\($0)".contains("bases.safetensors: ") && "\($0)".contains("model.sha256") && "\($0)".contains("of this model") }
        #expect(!folder.names.contains { $0.hasPrefix("c.gguf") })
    }

    /// What a plan can know of the calibration, it says.
    @Test func aCalibrationThatCannotBeIsRefusedWhenPlanned() throws {
        func plan(_ calibration: String, _ bytes: [UInt8]) throws -> [Diagnostic] {
            let text = try folder.write(bytes, to: calibration.hasPrefix("ids") ? "ids.npy" : "text.txt")
            let recipe = try Recipe.parse(
                "{recipe: 1, name: t, calibration: {text: '\(text)', \(calibration.split(separator: ";")[1])}, passes: [{use: resq.rotate}]}", file: "t")
            return try Conversion(
                input: model, passes: try recipe.passes.map { try Registry.builtIn.pass(for: $0) },
                output: Output(path: folder.path("out"), format: .gguf), onFallback: .error, provenance: ("text", "t"),
                architectures: .builtIn, calibration: recipe.calibration
            ).plan(threadCount: 1).diagnostics
        }
        func expectRefusal(_ calibration: String, _ bytes: [UInt8], saying words: String) {
            #expect { _ = try plan(calibration, bytes) } throws: { "\($0)".contains(words) }
        }
        let letters = Array(repeating: Array("abc ".utf8), count: 10).flatMap(\.self)
        expectRefusal("text; context: 24", letters, saying: "the text has 20 tokens, a window needs 24")
        expectRefusal("text; context: 129", letters, saying: "129")
        expectRefusal("ids; context: 4", numPyBytes([1, 2, 9, 3, 4]), saying: "9")
        expectRefusal("ids; context: 6", numPyBytes([1, 2, 3, 3, 4]), saying: "the text has 5 tokens, a window needs 6")
        #expect(try plan("text; context: 20, sequences: 3", letters) == [
            Diagnostic(.warning, "the calibration has 60 tokens for a residual stream of 64: more sequences make better bases")
        ])
        #expect(try plan("text; context: 20, sequences: 4", letters).isEmpty)
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
