import Foundation
import Testing
import TestSupport

/// `resq passes --check`: what it says of plugins that are sound and of those that are not.
@Suite(.serialized) struct ConformanceCheckTests {
    let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        let helper = PluginTests.examples + "/resq_pass.py"
        try folder.write(Array(Data(contentsOf: URL(fileURLWithPath: helper))), to: "resq_pass.py")
        try folder.write(Array("raise ImportError('not here')\n".utf8), to: "numpy.py")
    }

    /// A pass over whole tensors or rows, for a Python without numpy; `body` makes `data` into `result`.
    private func check(
        _ body: String, plan: String = "", rows: Bool = false, dtype: String = "t.dtype", options: String = "", timeLimit: Int = 60
    ) async throws -> Outcome {
        let text = """
            import itertools, os, random, sys, time
            from resq_pass import Plugin, Step, Tensor, option
            plugin = Plugin("mine", version="1.0")
            counter = itertools.count()
            def plan(tensors, model, **options):
                \(plan.isEmpty ? "pass" : plan)
                for t in tensors:
                    yield Step([t.name], [Tensor(t.name, \(dtype), t.shape)], rows=\(rows ? "True" : "False"))
            @plugin.steps(plan, options=[\(options)])
            def change(inputs, outputs, **options):
                "Changes bytes."
                (data,) = inputs.values()
                data = bytes(data)
                \(body)
                return {outputs[0].name: result}
            plugin.run()
            """
        try folder.write(Array(text.utf8), to: "p.py")
        return try await resq(["passes", "--check", "p.py", "--time-limit", "\(timeLimit)"], in: folder.path)
    }

    @Test func soundPluginsPass() async throws {
        for rows in [false, true] {
            let outcome = try await check("result = data", rows: rows)
            expectSuccess(outcome)
            #expect(outcome.output.contains("ok      p.py: describes mine 1.0 with 1 passes"))
            #expect(outcome.output.contains("ok      mine.change: weights in BF16: 21 tensors in, 21 out, 21 of them computed"), "\(outcome.output)")
        }
        let chosen = try await check("result = data", options: "option('n', 'integer', 'A number.', low=3), option('t', 'type', 'A type.')")
        expectSuccess(chosen)
        let named = try await check("result = data", options: "option('file', 'path', 'A file.')")
        expectSuccess(named)
        #expect(named.output.contains("skipped mine.change: option 'file' must be given"))
    }

    @Test(.enabled(if: PluginTests.hasNumPy, "needs Python's numpy, which scripts/test installs")) func theExamplePasses() async throws {
        let outcome = try await resq(["passes", "--check", PluginTests.examples + "/example.py"], in: "/")
        expectSuccess(outcome)
        #expect(!outcome.output.contains("skipped"), "\(outcome.output)")
    }

    @Test func whatIsWrongIsSaid() async throws {
        let cases: [(String, Outcome)] = [
            ("has other bytes when it is asked for again", try await check("result = bytes([next(counter) % 256]) + data[1:]")),
            ("differ from those of the whole", try await check("result = data[:-1] + bytes([len(data) % 256])", rows: true)),
            ("is no finite number", try await check("result = bytes([255, 127]) * (len(data) // 2)", dtype: "'BF16' if t.dtype == 'BF16' else t.dtype")),
            ("plans differently when asked again", try await check("result = data", plan: "tensors = tensors[next(counter) % 2:]")),
            ("change returned 2559 bytes for 2560, as 'model.embed_tokens.weight' was planned: F32 [10, 64] (p.py, line ", try await check("result = data[1:]")),
            ("gave no answer for 5 s", try await check("time.sleep(60)", timeLimit: 5)),
            ("exited with code 3", try await check("os._exit(3)")),
            ("ValueError: no", try await check("raise ValueError('no')")),
        ]
        for (words, outcome) in cases {
            #expect(outcome.ending == .exited(1), "\(words): \(outcome.errors)")
            #expect(outcome.output.contains("failed  mine.change: weights in "), "\(outcome.output)")
            #expect(outcome.output.contains(words), "\(outcome.output)")
            #expect(outcome.errors.contains("checks failed"), "\(outcome.errors)")
        }
        let idle = try await check("result = data", plan: "tensors = [t for t in tensors if t.role == 'router']")
        expectSuccess(idle)
        #expect(idle.output.contains("skipped mine.change: weights in F32: it was shown 21 tensors and takes none; roles are attention-norm, down, embedding"), "\(idle.output)")
        let absent = try await resq(["passes", "--check", "none.py"], in: folder.path)
        #expect(absent.ending == .exited(1) && absent.output == "failed  none.py: there is no such file\n", "\(absent.output)")
        expectRefusal(try await resq(["passes", "--time-limit", "5"], in: folder.path), 64, saying: "--check")
    }
}
