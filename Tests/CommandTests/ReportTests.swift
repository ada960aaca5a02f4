import Foundation
import Testing
import TestSupport

private typealias Object = [String: Any]

private func objects(_ value: Any?) throws -> [Object] { try #require(value as? [Object]) }

/// What the commands say of models, as JSON: the fields, and that the numbers in them are true.
@Suite struct ReportTests {
    let folder: TemporaryFolder

    init() async throws {
        folder = try TemporaryFolder()
        try SmallModel().write(to: folder)
        for output in ["m.gguf", "m.gguf.zst", "m.safetensors"] {
            expectSuccess(try await resq(["convert", "model", output, "--quiet"], in: folder.path))
        }
    }

    private func report(_ arguments: String...) async throws -> Object {
        let outcome = try await resq(arguments, in: folder.path)
        return try #require(json(outcome) as? Object)
    }

    // MARK: inspect

    @Test(arguments: [("model", "huggingface"), ("m.gguf", "gguf"), ("m.gguf.zst", "gguf.zst"), ("m.safetensors", "safetensors")])
    func inspectGivesTheHeader(path: String, format: String) async throws {
        let report = try await report("inspect", path, "--json")
        #expect(report.keys.sorted() == ["architecture", "format", "metadata", "tensors"])
        #expect(report["format"] as? String == format)
        #expect(format == "safetensors" ? report["architecture"] is NSNull : report["architecture"] as? String == "llama")
        #expect(report["metadata"] is Object)
        let tensors = try objects(report["tensors"])
        #expect(tensors.count == SmallModel().tensors.count)
        for tensor in tensors {
            #expect(tensor.keys.sorted() == ["bytes", "name", "offset", "shape", "type"])
            let shape = try #require(tensor["shape"] as? [Int])
            let type = try #require(tensor["type"] as? String)
            let width = try #require(["BF16": 2, "F32": 4][type])
            #expect(tensor["bytes"] as? Int == shape.reduce(width, *))
        }
    }

    @Test(arguments: ["m.gguf", "m.safetensors"]) func offsetsPointAtTheData(path: String) async throws {
        let source = SmallModel().weights()
        let bytes = try folder.read(path)
        var found = 0
        for tensor in try objects(await report("inspect", path, "--json")["tensors"]) {
            let name = try #require(tensor["name"] as? String)
            // These two are stored in GGUF as they are.
            let names = ["token_embd.weight": "model.embed_tokens.weight", "output.weight": "lm_head.weight"]
            guard let expected = source[names[name] ?? name], let offset = tensor["offset"] as? Int else { continue }
            #expect(Array(bytes[offset..<offset + expected.count]) == expected, "\(name)")
            found += 1
        }
        #expect(found == (path == "m.gguf" ? 2 : source.count))
    }

    @Test func longArraysAreSummedUpUnlessAskedFor() async throws {
        var file = GGUFBytes(keys: 2)
        file.key("general.architecture", type: 8, Array("\u{4}\0\0\0\0\0\0\0test".utf8))
        file.append("long")
        file.append(UInt32(9))
        file.append(UInt32(4))
        file.append(UInt64(1000))
        for number in UInt32(0)..<1000 { file.append(number) }
        try folder.write(file.bytes, to: "long.gguf")
        let summary = try #require(await report("inspect", "long.gguf", "--json")["metadata"] as? Object)
        let long = try #require(summary["long"] as? Object)
        #expect(long["count"] as? Int == 1000)
        let full = try #require(await report("inspect", "long.gguf", "--json", "--full")["metadata"] as? Object)
        #expect(full["long"] as? [Int] == Array(0..<1000))
    }

    // MARK: plan

    @Test(arguments: ["gguf", "gguf.zst"]) func planSaysWhatRunWrites(format: String) async throws {
        let output = "planned." + format
        let before = folder.everything
        let plan = try await report("plan", "q4_k_m", "--input", "model", "--output", output, "--json")
        #expect(folder.everything == before)
        for key in ["tensors", "total_bytes", "bits_per_weight", "peak_memory_bytes"] { #expect(plan[key] != nil, "\(key)") }
        let dry = try await resq(["run", "q4_k_m", "--input", "model", "--output", output, "--dry-run", "--json"], in: folder.path)
        #expect(try NSDictionary(dictionary: plan).isEqual(to: #require(json(dry) as? Object)))
        #expect(folder.everything == before)

        expectSuccess(try await resq(["run", "q4_k_m", "--input", "model", "--output", "planned.gguf"], in: folder.path))
        let written = try objects(await report("inspect", "planned.gguf", "--json")["tensors"])
        let planned = try objects(plan["tensors"])
        #expect(planned.count == written.count)
        for (plan, fact) in zip(planned, written) {
            #expect(plan["name"] as? String == fact["name"] as? String)
            #expect(plan["type"] as? String == fact["type"] as? String)
            #expect(plan["bytes"] as? Int == fact["bytes"] as? Int)
            #expect((plan["rule"] as? String)?.isEmpty == false)
        }
        #expect(plan["total_bytes"] as? Int == (try folder.read("planned.gguf").count))
        let bytes = written.reduce(0) { $0 + ($1["bytes"] as? Int ?? 0) }
        let elements = SmallModel().tensors.reduce(0) { $0 + $1.shape.reduce(1, *) }
        #expect(abs(try #require(plan["bits_per_weight"] as? Double) - Double(bytes) * 8 / Double(elements)) < 1e-9)
        #expect(try #require(plan["peak_memory_bytes"] as? Int) > 0)
    }

    @Test func planOfAModelWithoutTokenizerWarnsAndRunRefuses() async throws {
        try SmallModel().write(to: folder, as: "bare")
        try FileManager.default.removeItem(atPath: folder.path + "/bare/tokenizer.json")
        let plan = try await report("plan", "q8_0", "--input", "bare", "--json")
        #expect(try objects(plan["tensors"]).count == SmallModel().tensors.count)
        let warning = try #require(try objects(plan["diagnostics"]).last?["message"] as? String)
        #expect(warning.contains("cannot be written") && warning.contains("tokenizer.json"))
        expectRefusal(
            try await resq(["run", "q8_0", "--input", "bare", "--output", "bare.gguf"], in: folder.path), 65, saying: "tokenizer.json")
    }

    @Test func planReadsNoWeights() async throws {
        try SmallModel(spoiled: ("model.norm.weight", .nan)).write(to: folder, as: "spoiled")
        let plan = try await report("plan", "q8_0", "--input", "spoiled", "--json")
        #expect(try objects(plan["tensors"]).count == SmallModel().tensors.count)
    }

    // MARK: diff

    @Test func diffMeasures() async throws {
        try folder.write(floats(["same": [1, 2], "other": [1, 2, 3, 4], "mine": [0]]), to: "a.safetensors")
        try folder.write(floats(["same": [1, 2], "other": [1, 2, 3, 5], "yours": [0]]), to: "b.safetensors")
        let report = try await report("diff", "a.safetensors", "b.safetensors", "--json")
        #expect(report.keys.sorted() == ["only_in_a", "only_in_b", "rotated_apart", "tensors"])
        #expect(report["only_in_a"] as? [String] == ["mine"])
        #expect(report["only_in_b"] as? [String] == ["yours"])
        let tensors = try objects(report["tensors"])
        #expect(tensors.count == 2)
        for tensor in tensors {
            let differs = tensor["name"] as? String == "other"
            #expect(tensor["identical"] as? Bool == !differs)
            #expect(tensor["max_abs"] as? Double == (differs ? 1 : 0))
            // The difference is (0, 0, 0, 1), the reference (1, 2, 3, 4).
            #expect(abs(try #require(tensor["relative_rmse"] as? Double) - (differs ? (1.0 / 30).squareRoot() : 0)) < 1e-6)
        }
        let differ = try await resq(["diff", "a.safetensors", "b.safetensors", "--exit-code"], in: folder.path)
        #expect(differ.ending == .exited(1))
        #expect(differ.output.contains("only in a.safetensors: mine"))
        expectSuccess(try await resq(["diff", "a.safetensors", "a.safetensors", "--exit-code"], in: folder.path))
    }

    private func floats(_ tensors: [String: [Float]]) -> [UInt8] {
        var entries: [String] = []
        var data: [UInt8] = []
        for (name, values) in tensors.sorted(by: { $0.key < $1.key }) {
            let start = data.count
            for value in values { for byte in 0..<4 { data.append(UInt8(truncatingIfNeeded: value.bitPattern >> (8 * UInt32(byte)))) } }
            entries.append(#""\#(name)":{"dtype":"F32","shape":[\#(values.count)],"data_offsets":[\#(start),\#(data.count)]}"#)
        }
        return safetensorsBytes("{" + entries.joined(separator: ",") + "}") + data
    }

    @Test func containersOfOneModelAreIdentical() async throws {
        for other in ["m.gguf", "m.gguf.zst", "m.safetensors"] {
            let report = try await report("diff", "model", other, "--json")
            let identical = try objects(report["tensors"]).filter { $0["max_abs"] as? Double == 0 }
            #expect(identical.count == SmallModel().tensors.count, "\(other)")
            #expect(report["only_in_a"] as? [String] == [] && report["only_in_b"] as? [String] == [])
        }
    }

    // MARK: verify

    @Test(arguments: ["model", "m.gguf", "m.gguf.zst", "m.safetensors"]) func soundModelsPass(path: String) async throws {
        let report = try await report("verify", path, "--against", "model", "--json")
        #expect(report["ok"] as? Bool == true)
        #expect(report["tensors"] as? Int == SmallModel().tensors.count)
        #expect(try objects(report["faults"]).isEmpty)
    }

    @Test(arguments: [Float.nan, .infinity, -.infinity]) func weightsThatAreNotNumbersFail(value: Float) async throws {
        try SmallModel(spoiled: ("model.layers.1.mlp.up_proj.weight", value)).write(to: folder, as: "spoiled")
        let outcome = try await resq(["verify", "spoiled", "--json"], in: folder.path)
        #expect(outcome.ending == .exited(1))
        let report = try #require(JSONSerialization.jsonObject(with: Data(outcome.output.utf8)) as? Object)
        #expect(report["ok"] as? Bool == false)
        #expect(try objects(report["faults"]).map { $0["tensor"] as? String } == ["model.layers.1.mlp.up_proj.weight"])
    }

    @Test func errorsAboveTheLimitFail() async throws {
        expectSuccess(try await resq(["convert", "model", "q.gguf", "--type", "q4_0"], in: folder.path))
        let arguments = ["verify", "q.gguf", "--against", "model", "--max-relative-error"]
        let tight = try await resq(arguments + ["0.001"], in: folder.path)
        #expect(tight.ending == .exited(1))
        #expect(tight.output.contains("FAILED"))
        let wide = try await resq(arguments + ["0.2"], in: folder.path)
        expectSuccess(wide)
        #expect(wide.output.contains("ok: 21 tensors"))
    }

    // MARK: lists

    @Test func passesAreListed() async throws {
        let outcome = try await resq(["passes", "--json"])
        let names = try objects(json(outcome)).map { $0["identifier"] as? String }
        for name in ["cast", "rename", "drop", "keep", "untie", "fold-norms", "quantize", "merge-lora"] { #expect(names.contains(name)) }
        let text = try await resq(["passes"])
        for name in names.compactMap(\.self) { #expect(text.output.contains("\(name): ")) }
    }

    @Test func recipesAreListedAndCanBeRun() async throws {
        let outcome = try await resq(["recipes", "--json"])
        let names = try objects(json(outcome)).compactMap { $0["name"] as? String }
        for name in ["f16", "bf16-lossless", "q8_0", "q4_0", "q4_k_m", "q5_k_m", "q6_k", "iq4_xs"] { #expect(names.contains(name)) }
        let text = try await resq(["recipes"])
        for name in names {
            #expect(text.output.contains(name))
            let recipe = try await resq(["recipes", name])
            expectSuccess(recipe)
            try folder.write(Array(recipe.output.utf8), to: "printed.yaml")
            let plan = try await resq(["plan", "printed.yaml", "--input", "model"], in: folder.path)
            if recipe.output.contains("needs an importance matrix"), plan.ending != .exited(0) {
                expectRefusal(plan, 65, saying: "needs an importance matrix")
            } else {
                expectSuccess(plan)
            }
        }
    }

    @Test func architecturesAreListed() async throws {
        let outcome = try await resq(["architectures", "--json"])
        let list = try objects(json(outcome))
        let classes = list.flatMap { $0["huggingface"] as? [String] ?? [] }
        for name in ["Llama", "Mistral", "Qwen2", "Qwen3", "Gemma2", "Gemma3", "Phi3", "Mixtral"] {
            #expect(classes.contains("\(name)ForCausalLM"), "\(name)")
        }
        #expect(list.allSatisfy { $0["identifier"] is String && $0["gguf"] is String })
    }
}
