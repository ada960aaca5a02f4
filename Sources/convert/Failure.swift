import ArgumentParser
import Formats
import Models
import Passes
import ResQ

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// An error as the command line reports it: one line and an exit code of sysexits.
struct Failure: Error {
    var message: String
    var exitCode: Int32

    static let checkFailed: Int32 = 1
    static let wrongUsage: Int32 = 64
    static let badInput: Int32 = 65
    static let cannotCreate: Int32 = 73
    static let ioError: Int32 = 74

    /// - Parameter model: the model the command was working on, named where the error names no file.
    /// - Returns: `nil` for errors that are not ours, such as those of the argument parser.
    init?(_ error: any Error, about model: String? = nil) {
        switch error {
        case let error as Failure: self = error
        case let error as FormatError:
            self.init(message: (model.map(error.at(path:)) ?? error).description, exitCode: Failure.code(of: error.reason))
        case var error as ModelError:
            error.path = error.path ?? model
            self.init(message: error.description, exitCode: Failure.badInput)
        case let error as ForwardError:
            self.init(message: (model.map { printable($0) + ": " } ?? "") + error.description, exitCode: Failure.badInput)
        case var error as EvaluationError:
            error.path = error.path ?? model
            self.init(message: error.description, exitCode: Failure.badInput)
        case let error as ResQError:
            self.init(message: (model.map { printable($0) + ": " } ?? "") + error.description, exitCode: Failure.badInput)
        case let error as RecipeError:
            self.init(message: error.description, exitCode: error.location.isOverride ? Failure.wrongUsage : Failure.badInput)
        case let error as PluginError: self.init(message: error.description, exitCode: Failure.badInput)
        case let error as PipelineError:
            let prefix = error.namesFile ? "" : model.map { printable($0) + ": " } ?? ""
            self.init(message: prefix + error.description, exitCode: Failure.code(of: error))
        default: return nil
        }
    }

    init(message: String, exitCode: Int32) {
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
        case .readBackMismatch, .tooInaccurate, .changesFunction, .notDeterministic: checkFailed
        case .brokenPromise, .notFinite, .doesNotFit, .needsImportance, .needsRuntime, .cannotApply, .overflows, .analysisMissing, .noSuchTensor: badInput
        }
    }
}

/// Does something with a model; what goes wrong names the model, unless it names a file already.
func naming<Result>(_ model: String, _ body: () throws -> Result) throws -> Result {
    do { return try body() } catch { throw Failure(error, about: model) ?? error }
}

extension PipelineError {
    /// Whether the sentence says which file or folder it is about.
    fileprivate var namesFile: Bool {
        switch self {
        case .outputIsInput, .outputExists, .readBackMismatch, .cannotCreate, .interrupted, .workDirectoryBusy: true
        case .doesNotFit: true  // the recipe's
        case .brokenPromise, .notFinite, .overflows, .needsImportance, .needsRuntime, .cannotApply, .tooInaccurate, .analysisMissing, .noSuchTensor, .changesFunction, .notDeterministic: false
        }
    }
}
