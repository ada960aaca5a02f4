import Foundation
import Testing
import TestSupport

/// What passes promise of themselves, and that nobody believes it unseen.
@Suite(.serialized) struct PluginPromiseTests {
    let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        try SmallModel().write(to: folder)
        let helper = PluginTests.examples + "/resq_pass.py"
        try folder.write(Array(Data(contentsOf: URL(fileURLWithPath: helper))), to: "resq_pass.py")
        try folder.write(Array("raise ImportError('not here')\n".utf8), to: "numpy.py")
    }

    /// A plugin whose pass keeps names, types and shapes; `body` makes `data` into `result`.
    private func write(_ body: String, promises: String, plugin: String = "", step: String = "Step([t.name], [Tensor(t.name, t.dtype, t.shape)])") throws {
        let text = """
            import itertools, struct
            from resq_pass import Plugin, Same, Step, Tensor
            plugin = Plugin("mine", version="1.0"\(plugin))
            counter = itertools.count()
            def plan(tensors, model):
                for t, after in zip(tensors, tensors[1:] + tensors[-1:]):
                    step = \(step)
                    if step:
                        yield step
            @plugin.steps(plan, \(promises))
            def change(inputs, outputs):
                "Changes bytes."
                data = bytes(inputs[outputs[0].name])
                \(body)
                return {outputs[0].name: result}
            plugin.run()
            """
        try folder.write(Array(text.utf8), to: "p.py")
    }

    private func run(_ with: String = "", output: String = "o.gguf", _ more: String...) async throws -> Outcome {
        try folder.write(Array("recipe: 1\nplugins: [p.py]\npasses: [{use: mine.change\(with)}]\n".utf8), to: "r.yaml")
        return try await resq(["run", "r.yaml", "--input", "model", "--output", output] + more, in: folder.path)
    }

    /// BF16 numbers times another.
    private static func times(_ factor: String) -> String {
        #"values = struct.unpack("<%dH" % (len(data) // 2), data); "#
            + #"floats = [struct.unpack("<f", struct.pack("<I", v << 16))[0] * \#(factor) for v in values]; "#
            + #"result = b"".join(struct.pack("<I", struct.unpack("<I", struct.pack("<f", f))[0] + 0x8000)[2:] for f in floats)"#
    }

    @Test func aLiarIsRefused() async throws {
        try write("result = data", promises: "preserves_function=True")
        expectSuccess(try await run())
        #expect(folder.names.contains("o.gguf"))
        try write(Self.times("1.02"), promises: "preserves_function=True")
        let refused = try await run(", with: {match: '*1.mlp.up*'}", output: "lie.gguf")
        expectRefusal(refused, 1, saying: "'mine.change' promises to keep what the model computes")
        #expect(!folder.names.contains("lie.gguf"))
        let plan = try await resq(["plan", "r.yaml", "--input", "model"], in: folder.path)
        expectSuccess(plan)
        // Without the promise it is a pass like others.
        try write(Self.times("1.02"), promises: "preserves_function=False")
        expectSuccess(try await run())
    }

    @Test func aLiarIsToldByTheCheck() async throws {
        try write("result = data[:-1] + bytes([data[-1] ^ 128])", promises: "preserves_function=True")
        let check = try await resq(["passes", "--check", "p.py"], in: folder.path)
        #expect(check.ending == .exited(1) && check.output.contains("promises to keep what the model computes"), "\(check.output)")
    }

    /// A model that no longer runs does not compute what it did.
    @Test func aPassThatBreaksTheModelIsToldByTheCheck() async throws {
        try write("result = data", promises: "preserves_function=True", step: "Step([t.name], [Tensor('x.' + t.name, t.dtype, t.shape)])")
        let check = try await resq(["passes", "--check", "p.py"], in: folder.path)
        #expect(check.ending == .exited(1) && check.output.contains("failed  mine.change: weights in F32: ") && check.output.contains("are missing"), "\(check.output)")
    }

    /// Passes of ours that promise it keep the function of a small model, and one that does not is not asked.
    @Test(arguments: ["fold-norms", "untie", "hadamard"]) func oursKeepIt(name: String) async throws {
        let check = try await resq(["passes", "--check", name], in: "/")
        expectSuccess(check)
        #expect(check.output.contains("ok      \(name): weights in BF16: 21 tensors in"), "\(check.output)")
    }

    @Test func whatIsReadAndWrittenMustBeSaid() async throws {
        try write("result = data", promises: "writes=['*norm.weight', {'role': 'linear'}]")
        expectSuccess(try await run(", with: {match: '*norm.weight'}"))
        expectRefusal(try await run(), saying: "it writes 'lm_head.weight', and says of itself that it does not")
        // A norm is computed from itself and the tensor after it, which stays.
        let step = "Step([t.name, after.name], [Tensor(t.name, t.dtype, t.shape), Same(after.name, of=after.name)])"
        let pair = ", with: {match: [model.norm.weight, lm_head.weight]}"
        let once = "\(step) if t.name == 'model.norm.weight' else None"
        for (reads, isSaid) in [("'lm_head.weight'", true), ("'*up_proj.weight'", false)] {
            try write("result = data", promises: "writes='*norm.weight', reads=\(reads)", step: once)
            let outcome = try await run(pair)
            if isSaid { expectSuccess(outcome) } else { expectRefusal(outcome, saying: "it reads 'lm_head.weight'") }
        }
    }

    @Test func aSecondLookFindsWhatDependsOnChance() async throws {
        try write("result = bytes([next(counter) % 256]) + data[1:]", promises: "")
        expectSuccess(try await run(", with: {match: '*norm.weight'}"))
        for output in ["twice.gguf", "twice.gguf.zst", "twice"] {
            let refused = try await run(", with: {match: '*up_proj.weight'}", output: output, "--twice")
            expectRefusal(refused, 1, saying: "computed again, it has other bytes")
            #expect(!folder.names.contains(output) || output == "twice")
        }
        try write("result = data", promises: "")
        expectSuccess(try await run(", with: {match: '*up_proj.weight'}", output: "sound.gguf", "--twice"))
    }

    #if os(Linux)
    @Test func memoryBeyondThePromiseEndsThePlugin() async throws {
        try write("result = data", promises: "", plugin: ", memory_limit=500_000_000")
        expectSuccess(try await run())
        try write("hoard = bytearray(200_000_000); result = data", promises: "", plugin: ", memory_limit=100_000_000")
        let refused = try await run()
        expectRefusal(refused, saying: "p.py", "'mine.change'", "bytes of memory where it promised at most 100000000")
    }
    #endif
}
