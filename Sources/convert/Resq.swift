import ArgumentParser
import Formats
import Passes

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// The command `resq`.
@main
struct Resq: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resq",
        abstract: "Converts, quantizes and checks LLM checkpoints.",
        discussion: """
            A model is a Hugging Face directory, a safetensors or GGUF file (the first of its splits will do), or a \
            .gguf.zst. Data goes to standard output, progress and remarks to standard error.

            Exit codes: 0 done, 1 a check failed, 64 wrong usage, 65 bad input, 73 the output cannot be created, \
            74 reading or writing failed.
            """,
        version: toolVersion,
        subcommands: [
            RunCommand.self, ConvertCommand.self, PlanCommand.self, ExplainCommand.self, InspectCommand.self, VerifyCommand.self,
            DiffCommand.self, TokenizeCommand.self, EvalCommand.self, GenerateCommand.self, CalibrateCommand.self,
            PassesCommand.self, RecipesCommand.self, ArchitecturesCommand.self,
        ])

    static func main() {
        occupyStandardDescriptors()
        // A file-size limit then makes writes fail with an error that can be told, instead of ending the process.
        _ = signal(SIGXFSZ, SIG_IGN)
        do {
            try checkArguments()
            var command = try parseAsRoot()
            try command.run()
        } catch {
            guard let failure = Failure(error) else { exit(withError: error) }
            standardError("error: \(failure.message)\n")
            exit(withError: ExitCode(failure.exitCode))
        }
    }
}
