import Foundation
import Testing
import TestSupport

/// Whole conversions: what comes out, that it always is the same, and what is not written over.
@Suite struct ConversionTests {
    let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        try SmallModel().write(to: folder)
    }

    private func run(_ arguments: String...) async throws -> Outcome { try await resq(arguments, in: folder.path) }

    private func write(_ arguments: String..., sourceLocation: SourceLocation = #_sourceLocation) async throws {
        expectSuccess(try await resq(arguments, in: folder.path), sourceLocation: sourceLocation)
    }

    @Test func aModelComesBackFromGGUF() async throws {
        try await write("convert", "model", "m.gguf")
        try await write("convert", "m.gguf", "back")
        #expect(try folder.contents(of: "back").keys.contains("tokenizer.json"))
        expectSuccess(try await run("verify", "back", "--against", "model", "--max-relative-error", "0"))
        try await write("convert", "back", "again.gguf")
        expectSuccess(try await run("diff", "m.gguf", "again.gguf", "--exit-code"))
    }

    @Test func compressedFilesHoldTheSameGGUF() async throws {
        try await write("run", "q4_k_m", "--input", "model", "--output", "m.gguf")
        try await write("run", "q4_k_m", "--input", "model", "--output", "m.gguf.zst", "--level", "9", "--frame-size", "64KiB")
        try await write("convert", "m.gguf.zst", "unpacked.gguf")
        #expect(try folder.read("unpacked.gguf") == folder.read("m.gguf"))
        #expect(try folder.read("m.gguf.zst").count < folder.read("m.gguf").count)
    }

    @Test(arguments: ["gguf", "gguf.zst", "safetensors"]) func filesDoNotDependOnTheThreads(ending: String) async throws {
        for threads in ["1", "2", "7"] {
            if ending == "safetensors" {
                try await write("convert", "model", "\(threads).\(ending)", "--type", "f16", "--threads", threads)
            } else {
                try await write("run", "q4_k_m", "--input", "model", "--output", "\(threads).\(ending)", "--threads", threads)
            }
        }
        let one = try folder.read("1.\(ending)")
        #expect(try folder.read("2.\(ending)") == one)
        #expect(try folder.read("7.\(ending)") == one)
    }

    @Test func shardsDoNotDependOnTheThreads() async throws {
        for threads in ["1", "2", "7"] {
            try await write("convert", "model", "out\(threads)", "--shard-size", "100000", "--threads", threads)
        }
        let one = try folder.contents(of: "out1")
        #expect(one.keys.count { $0.hasSuffix(".safetensors") } == 3)
        #expect(one.keys.contains("model.safetensors.index.json"))
        #expect(try folder.contents(of: "out2") == one)
        #expect(try folder.contents(of: "out7") == one)
        expectSuccess(try await run("diff", "model", "out1", "--exit-code"))
    }

    @Test func splitFilesAreOneModel() async throws {
        try await write("convert", "model", "split.gguf", "--shard-size", "100kB")
        let parts = folder.names.filter { $0.hasPrefix("split-") }
        #expect(parts.count >= 3 && parts.allSatisfy { $0.hasSuffix(".gguf") })
        try await write("convert", "model", "whole.gguf")
        expectSuccess(try await run("diff", "whole.gguf", try #require(parts.first), "--exit-code"))
    }

    @Test func settingsChangeTheRecipe() async throws {
        let recipe = """
            recipe: 1
            params: {inner: q8_0}
            passes: [{id: round, use: quantize, with: {rules: [{match: {role: linear}, type: "${inner}"}]}}]
            """
        try folder.write(Array(recipe.utf8), to: "r.yaml")
        let types = { (sets: [String]) async throws -> Set<String> in
            let arguments = ["plan", "r.yaml", "--input", "model", "--json"] + sets.flatMap { ["--set", $0] }
            let plan = try json(await resq(arguments, in: folder.path)) as? [String: Any]
            let tensors = try #require(plan?["tensors"] as? [[String: Any]])
            return Set(tensors.filter { ($0["name"] as? String)?.contains("attn_q") == true }.compactMap { $0["type"] as? String })
        }
        #expect(try await types([]) == ["Q8_0"])
        #expect(try await types(["inner=q5_1"]) == ["Q5_1"])
        #expect(try await types([#"passes.round.with.rules=[{match: "*", type: f16}, {match: "*", type: "${inner}"}]"#]) == ["Q8_0"])
        #expect(try await types(["passes.round.with.rules.0.type=f16"]) == ["F16"])
    }

    @Test func aFileIsReplacedWhole() async throws {
        try folder.write([1, 2, 3], to: "m.gguf")
        try await write("convert", "model", "m.gguf")
        try await write("convert", "model", "fresh.gguf")
        #expect(try folder.read("m.gguf") == folder.read("fresh.gguf"))
    }

    @Test func aFolderThatHoldsFilesNeedsForce() async throws {
        try folder.makeFolder("out")
        try folder.write([1], to: "out/notes.txt")
        let stale = ["model-00001-of-00002.safetensors", "merges.txt", "chat_template.json", "additional_chat_templates/rag.jinja"]
        try folder.makeFolder("out/additional_chat_templates")
        for name in stale { try folder.write([1], to: "out/" + name) }
        let before = folder.everything
        expectRefusal(try await run("convert", "model", "out"), 73, saying: "out", "--force")
        #expect(folder.everything == before)
        try await write("convert", "model", "out", "--force")
        // What another model left would be read beside the new one's; what else lies there is the user's.
        for name in stale { #expect(!folder.everything.contains("out/" + name), "\(name)") }
        #expect(try folder.read("out/notes.txt") == [1])
        expectSuccess(try await run("diff", "model", "out", "--exit-code"))
    }

    /// Ways to name the input, after `ln` has made them.
    static let aliases = [
        "m.gguf", "./m.gguf", "model/../m.gguf", "soft.gguf", "hard.gguf", "through/m.gguf", "softer.gguf",
    ]

    @Test(arguments: aliases) func theInputIsNeverWrittenOver(output: String) async throws {
        try await write("convert", "model", "m.gguf")
        let files = FileManager.default
        try files.createSymbolicLink(atPath: folder.path("soft.gguf"), withDestinationPath: "m.gguf")
        try files.createSymbolicLink(atPath: folder.path("softer.gguf"), withDestinationPath: "soft.gguf")
        try files.createSymbolicLink(atPath: folder.path("through"), withDestinationPath: ".")
        try files.linkItem(atPath: folder.path("m.gguf"), toPath: folder.path("hard.gguf"))
        let (before, bytes) = (folder.everything, try folder.read("m.gguf"))
        for input in ["m.gguf", "soft.gguf", "through/hard.gguf"] {
            for arguments in [["convert", input, output, "--type", "q8_0"], ["run", "q8_0", "--input", input, "--output", output, "--force"]] {
                expectRefusal(try await resq(arguments, in: folder.path), 73, saying: "input")
            }
        }
        #expect(folder.everything == before)
        #expect(try folder.read("m.gguf") == bytes)
    }

    @Test(arguments: ["model", "model/", "./model", "linked", "model/model.safetensors", "linked/model.safetensors"])
    func theInputFolderIsNeverWrittenInto(output: String) async throws {
        try FileManager.default.createSymbolicLink(atPath: folder.path("linked"), withDestinationPath: "model")
        let before = try folder.contents(of: "model")
        expectRefusal(try await run("convert", "model", output, "--type", "f16", "--force"), 73, saying: "input")
        expectRefusal(try await run("convert", "linked", output, "--type", "f16", "--force"), 73, saying: "input")
        #expect(try folder.contents(of: "model") == before)
    }

    @Test func placesThatCannotBeWrittenAreNamed() async throws {
        let before = folder.everything
        expectRefusal(try await run("convert", "model", "missing/m.gguf"), 73, saying: "missing/m.gguf")
        expectRefusal(try await run("convert", "model", "model/config.json/m.gguf"), 73, saying: "model/config.json/m.gguf")
        try folder.makeFolder("folder.gguf")
        expectRefusal(try await run("convert", "model", "folder.gguf"), 73, saying: "folder.gguf")
        #expect(folder.everything == (before + ["folder.gguf"]).sorted())
    }
}
