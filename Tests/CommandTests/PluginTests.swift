import Foundation
import Testing
import TestSupport

/// Passes of plugins, from outside: what they do to a model, and that they are like built-in ones.
@Suite struct PluginTests {
    let folder: TemporaryFolder
    let model = SmallModel()

    init() throws {
        folder = try TemporaryFolder()
        try model.write(to: folder)
        let helper = Self.examples + "/resq_pass.py"
        try folder.write(Array(Data(contentsOf: URL(fileURLWithPath: helper))), to: "resq_pass.py")
    }

    static let examples = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../../Examples/python-pass").standardizedFileURL.path

    /// Whether Python has numpy; `scripts/test` installs it.
    static let hasNumPy = commandSucceeds("python3 -c 'import numpy'")

    /// Passes over bytes, for which the standard library is enough.
    private static let bytesPlugin = """
        import hashlib
        from resq_pass import Plugin, Same, Step, Tensor, option
        plugin = Plugin("raw", version="2.5")

        def same(tensors, model, **options):
            for t in tensors:
                yield Step([t.name], [Tensor(t.name, t.dtype, t.shape)], note="flipped")

        @plugin.steps(same, options=[option("mask", "integer", "What is flipped.", low=0, high=255, default=128)])
        def flip(inputs, outputs, mask):
            "Flips bits of every byte."
            (data,) = inputs.values()
            return {outputs[0].name: bytes(b ^ mask for b in data)}

        def by_rows(tensors, model):
            for t in tensors:
                yield Step([t.name], [Tensor(t.name, t.dtype, t.shape)], rows=True)

        @plugin.steps(by_rows)
        def invert(inputs, outputs):
            "Inverts every byte, by rows."
            (data,) = inputs.values()
            return {outputs[0].name: bytes(b ^ 255 for b in data)}

        def halves(tensors, model):
            for t in tensors:
                yield Step([t.name], [Tensor(t.name + ".high", "U8", t.shape), Same(t.name + ".whole", of=t.name), Tensor(t.name + ".low", "U8", t.shape)])

        @plugin.steps(halves)
        def bytes_apart(inputs, outputs):
            "Puts high and low bytes apart."
            (data,) = inputs.values()
            return {outputs[0].name: bytes(data[1::2]), outputs[1].name: bytes(data[0::2])}

        def drops(tensors, model):
            yield Step([t.name for t in tensors])

        @plugin.steps(drops)
        def leave_out(inputs, outputs):
            "Leaves tensors out."

        def renames(tensors, model):
            for t in tensors:
                yield Step([t.name], [Same("new." + t.name, of=t.name)])

        @plugin.steps(renames)
        def call(inputs, outputs):
            "Renames tensors."

        def swaps(tensors, model):
            layers = {}
            for t in tensors:
                layers.setdefault(t.layer, {})[t.role] = t
            for layer in layers.values():
                if "k" in layer:
                    k, v = layer["k"], layer["v"]
                    yield Step([k.name, v.name], [Tensor(k.name, k.dtype, k.shape), Tensor(v.name, v.dtype, v.shape)])

        @plugin.steps(swaps)
        def swap(inputs, outputs):
            "Exchanges k and v."
            k, v = outputs
            return {k.name: inputs[v.name], v.name: inputs[k.name]}

        plugin.run(threads=3)
        """

    private func write(_ text: String, to name: String) throws { try folder.write(Array(text.utf8), to: name) }

    /// Writes the plugin of bytes, for a Python that has no numpy.
    private func writeBytesPlugin() throws {
        try write(Self.bytesPlugin, to: "raw.py")
        try write("raise ImportError('not here')\n", to: "numpy.py")
    }

    private func run(_ passes: String, plugin: String = "raw.py", output: String = "o.safetensors", more: [String] = []) async throws -> Outcome {
        try write("recipe: 1\nplugins: [\(plugin)]\npasses:\n\(passes)\n", to: "r.yaml")
        return try await resq(["run", "r.yaml", "--input", "model", "--output", output] + more, in: folder.path)
    }

    @Test func bytesComeBackAsThePluginMadeThem() async throws {
        try writeBytesPlugin()
        for threads in ["1", "4"] {
            let outcome = try await run(
                "- {use: raw.flip, with: {match: '*proj.weight', mask: 129}}\n- {use: raw.invert, with: {match: '*norm.weight'}}",
                more: ["--threads", threads])
            expectSuccess(outcome)
            let written = try tensors(of: "o.safetensors")
            let before = model.weights()
            #expect(Set(written.keys) == Set(before.keys))
            for (name, bytes) in before {
                let mask: UInt8 = name.hasSuffix("proj.weight") ? 129 : name.hasSuffix("norm.weight") ? 255 : 0
                #expect(written[name] == bytes.map { $0 ^ mask }, "\(name)")
            }
        }
    }

    @Test func tensorsAreSplitDroppedRenamedAndGrouped() async throws {
        try writeBytesPlugin()
        let outcome = try await run(
            """
            - {use: raw.swap}
            - {use: raw.bytes-apart, with: {match: 'lm_head.weight'}}
            - {use: raw.leave-out, with: {match: '*norm.weight'}}
            - {use: raw.call, with: {match: '*embed*'}}
            """)
        expectSuccess(outcome)
        let written = try tensors(of: "o.safetensors")
        var expected = model.weights()
        for name in expected.keys where name.hasSuffix("norm.weight") { expected[name] = nil }
        for layer in 0..<model.layers {
            let (k, v) = ("model.layers.\(layer).self_attn.k_proj.weight", "model.layers.\(layer).self_attn.v_proj.weight")
            (expected[k], expected[v]) = (expected[v], expected[k])
        }
        let head = expected.removeValue(forKey: "lm_head.weight") ?? []
        expected["lm_head.weight.whole"] = head
        expected["lm_head.weight.high"] = head.indices.filter { $0 % 2 == 1 }.map { head[$0] }
        expected["lm_head.weight.low"] = head.indices.filter { $0 % 2 == 0 }.map { head[$0] }
        expected["new.model.embed_tokens.weight"] = expected.removeValue(forKey: "model.embed_tokens.weight")
        #expect(written == expected)
    }

    @Test func pluginsAreListedPlannedExplainedAndRecorded() async throws {
        try writeBytesPlugin()
        let recipe = "- {use: raw.flip, with: {match: '*proj.weight', mask: 1}}"
        let listed = try await resq(["passes", "raw.flip", "--plugin", "raw.py"], in: folder.path)
        expectSuccess(listed)
        #expect(listed.output.contains("raw.flip: Flips bits of every byte."))
        #expect(listed.output.contains("mask (integer from 0 to 255, default 128): What is flipped."))

        expectSuccess(try await run(recipe, output: "o.gguf"))
        let plan = try await resq(["plan", "r.yaml", "--input", "model"], in: folder.path)
        expectSuccess(plan)
        let line = plan.output.split(separator: "\n").first { $0.contains("blk.0.ffn_up.weight") }
        #expect(line?.contains("raw.flip: flipped") == true, "\(plan.output)")

        let explained = try await resq(["explain", "r.yaml", "--input", "model", "model.layers.0.mlp.up_proj.weight"], in: folder.path)
        expectSuccess(explained)
        for part in ["blk.0.ffn_up.weight: BF16 [256, 64]", "raw.flip: flipped", #"raw.flip {"mask": 1} (raw 2.5, "#, "read 'model.layers.0.mlp.up_proj.weight'"] {
            #expect(explained.output.contains(part), "\(explained.output)")
        }
        expectRefusal(
            try await resq(["explain", "r.yaml", "--input", "model", "model.layers.0.mlp.up_prj.weight"], in: folder.path),
            saying: "did you mean 'model.layers.0.mlp.up_proj.weight'")

        let header = try await resq(["inspect", "o.gguf", "--json"], in: folder.path)
        expectSuccess(header)
        let digest = try await output(of: "shasum -a 256 raw.py 2>/dev/null || sha256sum raw.py", in: folder.path).prefix(64)
        #expect(digest.count == 64 && header.output.contains("\(digest)  raw.py (raw 2.5)"), "\(header.output)")
    }

    @Test func optionsAreCheckedLikeBuiltInOnes() async throws {
        try writeBytesPlugin()
        let mistakes: [(String, [String])] = [
            ("{use: raw.flip, with: {maks: 1}}", ["r.yaml:4:26", "'maks'", "did you mean 'mask'"]),
            ("{use: raw.flip, with: {mask: 256}}", ["r.yaml:4:32", "'mask'", "from 0 to 255"]),
            ("{use: raw.flp}", ["r.yaml:4:9", "did you mean 'raw.flip'"]),
            ("{use: raw.flip, with: {match: '*nothing'}}", ["matches no tensor"]),
            ("{use: flip}", ["r.yaml:4:9", "unknown pass 'flip'", "did you mean 'raw.flip'"]),
            ("{use: other.thing}", ["unknown pass 'other.thing'", "under 'plugins'", "'--plugin'"]),
            ("{use: quantize, with: {rules: [{match: '*', type: q8_0, rounding: other.thing}]}}", ["other.thing", "'--plugin'"]),
        ]
        for (step, words) in mistakes {
            let outcome = try await run("- " + step)
            expectRefusal(outcome)
            for word in words { #expect(outcome.errors.contains(word), "\(outcome.errors)") }
        }
    }

    /// What a program prints is shown while it runs, but no more than a screen or two of it.
    @Test func whatAPluginPrintsIsShown() async throws {
        let print = #"print("now", outputs[0].name)"#
        for (words, count) in [(print, 1), ("for i in range(300): " + print, 100)] {
            try write(Self.bytesPlugin.replacingOccurrences(of: "(data,) = inputs.values()\n    return {outputs[0].name: bytes(b ^ mask", with: "\(words)\n    (data,) = inputs.values()\n    return {outputs[0].name: bytes(b ^ mask"), to: "raw.py")
            try write("raise ImportError('not here')\n", to: "numpy.py")
            let recipe = "- {use: raw.flip, with: {match: 'model.norm.weight'}}"
            let outcome = try await run(recipe)
            expectSuccess(outcome)
            let lines = outcome.errorLines.count { $0 == "raw.py: now model.norm.weight" }
            #expect(count == 1 ? lines == 1 : lines == 200, "\(outcome.errors)")
            #expect(outcome.errors.contains("raw.py: (what it writes from here on is left out)") == (count > 1), "\(outcome.errors)")
            let quiet = try await run(recipe, more: ["--quiet"])
            expectSuccess(quiet)
            #expect(!quiet.errors.contains("now"), "\(quiet.errors)")
        }
        let check = try await resq(["passes", "--check", "raw.py"], in: folder.path)
        #expect(check.errors.contains("raw.py: now model.embed_tokens.weight"), "\(check.errors)")
    }

    @Test func whatTakesNothingIsSaid() async throws {
        try write(Self.bytesPlugin.replacingOccurrences(of: "if \"k\" in layer", with: "if \"K\" in layer"), to: "raw.py")
        try write("raise ImportError('not here')\n", to: "numpy.py")
        for outcome in [try await run("- {use: raw.swap, with: {match: '*layers.0.*norm*'}}"), try await resq(["plan", "r.yaml", "--input", "model"], in: folder.path)] {
            expectSuccess(outcome)
            #expect((outcome.output + outcome.errors).contains("warning: pass 'raw.swap' was shown 2 tensors and takes none (roles are attention-norm, mlp-norm)"), "\(outcome)")
        }
    }

    /// A number that is none is blamed on whoever had a hand in it.
    @Test func whatIsNotFiniteIsTracedToThePlugin() async throws {
        try write(Self.bytesPlugin.replacingOccurrences(of: "bytes(b ^ mask for b in data)", with: "bytes([192, 127]) * (len(data) // 2)"), to: "raw.py")
        try write("raise ImportError('not here')\n", to: "numpy.py")
        expectRefusal(
            try await run("- {use: raw.flip, with: {match: '*0.input_layernorm.weight'}}", output: "o.gguf", more: ["--quiet"]),
            saying: "tensor 'blk.0.attn_norm.weight': element 0 is not a finite number",
            "it comes from pass 'raw.flip' of plugin ./raw.py, which made 'model.layers.0.input_layernorm.weight' of it")
    }

    @Test func whatCannotBeStartedIsExplained() async throws {
        for (text, words) in [("print('hello')\n", "its first line does not say what runs it"), ("#!/none/python9\nprint()\n", "says that '/none/python9' runs it, which there is not")] {
            try write(text, to: "tool")
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: folder.path("tool"))
            expectRefusal(try await resq(["passes", "--plugin", "./tool"], in: folder.path), saying: "plugin ./tool: cannot be started: ", words)
        }
    }

    @Test func pluginsAreFoundBesideTheRecipeAndNowhereElse() async throws {
        try writeBytesPlugin()
        try folder.makeFolder("inside")
        try write("recipe: 1\nplugins: [../raw.py]\npasses: [{use: raw.flip}]\n", to: "inside/r.yaml")
        expectSuccess(try await resq(["plan", "\(folder.path)/inside/r.yaml", "--input", "\(folder.path)/model"], in: "/"))
        try write("recipe: 1\nplugins: [raw.py]\npasses: [{use: raw.flip}]\n", to: "inside/r.yaml")
        expectRefusal(
            try await resq(["plan", "inside/r.yaml", "--input", "model"], in: folder.path), saying: "inside/r.yaml:2:11", "no such file")
        try write("echo never", to: "plain.sh")
        expectRefusal(try await resq(["passes", "--plugin", "plain.sh"], in: folder.path), saying: "plain.sh", "neither")
    }

    @Test func thePluginIsNeverWrittenOver() async throws {
        try writeBytesPlugin()
        let before = try folder.read("raw.py")
        expectRefusal(try await run("- {use: raw.flip}", output: "raw.py", more: ["--force"]), 73, saying: "raw.py")
        #expect(try folder.read("raw.py") == before)
    }

    /// A plugin that fails at one tensor until it is mended: what others made is kept, what it made is made again.
    @Test func aRunGoesOnAfterThePluginIsMended() async throws {
        try writeBytesPlugin()
        let recipe = "- {use: raw.flip, with: {match: '*proj.weight'}}"
        let broken = Self.bytesPlugin.replacingOccurrences(
            of: "return {outputs[0].name: bytes(b ^ mask for b in data)}",
            with: "if '1.mlp.down' in outputs[0].name: raise ValueError('I cannot do this one')\n    return {outputs[0].name: bytes(b ^ 7 for b in data)}")
        #expect(broken != Self.bytesPlugin)
        try write(broken, to: "raw.py")
        let arguments = ["--work", "work", "--threads", "1"]
        let failed = try await run(recipe, output: "o.gguf", more: arguments + ["--quiet"])
        expectRefusal(failed, saying: "raw.py", "'raw.flip'", "'model.layers.1.mlp.down_proj.weight'", "I cannot do this one")
        #expect(!folder.names.contains("o.gguf"))

        try write(Self.bytesPlugin, to: "raw.py")
        let mended = try await run(recipe, output: "o.gguf", more: arguments)
        expectSuccess(mended)
        #expect(mended.errors.contains("tensors were there from an interrupted run"), "\(mended.errors)")
        let afterwards = try folder.read("o.gguf")
        expectSuccess(try await run(recipe, output: "o.gguf"))
        #expect(try folder.read("o.gguf") == afterwards)
    }

    @Test(.enabled(if: hasNumPy, "needs Python's numpy, which scripts/test installs")) func theExampleDoesWhatItSays() async throws {
        try FileManager.default.removeItem(atPath: folder.path("resq_pass.py"))
        let plugin = Self.examples + "/example.py"
        let outcome = try await run(
            "- {use: example.scale, with: {factor: -1, match: {role: linear}}}\n- {use: example.cut, with: {match: '*embed*'}}\n- {use: example.balance}",
            plugin: plugin)
        expectSuccess(outcome)
        let written = try tensors(of: "o.safetensors")
        let before = model.weights()
        for (name, bytes) in before where name.contains("_proj") && !name.contains("up_proj") {
            // BF16 keeps the sign in the last byte's highest bit.
            #expect(written[name] == bytes.indices.map { $0 % 2 == 1 ? bytes[$0] ^ 128 : bytes[$0] }, "\(name)")
        }
        let embedding = try #require(before["model.embed_tokens.weight"])
        let floats: [UInt8] = stride(from: 0, to: embedding.count, by: 2).flatMap { [0, 0, embedding[$0], embedding[$0 + 1]] as [UInt8] }
        #expect((written["model.embed_tokens.weight.0"] ?? []) + (written["model.embed_tokens.weight.1"] ?? []) == floats)
        // Row 0 of up has the mean square of row 0 of gate, as far as BF16 goes.
        let gate = meanSquare(written["model.layers.0.mlp.gate_proj.weight"], count: model.hidden)
        let up = meanSquare(written["model.layers.0.mlp.up_proj.weight"], count: model.hidden)
        let upBefore = meanSquare(before["model.layers.0.mlp.up_proj.weight"], count: model.hidden)
        #expect(abs(up / gate - 1) < 0.01 && abs(upBefore / gate - 1) > 0.01, "\(up) \(gate) \(upBefore)")
    }

    /// The mean square of the first BF16 numbers.
    private func meanSquare(_ bytes: [UInt8]?, count: Int) -> Double {
        let values = (0..<count).map { place -> Double in
            let bytes = bytes ?? []
            return Double(Float(bitPattern: UInt32(bytes[2 * place]) << 16 | UInt32(bytes[2 * place + 1]) << 24))
        }
        return values.reduce(0) { $0 + $1 * $1 } / Double(count)
    }

    /// The tensors of a safetensors file, by name.
    private func tensors(of name: String) throws -> [String: [UInt8]] {
        let file = try folder.read(name)
        let headerCount = file[0..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
        let header = try #require(try JSONSerialization.jsonObject(with: Data(file[8..<8 + headerCount])) as? [String: Any])
        var tensors: [String: [UInt8]] = [:]
        for (key, value) in header where key != "__metadata__" {
            let offsets = try #require((value as? [String: Any])?["data_offsets"] as? [Int])
            tensors[key] = Array(file[8 + headerCount + offsets[0]..<8 + headerCount + offsets[1]])
        }
        return tensors
    }
}
