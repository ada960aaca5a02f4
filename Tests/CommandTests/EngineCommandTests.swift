import Foundation
import Testing
import TestSupport

/// `tokenize`, `eval`, `generate` and `calibrate` from outside, on a small model: what they print, refuse, and go on with.
@Suite(.serialized) struct EngineCommandTests {
    let folder: TemporaryFolder

    /// Its ids: a 0, b 1, c 2, ab 3, abc 4, " " 5, " a" 6, <|end|> 7.
    private static let text = String(repeating: "abc ab a cab bc c ", count: 60)
    private static let template = """
        {% for m in messages %}
        {% if m.role == 'system' and 'c' not in m.content %}
        {{ raise_exception('no c in it') }}
        {% endif %}
        {{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}a{% endif %}
        """

    init() throws {
        folder = try TemporaryFolder()
        try SmallModel().write(to: folder)
        try folder.write(Array(Self.text.utf8), to: "text.txt")
    }

    private func resq(_ arguments: String...) async throws -> Outcome { try await CommandTests.resq(arguments, in: folder.path) }

    private func object(_ arguments: String...) async throws -> [String: Any] {
        try #require(try json(try await CommandTests.resq(arguments, in: folder.path)) as? [String: Any])
    }

    /// A NumPy array of 32-bit ids.
    private func write(ids: [Int32], to name: String, shape: String? = nil, isColumnMajor: Bool = false) throws {
        var header = "{'descr': '<i4', 'fortran_order': \(isColumnMajor ? "True" : "False"), 'shape': (\(shape ?? "\(ids.count),")), }"
        while (10 + header.utf8.count + 1) % 64 != 0 { header += " " }
        header += "\n"
        var bytes: [UInt8] = [0x93] + Array("NUMPY".utf8) + [1, 0, UInt8(header.utf8.count & 255), UInt8(header.utf8.count >> 8)]
        bytes += Array(header.utf8)
        for id in ids { for shift in [0, 8, 16, 24] { bytes.append(UInt8(truncatingIfNeeded: id >> shift)) } }
        try folder.write(bytes, to: name)
    }

    // MARK: tokenize

    @Test func textBecomesIDsAndBack() async throws {
        try folder.write(Array("abc ab<|end|>c".utf8), to: "t.txt")
        let ids = try await resq("tokenize", "model", "--text", "t.txt")
        expectSuccess(ids)
        #expect(ids.output == "4\n5\n3\n7\n2\n")
        try folder.write(Array(ids.output.utf8), to: "ids.txt")
        #expect(try await resq("tokenize", "model", "--text", "ids.txt", "--decode").output == "abc ab<|end|>c")
        #expect(try await resq("tokenize", "model", "--text", "ids.txt", "--decode", "--no-special").output == "abc abc")
        #expect(try await resq("tokenize", "model", "--text", "t.txt", "--count").output == "5\n")
        let printed = try await object("tokenize", "model", "--text", "t.txt", "--json")
        #expect(printed["ids"] as? [Int] == [4, 5, 3, 7, 2] && printed["count"] as? Int == 5)
        #expect(printed["pieces"] as? [String] == ["abc", "Ġ", "ab", "<|end|>", "c"])
        expectRefusal(try await resq("tokenize", "model", "--text", "text.txt", "--decode", "--count"), 64)
        try folder.write(Array("3 8".utf8), to: "ids.txt")
        expectRefusal(try await resq("tokenize", "model", "--text", "ids.txt", "--decode"), saying: "ids.txt", "byte 2", "0..<8")
        try folder.write(Array("3 -1".utf8), to: "ids.txt")
        expectRefusal(try await resq("tokenize", "model", "--text", "ids.txt", "--decode"), saying: "ids.txt", "byte 2")
    }

    @Test func conversationsGoThroughTheTemplate() async throws {
        try folder.write(jsonBytes([["role": "user", "content": "ab"]]), to: "c.json")
        expectRefusal(try await resq("tokenize", "model", "--text", "c.json", "--chat"), saying: "model: the model has no chat template")
        try folder.write(Array(Self.template.utf8), to: "model/chat_template.jinja")
        let printed = try await object("tokenize", "model", "--text", "c.json", "--chat", "--json")
        #expect(printed["text"] as? String == "ab<|end|>a" && printed["ids"] as? [Int] == [3, 7, 0])
        try folder.write(Array("[{\"content\": \"a\"}]".utf8), to: "c.json")
        expectRefusal(try await resq("tokenize", "model", "--text", "c.json", "--chat"), saying: "c.json", "messages[0].role")
        try folder.write(Array("[{".utf8), to: "c.json")
        expectRefusal(try await resq("tokenize", "model", "--text", "c.json", "--chat"), saying: "c.json")
    }

    /// The folder `additional_chat_templates`, read as transformers reads it, and kept.
    @Test func namedTemplatesMayHaveAFolderOfTheirOwn() async throws {
        try folder.write(jsonBytes(["messages": [["role": "user", "content": "ab"]], "tools": [["name": "t"]]] as [String: Any]), to: "tools.json")
        try folder.write(jsonBytes([["role": "user", "content": "ab"]]), to: "plain.json")
        try folder.write(jsonBytes(["chat_template": "in the configuration"]), to: "model/tokenizer_config.json")
        try FileManager.default.createDirectory(atPath: folder.path("model/additional_chat_templates"), withIntermediateDirectories: false)
        try folder.write(Array("{{ messages[0].content }} tools".utf8), to: "model/additional_chat_templates/tool_use.jinja")
        try folder.write(Array("no template".utf8), to: "model/additional_chat_templates/readme.txt")
        func text(_ model: String, _ conversation: String) async throws -> String? {
            try await object("tokenize", model, "--text", conversation, "--chat", "--json")["text"] as? String
        }
        #expect(try await text("model", "tools.json") == "ab tools")
        expectRefusal(try await resq("tokenize", "model", "--text", "plain.json", "--chat"), saying: "no chat template 'default', only 'tool_use'")
        try folder.write(Array("{{ messages[0].content }} main".utf8), to: "model/chat_template.jinja")
        expectSuccess(try await resq("convert", "model", "copy", "--quiet"))
        #expect(folder.everything.contains("copy/additional_chat_templates/tool_use.jinja"))
        #expect(!folder.everything.contains("copy/additional_chat_templates/readme.txt"))
        for model in ["model", "copy"] {
            #expect(try await text(model, "tools.json") == "ab tools")
            #expect(try await text(model, "plain.json") == "ab main")
        }
        try folder.write(Array([0x61, 0xFF]), to: "model/additional_chat_templates/tool_use.jinja")
        expectRefusal(
            try await resq("tokenize", "model", "--text", "plain.json", "--chat"), saying: "model/additional_chat_templates/tool_use.jinja", "not UTF-8")
    }

    // MARK: generate

    @Test func generatedTextIsTheSameEveryTime() async throws {
        let greedy = try await object("generate", "model", "--prompt", "abc a", "--max-tokens", "12", "--json")
        let tokens = try #require(greedy["tokens"] as? [Int])
        #expect(greedy["prompt_tokens"] as? Int == 2 && (1...12).contains(tokens.count))
        #expect(["length", "stop"].contains(greedy["finish_reason"] as? String))
        #expect(greedy["tokens_per_second"] is Double && greedy["prefill_tokens_per_second"] is Double)
        let streamed = try await resq("generate", "model", "--prompt", "abc a", "--max-tokens", "12", "--threads", "1")
        #expect(streamed.output == (greedy["text"] as? String ?? "") + "\n")
        for sampled in [["--temperature", "0"], ["--top-k", "1"], ["--temperature", "5", "--top-k", "1", "--seed", "9"], ["--top-p", "0.0001"]] {
            let other = try await CommandTests.resq(
                ["generate", "model", "--prompt", "abc a", "--max-tokens", "12"] + sampled, in: folder.path)
            #expect(other.output == streamed.output, "\(sampled)")
        }
        var drawn: [String: String] = [:]
        for seed in ["1", "2", "3", "1"] {
            let text = try await resq("generate", "model", "--prompt", "abc a", "--max-tokens", "40", "--seed", seed, "--temperature", "3").output
            #expect(drawn.updateValue(text, forKey: seed) ?? text == text)
        }
        #expect(Set(drawn.values).count > 1)
    }

    @Test func chatsUseTheModelsTemplate() async throws {
        let chat = ["generate", "model", "--chat", "--prompt", "ab", "--max-tokens", "6", "--json"]
        expectRefusal(try await CommandTests.resq(chat, in: folder.path), saying: "model: the model has no chat template")
        try folder.write(Array(Self.template.utf8), to: "model/chat_template.jinja")
        let answer = try await CommandTests.resq(chat, in: folder.path)
        let plain = try await object("generate", "model", "--prompt", "ab<|end|>a", "--max-tokens", "6", "--json")
        let printed = try #require(try json(answer) as? [String: Any])
        #expect(printed["tokens"] as? [Int] == plain["tokens"] as? [Int] && printed["prompt_tokens"] as? Int == 3)
        let system = try await CommandTests.resq(chat + ["--system", "c"], in: folder.path)
        #expect((try json(system) as? [String: Any])?["prompt_tokens"] as? Int == 5)
        expectRefusal(
            try await CommandTests.resq(chat + ["--system", "a"], in: folder.path), saying: "model: chat template 'default', line 3", "no c in it")
        // A model with its template in the configuration, as one of several; the file of its own comes first.
        try folder.write(jsonBytes(["chat_template": [["name": "rag", "template": "x"], ["name": "default", "template": "abc"]]]), to: "model/tokenizer_config.json")
        #expect((try json(try await CommandTests.resq(chat, in: folder.path)) as? [String: Any])?["prompt_tokens"] as? Int == 3)
        try FileManager.default.removeItem(atPath: folder.path("model/chat_template.jinja"))
        #expect((try json(try await CommandTests.resq(chat, in: folder.path)) as? [String: Any])?["prompt_tokens"] as? Int == 1)
        // GGUF carries both.
        expectSuccess(try await resq("convert", "model", "m.gguf", "--type", "f16", "--quiet"))
        #expect((try await object("generate", "m.gguf", "--chat", "--prompt", "ab", "--max-tokens", "6", "--json"))["prompt_tokens"] as? Int == 1)
        for wrong in [["--tokens", "t.npy", "--chat"], ["--prompt", "a", "--system", "b"], ["--prompt", "a", "--top-p", "0"], ["--prompt", "a", "--top-k", "0"]] {
            expectRefusal(try await CommandTests.resq(["generate", "model"] + wrong, in: folder.path), 64)
        }
    }

    // MARK: eval

    @Test func evaluationPrintsWhatItMeasured() async throws {
        let printed = try await object("eval", "model", "--text", "text.txt", "--context", "32", "--reference", "model", "--json", "--quiet")
        let ids = try #require(Int(try await resq("tokenize", "model", "--text", "text.txt", "--count").output.dropLast()))
        #expect(printed["windows"] as? Int == ids / 32 && printed["tokens"] as? Int == ids / 32 * 31)
        #expect(printed["perplexity"] as? Double ?? 0 > 1 && printed["perplexity_stderr"] as? Double ?? 0 > 0)
        #expect(abs(printed["kl_divergence"] as? Double ?? 1) < 1e-9 && printed["top1_agreement"] as? Double == 1)
        #expect(printed["logit_rms"] as? Double == 0 && printed["bits_per_byte"] as? Double ?? 0 > 0)
        #expect(printed["tokens_per_second"] as? Double ?? 0 > 0 && printed["peak_memory_bytes"] as? Int ?? 0 > 1 << 20)
        let other = try await object("eval", "model", "--text", "text.txt", "--context", "32", "--json", "--threads", "1", "--quiet")
        #expect(other["perplexity"] as? Double == printed["perplexity"] as? Double && other["kl_divergence"] == nil)
        let half = try await object("eval", "model", "--text", "text.txt", "--context", "32", "--protocol", "llama.cpp", "--json", "--quiet")
        #expect(half["tokens"] as? Int == (half["windows"] as? Int ?? 0) * 15)
        try folder.write(Array(#"{"context": "ab", "choices": [" a", " c"], "label": 0}"#.utf8), to: "q.jsonl")
        let answers = try await object("eval", "model", "--tasks", "q.jsonl", "--json", "--quiet")
        #expect(answers["items"] as? Int == 1 && answers["accuracy"] is Double && answers["accuracy_normalized"] is Double)
    }

    // MARK: bad input

    /// The end of a command line, and what the one line must say.
    static let badInputs: [(String, [String], [String])] = [
        ("not UTF-8", ["--text", "bad.txt"], ["bad.txt", "not UTF-8", "byte 3"]),
        ("empty", ["--text", "empty.txt"], ["empty.txt", "empty"]),
        ("short", ["--text", "short.txt", "--context", "64"], ["short.txt", "1 tokens", "64"]),
        ("no ids", ["--tokens", "none.npy"], ["none.npy", "empty"]),
        ("id below zero", ["--tokens", "negative.npy"], ["negative.npy", "token 2", "-3"]),
        ("columns first", ["--tokens", "columns.npy"], ["columns.npy", "fortran_order"]),
        ("cut short", ["--tokens", "cut.npy"], ["cut.npy", "24 bytes", "12 integers of 4 bytes"]),
        ("sizes without end", ["--tokens", "sizes.npy"], ["sizes.npy", "shape"]),
        ("id too high", ["--tokens", "high.npy", "--context", "16"], ["high.npy", "token 100", "id 8"]),
        ("no such file", ["--text", "nothing.txt"], ["nothing.txt"]),
        ("no array", ["--tokens", "short.txt"], ["short.txt"]),
        ("window past the context", ["--text", "text.txt", "--context", "129"], ["model: ", "129", "128"]),
    ]

    @Test(arguments: ["eval", "calibrate"], badInputs.indices) func badInputIsNamed(command: String, index: Int) async throws {
        let (_, arguments, words) = Self.badInputs[index]
        try folder.write([97, 98, 99, 0xFF, 97], to: "bad.txt")
        try folder.write([], to: "empty.txt")
        try folder.write(Array("abc".utf8), to: "short.txt")
        try write(ids: [], to: "none.npy")
        try write(ids: [1, 2, -3], to: "negative.npy")
        try write(ids: [1, 2, 3, 4], to: "columns.npy", shape: "2, 2", isColumnMajor: true)
        try write(ids: [1, 2, 3, 4, 5, 6], to: "cut.npy", shape: "3, 4")
        try write(ids: [1, 2], to: "sizes.npy", shape: "4294967296, 4294967296, 4")
        try write(ids: [Int32](repeating: 1, count: 100) + [8] + [Int32](repeating: 2, count: 100), to: "high.npy")
        let before = folder.everything
        let output = command == "calibrate" ? ["--output", "s.safetensors"] : []
        let outcome = try await CommandTests.resq([command, "model", "--quiet"] + arguments + output, in: folder.path)
        expectRefusal(outcome)
        for word in words { #expect(outcome.errors.contains(word), "\(outcome.errors)") }
        #expect(folder.everything == before)
    }

    @Test func badPromptsAreNamed() async throws {
        try write(ids: [1, 8], to: "high.npy")
        try write(ids: [], to: "none.npy")
        try write(ids: [Int32](repeating: 1, count: 129), to: "long.npy")
        expectRefusal(try await resq("generate", "model", "--tokens", "high.npy"), saying: "high.npy: token 1 has id 8")
        expectRefusal(try await resq("generate", "model", "--tokens", "none.npy"), saying: "none.npy: the text is empty")
        expectRefusal(try await resq("generate", "model", "--tokens", "long.npy"), saying: "model: 129 tokens", "128")
        expectRefusal(try await resq("generate", "model", "--prompt", ""), saying: "--prompt: the text is empty")
    }

    /// An argument with a byte that no UTF-8 has, which only a shell can write here.
    @Test func argumentsThatAreNotUTF8AreRefused() async throws {
        func run(_ end: String) async throws -> Outcome {
            let script = "exec \"$@\" " + end.replacing("BAD", with: "$(printf 'abc\\377d')")
            return try await CommandTests.resq(["generate", "model"], in: folder.path, wrapper: ["sh", "-c", script, "sh"])
        }
        expectRefusal(try await run("--prompt \"BAD\""), saying: "argument 4 (--prompt): the text is not UTF-8 (at byte 3)")
        expectRefusal(try await run("--max-tokens 1 \"--prompt=BAD\""), saying: "argument 5 (--prompt): the text is not UTF-8 (at byte 3)")
        expectRefusal(try await run("--chat --prompt abc --system \"é BAD\""), saying: "argument 7 (--system): the text is not UTF-8 (at byte 6)")
        expectRefusal(try await run("--prompt abc other \"BAD\""), saying: "argument 6: the text is not UTF-8 (at byte 3)")
    }

    @Test(arguments: ["eval", "generate", "calibrate"]) func modelsThatDoNotFitOrCompute(command: String) async throws {
        let rest =
            switch command {
            case "eval": ["--text", "text.txt", "--context", "32", "--quiet"]
            case "generate": ["--prompt", "abc"]
            default: ["--text", "text.txt", "--context", "32", "--sequences", "2", "--output", "s.safetensors", "--quiet"]
            }
        func run(_ model: String) async throws -> Outcome { try await CommandTests.resq([command, model] + rest, in: folder.path) }
        // A weight that is no number, and one so large that what is multiplied with it overflows.
        try SmallModel(spoiled: ("model.layers.1.mlp.up_proj.weight", .nan)).write(to: folder, as: "nan")
        expectRefusal(try await run("nan"), saying: "nan: ", "model.layers.1.mlp.up_proj.weight", "element 5")
        try SmallModel(spoiled: ("model.layers.1.post_attention_layernorm.weight", 3e38)).write(to: folder, as: "huge")
        expectRefusal(try await run("huge"), saying: "huge: ", "not finite at token")
        // More tokens than the embedding has rows.
        var tokenizer = SmallModel.tokenizer
        var model = try #require(tokenizer["model"] as? [String: Any])
        var vocabulary = try #require(model["vocab"] as? [String: Int])
        for id in 8..<12 { vocabulary["x\(id)"] = id }
        model["vocab"] = vocabulary
        tokenizer["model"] = model
        try folder.write(jsonBytes(tokenizer), to: "model/tokenizer.json")
        expectRefusal(try await run("model"), saying: "model: the vocabulary has 12 tokens, the embedding 8 rows")
    }

    // MARK: going on after a kill

    @Test func aKilledEvaluationGoesOn() async throws {
        try SmallModel(layers: 8, hidden: 256, feedForward: 1024).write(to: folder, as: "large")
        try folder.write(Array(String(repeating: Self.text, count: 12).utf8), to: "long.txt")
        let arguments = ["eval", "large", "--text", "long.txt", "--context", "64", "--json", "--quiet", "--threads", "1"]
        let whole = try #require(try json(try await CommandTests.resq(arguments, in: folder.path)) as? [String: Any])
        let folder = folder
        var resumed = 0
        for attempt in 0..<4 where resumed == 0 {
            let work = "work\(attempt)"
            let killed = try await resqKilled(arguments + ["--work", work], in: folder.path) {
                // Some windows are finished (the header has less than 100 bytes), or all.
                Self.journal(in: folder, work).map { $0.count > 400 } ?? false
            }
            guard killed.ending == .signaled(9) else { continue }
            let kept = Self.wholeRecords(of: try #require(Self.journal(in: folder, work)))
            let again = try await CommandTests.resq(arguments + ["--work", work], in: folder.path)
            let printed = try #require(try json(again) as? [String: Any])
            for key in ["perplexity", "perplexity_stderr", "bits_per_byte"] { #expect(printed[key] as? Double == whole[key] as? Double, "\(key)") }
            #expect(printed["tokens"] as? Int == whole["tokens"] as? Int)
            // What was finished is still there as it was.
            let all = try #require(Self.journal(in: folder, work))
            #expect(all.starts(with: kept) && all.count >= kept.count)
            // A third run has nothing to do.
            let done = try #require(try json(try await CommandTests.resq(arguments + ["--work", work], in: folder.path)) as? [String: Any])
            #expect(done["tokens_per_second"] is NSNull && done["perplexity"] as? Double == whole["perplexity"] as? Double)
            resumed += 1
        }
        #expect(resumed == 1)
    }

    private static func journal(in folder: TemporaryFolder, _ work: String) -> [UInt8]? {
        folder.everything.first { $0.hasPrefix(work + "/evaluation-") }.flatMap { try? folder.read($0) }
    }

    /// A journal up to the record that a kill may have torn: behind the line of the header, each has 16 bytes and 8 for each number.
    private static func wholeRecords(of journal: [UInt8]) -> [UInt8] {
        var end = (journal.firstIndex(of: UInt8(ascii: "\n")) ?? -1) + 1
        while end + 8 <= journal.count {
            let count = journal[end + 4..<end + 8].reversed().reduce(0) { $0 << 8 | Int($1) }
            guard end + 16 + 8 * count <= journal.count else { break }
            end += 16 + 8 * count
        }
        return Array(journal[..<end])
    }

    @Test func aKilledCalibrationGoesOn() async throws {
        try SmallModel(layers: 8, hidden: 256, feedForward: 1024).write(to: folder, as: "large")
        let arguments = ["calibrate", "large", "--text", "text.txt", "--context", "64", "--sequences", "32", "--threads", "1", "--output"]
        expectSuccess(try await CommandTests.resq(arguments + ["whole.safetensors", "--imatrix", "whole.gguf"], in: folder.path))
        let expected = try folder.read("whole.safetensors")
        let folder = folder
        var resumed = 0
        for attempt in 0..<4 where resumed == 0 {
            let work = "work\(attempt)", output = "s\(attempt).safetensors"
            let killed = try await resqKilled(arguments + [output, "--work", work], in: folder.path) {
                folder.everything.contains(output) || folder.everything.filter { $0.hasPrefix(work + "/") && $0.contains("layer-") }.count > 2
            }
            guard killed.ending == .signaled(9) else { continue }
            #expect(!folder.everything.contains(output))
            let again = try await CommandTests.resq(arguments + [output, "--work", work], in: folder.path)
            expectSuccess(again)
            #expect(try folder.read(output) == expected)
            #expect(again.errors.contains("layers from an earlier run"), "\(again.errors)")
            resumed += 1
        }
        #expect(resumed == 1)
        let report = try await resq("inspect", "whole.gguf")
        expectSuccess(report)
        #expect(report.output.contains("blk.0.ffn_down.weight"))
    }
}
