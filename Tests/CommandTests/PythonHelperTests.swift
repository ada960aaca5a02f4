import Foundation
import Testing
import TestSupport

/// What the helper for plugins in Python says of mistakes: in the author's words, with the author's line.
@Suite(.enabled(if: PluginTests.hasNumPy, "needs Python's numpy, which scripts/test installs"), .serialized) struct PythonHelperTests {
    /// What is wrong, the plugin behind the imports, and words of the verdict.
    static let cases: [(String, String, [String])] = [
        // What functions return. The decorator of the function that is shown first stands in line 4.
        ("another shape of as many", step("return {outputs[0].name: x.T}"), ["change returned shape [64, 32] for [32, 64], as 'model.layers.0.self_attn.k_proj.weight' was planned", "(p.py, line "]),
        ("another count", step("return {outputs[0].name: x[1:]}"), ["change returned shape [63, 64] for [64, 64]"]),
        ("bytes of another count", step("return {outputs[0].name: bytes(7)}"), ["change returned 7 bytes for "]),
        ("another name", step("return {'foo': x}"), ["change returned 'foo', and no 'model.layers.0.self_attn.q_proj.weight'"]),
        ("an array", step("return x"), ["change returned a ndarray, expected a dictionary with the outputs by name"]),
        ("nothing", step("pass"), ["change returned nothing, expected a dictionary"]),
        ("one number for all rows", "@plugin.metric()\ndef m(logits, next):\n    return logits.mean()\n", ["m returned shape [] for [5]: a metric is one number per row (p.py, line 4)"]),
        ("a number for each logit", "@plugin.metric\ndef m(logits, next):\n    return logits\n", ["m returned shape [5, 64] for [5]"]),
        ("fewer weights", "@plugin.rounding\ndef r(x, dtype):\n    return x[:, :3]\n", ["r returned shape [96, 3] for [96, 64]"]),
        ("no statistic of channels", "@plugin.statistic\ndef s(x):\n    return x\n", ["s returned shape [10, 64] for [64]: a statistic is one number per channel"]),
        ("NaN", "@plugin.metric\ndef m(logits, next):\n    return logits.sum(axis=1) * np.nan\n", ["gives NaN, which is no number, for row 0 of 5"]),
        // Whose line it is.
        ("a mistake inside numpy", step("y = 1\n    np.linalg.inv(x[:3])\n    return {}"), ["LinAlgError", "(p.py, line 10)"]),
        // What is planned.
        ("no plan", "@plugin.steps(lambda tensors, model: None)\ndef change(inputs, outputs):\n    'A.'\n", ["the plan of 'change' returned nothing", "yield each"]),
        ("one step", "@plugin.steps(lambda tensors, model: Step([tensors[0].name]))\ndef change(inputs, outputs):\n    'A.'\n", ["the plan of 'change' returned a Step"]),
        ("a tensor for a step", plan("t"), ["has a Tensor where it needs a Step"]),
        ("a tensor for a name", plan("Step([t], [Same(t.name, of=t.name)])"), ["are names of tensors, not a Tensor: write [tensor.name]"]),
        ("inputs that are no list", plan("Step(t.name, [])"), ["the inputs of a Step are a list, not a str"]),
        ("outputs that are no list", plan("Step([t.name], Tensor(t.name, 'F32', t.shape))"), ["the outputs of a Step are a list, not a Tensor"]),
        ("a type of numpy's", plan("Step([t.name], [Tensor(t.name, np.float32, t.shape)])"), ["names and types are texts, not a type"]),
        ("a note that JSON has not", plan("Step([t.name], [], note={1})"), ["TypeError: Object of type set is not JSON serializable"]),
        // What is declared.
        ("two of a name", "@plugin.rows\ndef a_b(x):\n    return x\n@plugin.rows(name='a-b')\ndef c(x):\n    return x\n", ["p.py, line 7: there are two things named 'a-b'"]),
        ("an option that is no argument", "@plugin.rows(options=[option('factr', 'number', 'A.', default=1)])\ndef a(x, factor):\n    return x\n", ["p.py, line 4: 'a': a(x, factor) is called with", "factr", "'factor'"]),
        ("a plan without the option", "def plan(tensors, model):\n    return []\n@plugin.steps(plan, options=[option('n', 'number', 'A.', default=1)])\ndef a(inputs, outputs, n):\n    'A.'\n", ["'a': plan(tensors, model) is called with", "'n'"]),
        ("a default of numpy's", "@plugin.rows(options=[option('n', 'number', 'A.', default=np.float32(1))])\ndef a(x, n):\n    return x\n", ["the declaration of 'a' has what JSON cannot say"]),
        ("steps without a plan", "@plugin.steps\ndef a(inputs, outputs):\n    'A.'\n", ["write @plugin.steps(plan)"]),
        ("a type without sizes", "@plugin.type\nclass t:\n    'A.'\n", ["write @plugin.type(block=ELEMENTS, bytes=BYTES)"]),
        ("a type without functions", "@plugin.type(block=2, bytes=4)\nclass t:\n    'A.'\n", ["type 't' needs two functions, 'encode' and 'decode'"]),
    ]

    /// A pass over q, k and v in F32.
    private static func step(_ body: String) -> String {
        """
        def plan(tensors, model):
            return [Step([t.name], [Tensor(t.name, t.float_dtype, t.shape)], decoded=True) for t in tensors if t.role in ("q", "k", "v")]
        @plugin.steps(plan)
        def change(inputs, outputs):
            (x,) = inputs.values()
            \(body)

        """
    }

    /// A pass that plans something for every tensor.
    private static func plan(_ what: String) -> String {
        "@plugin.steps(lambda tensors, model: [\(what) for t in tensors])\ndef change(inputs, outputs):\n    'A.'\n"
    }

    private static func check(_ body: String, in folder: TemporaryFolder, imports: String = "import numpy as np\n") async throws -> Outcome {
        let helper = PluginTests.examples + "/resq_pass.py"
        try folder.write(Array(Data(contentsOf: URL(fileURLWithPath: helper))), to: "resq_pass.py")
        let text = "\(imports)from resq_pass import File, Plugin, Same, Step, Tensor, option\nplugin = Plugin('mine', version='1')\n\(body)plugin.run()\n"
        try folder.write(Array(text.utf8), to: "p.py")
        return try await resq(["passes", "--check", "p.py", "--time-limit", "100"], in: folder.path)
    }

    @Test(arguments: cases.indices) func mistakesAreExplained(index: Int) async throws {
        let (name, body, words) = Self.cases[index]
        let outcome = try await Self.check(body, in: TemporaryFolder())
        #expect(outcome.ending == .exited(1), "\(name): \(outcome.output)")
        for word in words { #expect(outcome.output.contains(word), "\(name): \(outcome.output)") }
    }

    /// The one that the others are made of does work.
    @Test func theSoundOneWorks() async throws {
        for body in [Self.step("return {outputs[0].name: x}"), Self.step("return {outputs[0].name: x.astype('f8').tolist()}")] {
            let outcome = try await Self.check(body, in: TemporaryFolder())
            expectSuccess(outcome)
            #expect(outcome.output.contains("21 tensors in, 21 out, 6 of them computed"), "\(outcome.output)")
        }
    }

    @Test func whoNeedsNumPyIsTold() async throws {
        for (kind, arguments) in [("rows", "x"), ("metric", "logits, next"), ("rounding", "x, dtype"), ("statistic", "x")] {
            let folder = try TemporaryFolder()
            try folder.write(Array("raise ImportError('not here')\n".utf8), to: "numpy.py")
            let outcome = try await Self.check("@plugin.\(kind)\ndef a(\(arguments)):\n    return x\n", in: folder, imports: "")
            #expect(outcome.ending == .exited(1))
            #expect(outcome.output.contains("p.py, line 3: @plugin.\(kind) needs numpy: "), "\(outcome.output)")
        }
    }
}
