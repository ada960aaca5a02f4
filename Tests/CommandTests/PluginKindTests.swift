import Foundation
import Testing
import TestSupport

/// What plugins bring beside passes: the example does what it says, wherever recipes and options name it.
@Suite(.enabled(if: PluginTests.hasNumPy, "needs Python's numpy, which scripts/test installs"), .serialized) struct PluginKindTests {
    let folder: TemporaryFolder
    let model = SmallModel()
    static let plugin = PluginTests.examples + "/kinds.py"

    init() throws {
        folder = try TemporaryFolder()
        try model.write(to: folder)
        try folder.write(Array(String(repeating: "abc ab a abcab c b ", count: 200).utf8), to: "text.txt")
    }

    private func run(_ recipe: String, output: String, _ more: String...) async throws -> Outcome {
        try folder.write(Array("recipe: 1\nplugins: ['\(Self.plugin)']\n\(recipe)\n".utf8), to: "r.yaml")
        return try await resq(["run", "r.yaml", "--input", "model", "--output", output] + more, in: folder.path)
    }

    private func object(_ arguments: String...) async throws -> [String: Any] { try await object(arguments) }

    private func object(_ arguments: [String]) async throws -> [String: Any] {
        try #require(try json(try await resq(arguments, in: folder.path)) as? [String: Any])
    }

    @Test func thePluginPasses() async throws {
        let outcome = try await resq(["passes", "--check", Self.plugin], in: "/")
        expectSuccess(outcome)
        for name in ["kinds.q8: weights to Q8_0", "kinds.scaled: weights to Q4_0", "kinds.among-first: random logits", "kinds.total-variation",
            "kinds.fourth: random rows", "kinds.q4f: random blocks", "kinds.raw: weights in BF16: 21 tensors in 1 files"] {
            #expect(outcome.output.contains("ok      \(name)"), "\(outcome.output)")
        }
        let listed = try await resq(["passes", "--plugin", Self.plugin], in: "/")
        for name in ["nearest", "gptq", "kinds.q8", "perplexity", "kinds.among-first", "channels", "kinds.fourth", "gguf.zst", "kinds.raw"] {
            #expect(listed.output.contains("\n\(name): "), "\(listed.output)")
        }
    }

    @Test func mistakesAreToldWithTheirKind() async throws {
        let helper = PluginTests.examples + "/resq_pass.py"
        try folder.write(Array(Data(contentsOf: URL(fileURLWithPath: helper))), to: "resq_pass.py")
        let text = "from resq_pass import Plugin\nplugin = Plugin('bad', version='1')\n@plugin.metric\ndef none(logits, next):\n    return logits[:, 0] * float('nan')\n"
            + "@plugin.metric\ndef fails(logits, next):\n    raise ValueError('too dark')\nplugin.run()\n"
        try folder.write(Array(text.utf8), to: "bad.py")
        for (metric, words) in [("bad.none", "metric 'bad.none': gives NaN"), ("bad.fails", "metric 'bad.fails': tensor 'logits': ValueError: too dark (bad.py, line 8)")] {
            expectRefusal(
                try await resq(["eval", "model", "--text", "text.txt", "--context", "16", "--metric", metric, "--quiet", "--plugin", "./bad.py"], in: folder.path),
                saying: "plugin ./bad.py: ", words)
        }
        expectRefusal(
            try await resq(["eval", "model", "--text", "text.txt", "--context", "16", "--metric", "other.none", "--quiet"], in: folder.path), saying: "'--plugin'")
    }

    /// By its own scales, which differ from the reference's, at about the reference's error.
    @Test func aRoundingIsUsedByQuantize() async throws {
        let quantize = { (rounding: String) in "passes: [{use: quantize, with: {rules: [{match: {role: linear}, type: q8_0, rounding: \(rounding)}]}}]" }
        expectSuccess(try await run(quantize("kinds.q8"), output: "own.gguf", "--twice"))
        expectSuccess(try await run(quantize("nearest"), output: "nearest.gguf"))
        let error = { (path: String) async throws -> Double in
            let report = try await object("verify", path, "--against", "model", "--json")
            let tensors = try #require((report["against"] as? [String: Any])?["tensors"] as? [[String: Any]])
            return try #require(tensors.compactMap { $0["relative_rmse"] as? Double }.max())
        }
        let (own, nearest) = (try await error("own.gguf"), try await error("nearest.gguf"))
        #expect(own > 0 && own < 1.1 * nearest && own != nearest, "\(own) \(nearest)")
        let header = try await resq(["inspect", "own.gguf", "--json"], in: folder.path)
        #expect(header.output.contains("kinds.py (kinds 1.0)") && header.output.contains("resq.plugins"), "\(header.output)")

        let refused = try await run(quantize("kinds.q9"), output: "o.gguf")
        expectRefusal(refused, saying: "'kinds.q9'", "did you mean 'kinds.q8'")
        let other = try await run("passes: [{use: quantize, with: {rules: [{match: {role: linear}, type: q4_0, rounding: kinds.q8}]}}]", output: "o.gguf")
        expectSuccess(other)
        #expect(other.errors.contains("kinds.q8 does not round to Q4_0: to nearest instead"), "\(other.errors)")
    }

    /// A calibrated rounding draws hardly used columns towards zero, and so changes what is stored.
    @Test func aCalibratedRoundingSeesMoments() async throws {
        let recipe = "calibration: {text: text.txt, sequences: 4, context: 32}\npasses: [{use: quantize, with: {rules: [{match: {role: linear}, type: q8_0, rounding: kinds.scaled}]}}]"
        expectSuccess(try await run(recipe, output: "o.gguf"))
        let plan = try await resq(["explain", "r.yaml", "--input", "model", "blk.0.ffn_up.weight"], in: folder.path)
        #expect(plan.output.contains("kinds.scaled") && !plan.output.contains("gptq"), "\(plan.output)")
        let nearest = recipe.replacingOccurrences(of: "kinds.scaled", with: "nearest")
        expectSuccess(try await run(nearest, output: "n.gguf"))
        let difference = try await resq(["diff", "o.gguf", "n.gguf", "--exit-code"], in: folder.path)
        #expect(difference.ending == .exited(1) && difference.output.contains("down_proj.weight"), "\(difference.output)")
        // What is drawn is what the model hardly uses.
        let text = ["--text", "text.txt", "--context", "32", "--json", "--quiet", "--reference", "model"]
        let divergence = try #require(try await object(["eval", "o.gguf"] + text)["kl_divergence"] as? Double)
        #expect(divergence > 0 && divergence < 0.01, "\(divergence)")
    }

    @Test func metricsAreReported() async throws {
        let text = ["--text", "text.txt", "--context", "32", "--windows", "3", "--json", "--quiet", "--plugin", Self.plugin]
        let few = try await object(["eval", "model", "--metric", "{use: kinds.among-first, with: {k: 2}}", "--metric", "perplexity", "--metric", "kinds.surprise"] + text)
        let (perplexity, surprise) = (few["perplexity"] as? Double ?? 0, few["kinds.surprise"] as? Double ?? 0)
        #expect(perplexity > 1 && abs(exp2(surprise) / perplexity - 1) < 1e-6, "\(few)")
        let share = try #require(few["kinds.among-first"] as? Double)
        #expect(share >= 0 && share < 1 && few["perplexity"] is Double && few["kinds.among-first_stderr"] is Double, "\(few)")
        // The text's vocabulary has eight tokens.
        let all = try await object(["eval", "model", "--metric", "{use: kinds.among-first, with: {k: 8}}", "--work", "work"] + text)
        #expect(all["kinds.among-first"] as? Double == 1 && all["perplexity"] == nil)
        let again = try await object(["eval", "model", "--metric", "{use: kinds.among-first, with: {k: 8}}", "--work", "work"] + text)
        #expect(again["kinds.among-first"] as? Double == 1 && again["tokens_per_second"] is NSNull)

        expectSuccess(try await resq(["convert", "model", "q.gguf", "--type", "q4_0", "--quiet"], in: folder.path))
        let against = try await object(["eval", "q.gguf", "--reference", "model", "--metric", "kinds.total-variation", "--metric", "kl-divergence"] + text)
        let (variation, divergence) = (against["kinds.total-variation"] as? Double ?? 0, against["kl_divergence"] as? Double ?? 0)
        // Pinsker's inequality, for the means.
        #expect(variation > 0 && variation * variation <= divergence / 2, "\(against)")
        expectRefusal(try await resq(["eval", "model", "--metric", "kinds.total-variation"] + text, in: folder.path), 64, saying: "--reference")
        expectRefusal(try await resq(["eval", "model", "--metric", "kinds.amung-first"] + text, in: folder.path), saying: "did you mean 'kinds.among-first'")
    }

    @Test func aStatisticIsGathered() async throws {
        expectSuccess(
            try await resq(
                ["calibrate", "model", "--text", "text.txt", "--output", "s.safetensors", "--sequences", "600", "--context", "32", "--quiet",
                    "--statistics", "channels,kinds.fourth", "--plugin", Self.plugin], in: folder.path))
        let tensors = try floats(of: "s.safetensors")
        for layer in 0..<model.layers {
            for (place, width) in [("mlp", model.hidden), ("mlp_output", model.feedForward)] {
                let fourth = try #require(tensors["layers.\(layer).\(place).kinds.fourth"])
                let squares = try #require(tensors["layers.\(layer).\(place).mean_square"])
                let largest = try #require(tensors["layers.\(layer).\(place).largest"])
                let rows = try #require(tensors["layers.\(layer).\(place).rows"])[0]
                #expect(fourth.count == width && rows == 19200)
                for ((fourth, square), largest) in zip(zip(fourth, squares), largest) {
                    // The mean of fourth powers is at least the mean square's square, and at most that times the largest square.
                    #expect(fourth / rows >= square * square * 0.9999 && fourth / rows <= square * largest * largest * 1.0001)
                }
            }
            #expect(tensors["layers.\(layer).attention.kinds.fourth"] == nil)
        }
        expectRefusal(
            try await resq(["calibrate", "model", "--output", "o", "--statistics", "kinds.forth", "--plugin", Self.plugin], in: folder.path), 64,
            saying: "did you mean 'kinds.fourth'")
    }

    @Test func aTypeIsWrittenAndReadAgain() async throws {
        let recipe = "passes: [{use: quantize, with: {rules: [{match: {role: linear}, type: kinds.q4f}]}}]"
        for name in ["o.gguf", "o.gguf.zst"] {
            expectSuccess(try await run(recipe, output: name))
            let verdict = try await resq(["verify", name, "--against", "model", "--max-relative-error", "0.12", "--plugin", Self.plugin], in: folder.path)
            expectSuccess(verdict)
            let report = try await object(
                "eval", name, "--text", "text.txt", "--context", "32", "--windows", "2", "--json", "--quiet", "--reference", "model", "--plugin", Self.plugin)
            #expect(report["kl_divergence"] as? Double ?? 0 > 0 && report["kl_divergence"] as? Double ?? 9 < 0.2, "\(report)")
            let without = try await resq(["eval", name, "--text", "text.txt", "--context", "32"], in: folder.path)
            expectRefusal(without, saying: "'kinds.q4f'", "--plugin")
        }
        // 10 bytes for 16 weights.
        let plan = try await resq(["plan", "r.yaml", "--input", "model"], in: folder.path)
        #expect(plan.output.contains("[256, 40]"), "\(plan.output)")
        expectSuccess(try await resq(["convert", "o.gguf", "back", "--plugin", Self.plugin, "--quiet"], in: folder.path))
        expectSuccess(try await resq(["verify", "back", "--against", "model", "--max-relative-error", "0.12"], in: folder.path))
        let misfit = try await run("passes: [{use: quantize, with: {rules: [{match: {role: linear}, type: kinds.q4f, rounding: gptq}]}}]", output: "x.gguf")
        expectRefusal(misfit, saying: "'gptq' does not round to 'kinds.q4f'")
    }

    @Test func aFormatIsWritten() async throws {
        let recipe = "passes: []\noutput: [{format: kinds.raw, path: model.raw}]"
        for work in [[], ["--work", "w"]] {
            try folder.write(Array("recipe: 1\nplugins: ['\(Self.plugin)']\n\(recipe)\n".utf8), to: "r.yaml")
            expectSuccess(try await resq(["run", "r.yaml", "--input", "model", "--output", "model.raw", "--twice"] + work, in: folder.path))
            let file = try folder.read("model.raw")
            let end = try #require(file.firstIndex(of: UInt8(ascii: "\n")))
            let header = try #require(try JSONSerialization.jsonObject(with: Data(file[..<end])) as? [String: Any])
            #expect((header["provenance"] as? [String: String])?["resq.plugins"]?.contains("kinds.py (kinds 1.0)") == true, "\(header)")
            let list = try #require(header["tensors"] as? [[String: Any]])
            let weights = model.weights()
            #expect(list.count == weights.count)
            for tensor in list {
                let (name, at) = (try #require(tensor["name"] as? String), try #require(tensor["at"] as? Int))
                let bytes = try #require(weights[name])
                #expect(Array(file[end + 1 + at..<end + 1 + at + bytes.count]) == bytes, "\(name)")
            }
        }
        let unknown = try await run("passes: []\noutput: [{format: kinds.row, path: model.raw}]", output: "x/")
        expectRefusal(unknown, saying: "r.yaml:4:19", "did you mean 'kinds.raw'")
    }

    /// The F32 tensors of a safetensors file, by name.
    private func floats(of name: String) throws -> [String: [Double]] {
        let file = try folder.read(name)
        let headerCount = file[0..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
        let header = try #require(try JSONSerialization.jsonObject(with: Data(file[8..<8 + headerCount])) as? [String: Any])
        var tensors: [String: [Double]] = [:]
        for (key, value) in header where key != "__metadata__" {
            let offsets = try #require((value as? [String: Any])?["data_offsets"] as? [Int])
            tensors[key] = stride(from: 8 + headerCount + offsets[0], to: 8 + headerCount + offsets[1], by: 4).map { start in
                Double(Float(bitPattern: (0..<4).reduce(UInt32(0)) { $0 | UInt32(file[start + $1]) << (8 * $1) }))
            }
        }
        return tensors
    }
}
