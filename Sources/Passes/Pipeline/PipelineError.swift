import Formats

/// What stopped a conversion that is not the fault of one file's format.
public enum PipelineError: Error, Sendable, Equatable {
    /// A pass or operation returned other bytes than it promised.
    case brokenPromise(tensor: String, operation: String, promised: Int, delivered: Int)
    /// A NaN or an infinity where weights are rounded; `through` is what of a plugin had a part in them.
    case notFinite(tensor: String, index: Int, through: String? = nil)
    /// A finite value too large for the type it is to be stored in.
    case overflows(tensor: String, index: Int, type: String)
    /// A type does not fit a tensor's shape and the recipe does not allow another; `rule` is the rule that chose it.
    case doesNotFit(tensor: String, type: String, shape: [Int], fallback: String?, rule: RecipeLocation)
    /// A type is of no use without an importance matrix, and there is none, or `matrix` says nothing of the tensor.
    case needsImportance(tensor: String, type: String, matrix: String?)
    /// A pass cannot treat this model, and why.
    case cannotApply(pass: String, why: String)
    /// The model needs more of its runtime than the format can say.
    case needsRuntime(format: String, what: String)
    /// The output path is one of the inputs.
    case outputIsInput(path: String)
    case outputExists(path: String)
    /// What was read back is not what was written.
    case readBackMismatch(path: String, tensor: String, what: String)
    /// A tensor came out worse than the recipe's `verify` block allows.
    case tooInaccurate(tensor: String, relativeError: Double, limit: Double)
    /// A pass promised to keep what the model computes, and does not; root mean squares of differences of logits.
    case changesFunction(pass: String, difference: Double, allowed: Double)
    /// A tensor came out otherwise when it was computed again.
    case notDeterministic(tensor: String)
    /// The output's file or folder cannot be made.
    case cannotCreate(path: String, why: String)
    /// The output has no tensor of that name.
    case noSuchTensor(name: String, nearest: String?)
    /// A tensor's bytes were asked for before the analysis they come from was performed.
    case analysisMissing(what: String)
    /// Somebody asked the run to stop.
    case interrupted
    /// The work directory belongs to another run that is still going on.
    case workDirectoryBusy(path: String)
}

extension PipelineError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .brokenPromise(let tensor, let operation, let promised, let delivered):
            "tensor '\(tensor)': \(operation) promised \(promised) bytes and delivered \(delivered)"
        case .notFinite(let tensor, let index, let through):
            "tensor '\(tensor)': element \(index) is not a finite number" + (through.map { "; it comes from \(printable($0))" } ?? "")
        case .overflows(let tensor, let index, let type):
            "tensor '\(tensor)': element \(index) is too large for \(type)"
        case .doesNotFit(let tensor, let type, let shape, let fallback, let rule):
            "\(rule): tensor '\(tensor)': \(type) does not fit shape \(shape)"
                + (fallback.map { " (\($0) would; say 'on-fallback: warn' to take it)" } ?? "")
        case .needsImportance(let tensor, let type, let matrix):
            "tensor '\(tensor)': \(type) needs an importance matrix"
                + (matrix.map { ", and \($0) says nothing of this tensor" } ?? "; give one with 'imatrix'")
        case .cannotApply(let pass, let why): "pass '\(pass)': \(why)"
        case .needsRuntime(let format, let what):
            "the model needs a runtime that does more than its architecture (\(what)), which \(format) cannot say; write .gguf or "
                + ".gguf.zst, or leave it out of the recipe"
        case .outputIsInput(let path): "\(path): is an input of this run and is never written over"
        case .outputExists(let path): "\(path): exists and is not empty; --force replaces it"
        case .readBackMismatch(let path, let tensor, let what):
            "\(path): tensor '\(tensor)' read back differently: \(what)"
        case .tooInaccurate(let tensor, let error, let limit):
            "tensor '\(tensor)': relative error \(error) is above the allowed \(limit)"
        case .changesFunction(let pass, let difference, let allowed):
            "pass '\(pass)' promises to keep what the model computes, and logits differ by \(difference), rounding explains \(allowed)"
        case .notDeterministic(let tensor): "tensor '\(printable(tensor))': computed again, it has other bytes"
        case .cannotCreate(let path, let why): "\(path): cannot be created: \(why)"
        case .noSuchTensor(let name, let nearest):
            "the output has no tensor '\(printable(name))'" + (nearest.map { "; did you mean '\($0)'?" } ?? "")
        case .analysisMissing(let what): "not known before a run: \(what)"
        case .interrupted: "interrupted"
        case .workDirectoryBusy(let path): "\(path): another run is using this work directory"
        }
    }
}
