import ArgumentParser
import Formats
import Models
import Passes

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// An error as the command line reports it: one line and an exit code of sysexits.
struct Failure {
    var message: String
    var exitCode: Int32

    static let checkFailed: Int32 = 1
    static let badInput: Int32 = 65
    static let cannotCreate: Int32 = 73
    static let ioError: Int32 = 74

    /// `nil` for errors that are not ours, such as those of the argument parser.
    init?(_ error: any Error) {
        switch error {
        case let error as FormatError: self.init(message: error.description, exitCode: Failure.code(of: error.reason))
        case let error as ModelError: self.init(message: error.description, exitCode: Failure.badInput)
        case let error as ForwardError: self.init(message: error.description, exitCode: Failure.badInput)
        case let error as EvaluationError: self.init(message: error.description, exitCode: Failure.badInput)
        case let error as RecipeError: self.init(message: error.description, exitCode: Failure.badInput)
        case let error as PipelineError: self.init(message: error.description, exitCode: Failure.code(of: error))
        default: return nil
        }
    }

    private init(message: String, exitCode: Int32) {
        // Names from files are already escaped; a line break would still make two errors of one.
        self.message = message.split(whereSeparator: \.isNewline).joined(separator: " ")
        self.exitCode = exitCode
    }

    private static func code(of reason: FormatError.Reason) -> Int32 {
        switch reason {
        case .diskFull: cannotCreate
        case .system(let call, let errno):
            // A path that is not there is the caller's mistake; the rest is the system's trouble.
            call == "open" && (errno == ENOENT || errno == ENOTDIR) ? badInput : ioError
        default: badInput
        }
    }

    private static func code(of error: PipelineError) -> Int32 {
        switch error {
        case .interrupted: 130
        case .cannotCreate, .outputExists, .outputIsInput, .workDirectoryBusy: cannotCreate
        case .readBackMismatch, .tooInaccurate: checkFailed
        case .brokenPromise, .notFinite, .doesNotFit, .cannotApply, .overflows: badInput
        }
    }
}
