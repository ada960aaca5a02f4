import Formats
import class Foundation.FileManager
import Models
import Passes
import Testing

private func cast(_ input: String, to path: String) throws -> Conversion {
    let recipe = try Recipe.parse("{recipe: 1, name: t, passes: [{use: cast, with: {to: bf16}}]}", file: "t")
    return try Conversion(
        input: input, passes: try recipe.passes.map { try Registry.builtIn.pass(for: $0) },
        output: Output(path: path, format: .safetensors), onFallback: .error, provenance: ("recipe text", "t"),
        architectures: .builtIn)
}

@Suite struct ConversionTests {
    @Test(arguments: [1, 2, 5]) func theBytesDoNotDependOnTheThreads(threadCount: Int) throws {
        let scratch = try Scratch()
        let input = try scratch.model(count: 9)
        _ = try cast(input, to: scratch.path + "/one.safetensors").run(threadCount: 1)
        _ = try cast(input, to: scratch.path + "/many.safetensors").run(threadCount: threadCount)
        #expect(try scratch.contents("one.safetensors") == scratch.contents("many.safetensors"))
    }

    @Test func theArtifactRecordsRecipeAndInputs() throws {
        let scratch = try Scratch()
        let input = try scratch.model(count: 1)
        let path = scratch.path + "/out.safetensors"
        _ = try cast(input, to: path).run(threadCount: 1)
        guard case .safetensors(let metadata) = try openTensorSource(at: path).manifest.metadata else {
            Issue.record("not safetensors")
            return
        }
        #expect(metadata["resq.recipe"] == "recipe text")
        let stored = try MappedFile(path: input).bytes
        let digest = Digest(of: stored.bytes)
        #expect(metadata["resq.inputs"] == "\(digest)  in.safetensors")
    }

    @Test func anInterruptedRunLeavesNothingAndGoesOnWhereItWas() throws {
        let scratch = try Scratch()
        let input = try scratch.model(count: 20)
        _ = try cast(input, to: scratch.path + "/whole.safetensors").run(threadCount: 1)

        let path = scratch.path + "/out.safetensors"
        let stopper = Stopper()
        let progress = Progress { state in
            if state.phase == .writing, state.done > state.total / 2 { stopper.progress?.cancel() }
        }
        stopper.progress = progress
        let interrupted = try cast(input, to: path)
        #expect(throws: PipelineError.interrupted) {
            try interrupted.run(threadCount: 1, workDirectory: scratch.path + "/work", progress: progress)
        }
        #expect(!scratch.names.contains("out.safetensors"))
        let report = try cast(input, to: path).run(threadCount: 1, workDirectory: scratch.path + "/work")
        #expect(report.resumedTensorCount >= 10 && report.resumedTensorCount < 20)
        #expect(try scratch.contents("out.safetensors") == scratch.contents("whole.safetensors"))
    }

    @Test func withoutAWorkDirectoryNothingStaysBehind() throws {
        let scratch = try Scratch()
        let input = try scratch.model(count: 3, spoiling: 2)
        let conversion = try cast(input, to: scratch.path + "/out.safetensors")
        #expect(throws: PipelineError.notFinite(tensor: "w2.weight", index: 5)) { try conversion.run(threadCount: 2) }
        #expect(scratch.names == ["in.safetensors"])
    }

    @Test func aPlainCopyRefusesWeightsThatAreNotNumbers() throws {
        let scratch = try Scratch()
        let input = try scratch.model(count: 2, spoiling: 1)
        let copy = try Conversion(
            input: input, passes: [], output: Output(path: scratch.path + "/out.safetensors", format: .safetensors),
            onFallback: .error, provenance: nil, architectures: .builtIn)
        #expect(throws: PipelineError.notFinite(tensor: "w1.weight", index: 5)) { try copy.run(threadCount: 1) }
    }

    @Test func theOutputIsNeverAnInput() throws {
        let scratch = try Scratch()
        let input = try scratch.model(count: 1)
        let before = try scratch.contents("in.safetensors")
        #expect(throws: PipelineError.outputIsInput(path: input)) { try cast(input, to: input) }
        try FileManager.default.createSymbolicLink(
            atPath: scratch.path + "/link.safetensors", withDestinationPath: input)
        #expect(throws: PipelineError.self) { try cast(input, to: scratch.path + "/link.safetensors") }
        #expect(try scratch.contents("in.safetensors") == before)
    }

    @Test func planningReadsNoTensorData() throws {
        let source = try MemorySource([
            ("a.weight", .plain(.f32), [4, 32], bytes([Float](repeating: 1, count: 128)))
        ])
        var graph = try TensorGraph(source, architectures: .builtIn)
        let recipe = try Recipe.parse(
            "{recipe: 1, name: t, passes: [{use: quantize, with: {rules: [{match: '*', type: q8_0}]}}]}", file: "t")
        try Registry.builtIn.pass(for: recipe.passes[0]).rewrite(&graph, in: PassContext(onFallback: .error))
        #expect(graph.tensors[0].info.encoding == .block(.q8_0))
        #expect(source.requestedByteCounts == [0])
        _ = try graph.tensors[0].rows(0..<4)
        #expect(source.requestedByteCounts == [512])
    }

    @Test func aTypeThatDoesNotFitIsRefusedWithItsRule() throws {
        let scratch = try Scratch()
        let input = try scratch.model(count: 1, columns: 33)
        let recipe = try Recipe.parse(
            "recipe: 1\nname: t\npasses:\n- use: quantize\n  with:\n    rules:\n    - {match: '*', type: q8_0}\n", file: "r.yaml")
        let error = #expect(throws: PipelineError.self) {
            try Conversion(
                input: input, passes: try recipe.passes.map { try Registry.builtIn.pass(for: $0) },
                output: Output(path: scratch.path + "/o.gguf", format: .gguf), onFallback: .error, provenance: nil,
                architectures: .builtIn)
        }
        #expect(error?.description.hasPrefix("r.yaml:7:7: tensor 'w0.weight': Q8_0 does not fit shape [64, 33]") == true, "\(error as Any)")
    }

    @Test func everyBuiltInRecipeFitsTheBuiltInPasses() throws {
        for name in RecipeLibrary.names {
            for step in try Recipe.load(name).passes { _ = try Registry.builtIn.pass(for: step) }
        }
    }
}

/// Lets a listener reach the progress it listens to.
private final class Stopper: @unchecked Sendable {  // written once, before the run starts
    var progress: Progress?
}
