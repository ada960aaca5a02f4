import Formats
import LinearAlgebra
import Models
import Passes
import Testing

private func windows(count: Int, context: Int) throws -> CalibrationWindows {
    let tokens = (0..<500).map { ($0 * $0 + 3 * $0) % 64 }
    return try CalibrationWindows(drawnFrom: tokens, count: count, context: context, seed: 5)
}

private let model = Digest(of: "a model")

@Suite struct CalibrationTests {
    /// The statistics of the first layer's input, computed here from the embeddings in `Double`.
    @Test func theFirstInputAgreesWithItsDefinition() throws {
        let scratch = try Scratch()
        let graph = try tinyModel()
        let windows = try windows(count: 5, context: 16)
        let path = scratch.path + "/statistics.safetensors"
        _ = try CalibrationRun(of: graph, windows: windows, kinds: .all, threadCount: 2)
            .run(output: path, work: scratch.path + "/work", model: model)

        let embedding = try floats(#require(graph["model.embed_tokens.weight"]).rows(0..<64)).map(Double.init)
        let gain = try floats(#require(graph["model.layers.0.input_layernorm.weight"]).rows(0..<1)).map(Double.init)
        var moment = [Double](repeating: 0, count: 32 * 32), mean = [Double](repeating: 0, count: 32)
        for token in windows.windows.joined() {
            let row = Array(embedding[token * 32..<(token + 1) * 32])
            let factor = 1 / (row.reduce(0) { $0 + $1 * $1 } / 32 + 1e-5).squareRoot()
            let normed = zip(row, gain).map { $0 * factor * $1 }
            for i in 0..<32 {
                mean[i] += normed[i] / 80
                for j in 0..<32 { moment[i * 32 + j] += normed[i] * normed[j] / 80 }
            }
        }
        let found = try Artifact(path)
        let scale = (0..<32).map { moment[$0 * 33] }.max() ?? 1
        for (a, b) in zip(try found.values("layers.0.attention.second_moment"), moment) { #expect(abs(Double(a) - b) <= 1e-6 * scale) }
        for (a, b) in zip(try found.values("layers.0.attention.mean"), mean) { #expect(abs(Double(a) - b) <= 1e-6) }
        #expect(try found.values("layers.0.attention.rows") == [80])
    }

    @Test func everyInputOfEveryLayerIsThere() throws {
        let scratch = try Scratch()
        let path = scratch.path + "/statistics.safetensors"
        _ = try CalibrationRun(of: try tinyModel(), windows: try windows(count: 2, context: 8), kinds: .all, threadCount: 1)
            .run(output: path, work: scratch.path + "/work", model: model)
        let found = try Artifact(path)
        for layer in 0..<3 {
            for (name, shape) in [("attention", [32, 32]), ("attention_output", [32, 32]), ("mlp", [32, 32]), ("mlp_output", [48, 48])] {
                #expect(try found.shape("layers.\(layer).\(name).second_moment") == shape)
            }
            for name in ["keys", "queries", "values"] { #expect(try found.shape("layers.\(layer).\(name).second_moment") == [2, 8, 8]) }
        }
        #expect(scratch.names == ["statistics.safetensors", "work"])
    }

    @Test func theResultDoesNotDependOnTheThreads() throws {
        let scratch = try Scratch()
        for threadCount in [1, 3] {
            _ = try CalibrationRun(of: try tinyModel(), windows: try windows(count: 5, context: 16), kinds: .all, threadCount: threadCount)
                .run(output: scratch.path + "/\(threadCount)", work: scratch.path + "/work", model: model)
        }
        #expect(try scratch.contents("1") == scratch.contents("3"))
    }

    @Test func anInterruptedRunGoesOnAtItsLayer() throws {
        let scratch = try Scratch()
        let windows = try windows(count: 4, context: 16)
        func run(to name: String, progress: Progress = Progress()) throws -> Int {
            try CalibrationRun(of: try tinyModel(), windows: windows, kinds: .all, threadCount: 1)
                .run(output: scratch.path + "/" + name, work: scratch.path + "/work", model: model, progress: progress)
        }
        #expect(try run(to: "whole") == 0)
        let stopper = Stopper()
        let progress = Progress { state in
            if state.phase == .calibrating, state.done * 3 > state.total { stopper.progress?.cancel() }
        }
        stopper.progress = progress
        #expect(throws: PipelineError.interrupted) { try run(to: "resumed", progress: progress) }
        #expect(!scratch.names.contains("resumed"))
        #expect(try run(to: "resumed") >= 1)
        #expect(try scratch.contents("resumed") == scratch.contents("whole"))
    }

    @Test func activationsThatAreNoNumbersNameLayerAndToken() throws {
        let scratch = try Scratch()
        let graph = try tinyModel(spoiling: "model.layers.1.mlp.down_proj.weight")
        let run = try CalibrationRun(of: graph, windows: try windows(count: 2, context: 8), kinds: .channels, threadCount: 1)
        #expect(throws: (any Error).self) { try run.run(output: scratch.path + "/out", work: scratch.path + "/work", model: model) }
        #expect(!scratch.names.contains("out"))
    }

    @Test func aModelWritesItsOwnTextAlikeEveryTime() throws {
        let network = try tinyModel().network(weightBudget: 1 << 20, threadCount: 2)
        let few = try CalibrationWindows(writtenBy: network, count: 2, context: 12, seed: 3, firstToken: 1)
        let more = try CalibrationWindows(writtenBy: network, count: 4, context: 12, seed: 3, firstToken: 1)
        #expect(few.windows == Array(more.windows.prefix(2)))
        #expect(Set(more.windows).count == 4 && more.windows.allSatisfy { $0.count == 12 && $0[0] == 1 })
        let other = try CalibrationWindows(writtenBy: network, count: 2, context: 12, seed: 4, firstToken: 1)
        #expect(other != few)
    }

    @Test func aTextShorterThanASequenceIsRefused() {
        #expect(throws: EvaluationError(.textTooShort(tokens: 3, context: 8))) {
            try CalibrationWindows(drawnFrom: [1, 2, 3], count: 1, context: 8, seed: 0)
        }
    }
}

/// Lets a listener reach the progress it listens to.
private final class Stopper: @unchecked Sendable {  // written once, before the run starts
    var progress: Progress?
}

/// Tensors of a written artifact, by name.
private struct Artifact {
    let source: any TensorSource

    init(_ path: String) throws { source = try openTensorSource(at: path) }

    private func place(_ name: String) throws -> Int { try #require(source.manifest.tensors.firstIndex { $0.name == name }) }

    func shape(_ name: String) throws -> [Int] { source.manifest.tensors[try place(name)].shape }

    func values(_ name: String) throws -> [Float] { floats(try source.bytes(ofTensorAt: try place(name))) }
}
