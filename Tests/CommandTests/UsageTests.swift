import Testing
import TestSupport

/// Help, wrong usage, and which of the two outputs says what.
@Suite struct UsageTests {
    static let commands = ["run", "convert", "plan", "inspect", "verify", "diff", "passes", "recipes", "architectures"]

    @Test func helpNamesEveryCommand() async throws {
        let outcome = try await resq(["--help"])
        expectSuccess(outcome)
        for command in Self.commands { #expect(outcome.output.contains("\n  \(command)"), "\(command)") }
        #expect(outcome.errors.isEmpty)
    }

    @Test(arguments: commands) func everyCommandHasHelp(command: String) async throws {
        let outcome = try await resq([command, "--help"])
        expectSuccess(outcome)
        #expect(outcome.output.contains("USAGE: resq \(command)"))
        #expect(outcome.errors.isEmpty)
    }

    @Test(arguments: commands.filter { $0 != "run" && $0 != "convert" }) func commandsThatReportKnowJSON(command: String) async throws {
        #expect(try await resq([command, "--help"]).output.contains("--json"))
    }

    @Test func versionIsPrinted() async throws {
        let outcome = try await resq(["--version"])
        expectSuccess(outcome)
        #expect(outcome.output.split(separator: ".").count == 3)
    }

    /// Command lines that are wrong whatever the files hold, and a word of the answer.
    static let wrongUses: [([String], String)] = [
        (["frobnicate"], "frobnicate"),
        (["run"], "<recipe>"),
        (["run", "q8_0"], "--input"),
        (["run", "q8_0", "--input", "model", "--output", ""], "--output"),
        (["run", "q8_0", "--input", "model", "--output", "o.gguf", "--threads", "0"], "--threads"),
        (["run", "q8_0", "--input", "model", "--output", "o.gguf", "--threads", "many"], "many"),
        (["run", "q8_0", "--input", "model", "--output", "o.gguf.zst", "--level", "40"], "--level"),
        (["run", "q8_0", "--input", "model", "--output", "o.gguf.zst", "--frame-size", "1"], "--frame-size"),
        (["run", "q8_0", "--input", "model", "--output", "o.gguf", "--shard-size", "-5"], "--shard-size"),
        (["run", "q8_0", "--input", "model", "--output", "o.gguf", "--shard-size", "1e99"], "--shard-size"),
        (["run", "q8_0", "--input", "model", "--output", "o.gguf", "--set"], "--set"),
        (["run", "q8_0", "--input", "model", "--output", "o.gguf", "--set", "inner"], "KEY=VALUE"),
        (["run", "q8_0", "--input", "model", "--output", "o.gguf", "--set", "inner=q6_k"], "--set inner"),
        (["run", "q8_0", "--input", "model", "--output", "o.gguf", "--set", "on-fallbak=warn"], "on-fallback"),
        (["run", "q8_0", "--input", "model", "--outptu", "o.gguf"], "--outptu"),
        (["eval", "model", "--tokens", "t.npy", "--activations", "12"], "--activations"),
        (["generate", "model", "--prompt", "a", "--kv", "1"], "--kv"),
        (["convert", "model"], "<out>"),
        (["convert", "model", ""], "output"),
        (["convert", "model", "o.bin"], "o.bin"),
        (["convert", "model", "o.gguf", "--type", "q4_kk"], "q4_kk"),
        (["convert", "model", "o.gguf", "--type", "q8_k"], "q8_k"),
        (["convert", "model", "o.gguf", "--imatrix", "i.gguf"], "--imatrix"),
        (["plan", "q8_0"], "--input"),
        (["inspect"], "<path>"),
        (["inspect", "model", "other"], "other"),
        (["verify"], "<path>"),
        (["verify", "model", "--max-relative-error", "0.1"], "--against"),
        (["diff", "model"], "<b>"),
        (["passes", "quantise"], "quantize"),
    ]

    @Test(arguments: wrongUses.indices) func wrongUseIsExplained(index: Int) async throws {
        let (arguments, word) = Self.wrongUses[index]
        let folder = try TemporaryFolder()
        try SmallModel().write(to: folder)
        let before = folder.everything
        expectRefusal(try await resq(arguments, in: folder.path), 64, saying: word)
        #expect(folder.everything == before)
    }

    @Test func dataAndRemarksGoToTheirOutputs() async throws {
        let folder = try TemporaryFolder()
        try SmallModel().write(to: folder)
        let loud = try await resq(["run", "q4_k_m", "--input", "model", "--output", "o.gguf"], in: folder.path)
        expectSuccess(loud)
        #expect(loud.output.isEmpty)
        #expect(loud.errors.contains("warning: ") && loud.errors.contains("wrote o.gguf: 21 tensors"))
        #expect(!loud.errors.contains("\r"), "a progress bar without a terminal")
        let quiet = try await resq(["run", "q4_k_m", "--input", "model", "--output", "o.gguf", "--quiet"], in: folder.path)
        expectSuccess(quiet)
        #expect(quiet.output.isEmpty && quiet.errors.isEmpty)
        for arguments in [["inspect", "o.gguf"], ["verify", "o.gguf"], ["diff", "o.gguf", "model"], ["plan", "q8_0", "-i", "model"]] {
            let outcome = try await resq(arguments, in: folder.path)
            expectSuccess(outcome)
            #expect(!outcome.output.isEmpty && outcome.errors.isEmpty)
        }
        // Errors are no remarks: they come also when everything else is quiet.
        expectRefusal(try await resq(["convert", "o.gguf", "o.gguf", "--quiet"], in: folder.path), 73, saying: "o.gguf")
    }

    @Test(.enabled(if: deviceExists("/dev/full"))) func outputThatCannotBeWrittenIsAnError() async throws {
        let outcome = try await resq(["passes"], redirecting: ">/dev/full")
        expectRefusal(outcome, 74, saying: "standard output")
    }

    @Test func closedOutputsHarmNothing() async throws {
        let folder = try TemporaryFolder()
        try SmallModel().write(to: folder)
        let run = ["run", "q4_k_m", "--input", "model", "--output"]
        expectSuccess(try await resq(run + ["open.gguf"], in: folder.path))
        // Files opened now would get the numbers of the outputs, and remarks would go into them.
        expectSuccess(try await resq(run + ["closed.gguf"], in: folder.path, redirecting: "<&- >&- 2>&-"))
        #expect(try folder.read("open.gguf") == folder.read("closed.gguf"))
        let refused = try await resq(["inspect", "config.json"], in: folder.path("model"), redirecting: "<&- >&- 2>&-")
        #expect(refused.ending == .exited(65))
    }
}
