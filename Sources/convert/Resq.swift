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

/// The command `resq`, for programs that bring passes of their own to it.
public enum Resq {
    /// What recipes and options of the command that runs may name.
    @TaskLocal static var registry = Registry.builtIn

    /// Does what the command line says, and ends the process.
    /// - Parameter registry: what recipes and options may name, before plugins are added.
    public static func run(_ registry: Registry = .builtIn) -> Never {
        occupyStandardDescriptors()
        // A file-size limit then makes writes fail with an error that can be told, instead of ending the process.
        _ = signal(SIGXFSZ, SIG_IGN)
        do {
            try checkArguments()
            try $registry.withValue(registry) {
                var command = try RootCommand.parseAsRoot()
                try command.run()
            }
        } catch {
            guard let failure = Failure(error) else { RootCommand.exit(withError: error) }
            standardError("error: \(failure.message)\n")
            RootCommand.exit(withError: ExitCode(failure.exitCode))
        }
        RootCommand.exit()
    }
}

/// All commands.
struct RootCommand: ParsableCommand {
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
}
