import Formats
import Synchronization

/// A step of a recipe: rewrites the graph without touching tensor data.
///
/// `rewrite` replaces tensors by others that promise their shape and encoding now and compute later. It must be
/// deterministic and must not write files.
public protocol Pass: Sendable {
    /// Replaces tensors in `graph`.
    /// - Throws: `PipelineError.cannotApply` for a model the pass cannot treat; errors of inputs it opens.
    func rewrite(_ graph: inout TensorGraph, in context: PassContext) throws
}

/// A pass that is a Swift type.
public protocol DeclaredPass: Pass, Declared {}

/// What a pass may know of the run it is part of, and where it reports.
public final class PassContext: Sendable {
    private struct State {
        var diagnostics: [Diagnostic] = []
        var inputs: [SourceFile] = []
        var analyses: [any AnyAnalysis] = []
        var plugins: [Plugin] = []
    }

    /// Whether types that do not fit a shape may be swapped for others.
    public let onFallback: FallbackPolicy
    private let calibration: CalibrationSource?
    private let state = Mutex(State())

    public init(onFallback: FallbackPolicy, calibration: CalibrationSource? = nil) {
        self.onFallback = onFallback
        self.calibration = calibration
    }

    /// Where calibration sequences come from, checked as far as it can be without reading tensors. The text becomes an
    /// input of the run: hashed, and protected like the model.
    /// - Parameter pass: the identifier of the pass that asks.
    /// - Throws: `PipelineError.cannotApply` outside a recipe; what keeps the model from being calibrated.
    public func calibrationSource(for pass: String) throws -> CalibrationSource {
        guard let calibration else { throw PipelineError.cannotApply(pass: pass, why: "it needs the calibration settings of a recipe") }
        try calibration.check()
        if let text = calibration.settings.text {
            let file = SourceFile(path: text, byteCount: try MappedFile(path: text).byteCount)
            state.withLock { state in if !state.inputs.contains(where: { $0.path == text }) { state.inputs.append(file) } }
        }
        return calibration
    }

    /// Has an analysis performed before the run computes tensors, after those of the passes before.
    public func perform(_ analysis: any AnyAnalysis) { state.withLock { $0.analyses.append(analysis) } }

    /// Reports something the user should know that does not stop the run.
    public func report(_ severity: Diagnostic.Severity, _ message: String) {
        state.withLock { $0.diagnostics.append(Diagnostic(severity, message)) }
    }

    /// Opens a further input, such as an adapter; its files are hashed and protected like the model's.
    public func open(_ path: String) throws(FormatError) -> any TensorSource {
        let source = try openTensorSource(at: path)
        state.withLock { $0.inputs += source.files }
        return source
    }

    /// Makes a file that somebody else reads, such as a plugin, an input of the run: hashed, and protected like the model.
    func read(_ path: String) throws(FormatError) {
        let file = SourceFile(path: path, byteCount: try MappedFile(path: path).byteCount)
        state.withLock { state in if !state.inputs.contains(where: { $0.path == path }) { state.inputs.append(file) } }
    }

    /// Records that a plugin has a part in the run.
    func use(_ plugin: Plugin) {
        state.withLock { state in if !state.plugins.contains(where: { $0.path == plugin.path }) { state.plugins.append(plugin) } }
    }

    /// Opens an importance matrix, which is an input like others.
    func openImportanceMatrix(_ path: String) throws(FormatError) -> ImportanceMatrix {
        let matrix = try ImportanceMatrix(path: path)
        let byteCount = try MappedFile(path: path).byteCount
        state.withLock { $0.inputs.append(SourceFile(path: path, byteCount: byteCount)) }
        return matrix
    }

    /// The remarks so far, in order.
    public var diagnostics: [Diagnostic] { state.withLock { $0.diagnostics } }
    var inputs: [SourceFile] { state.withLock { $0.inputs } }
    var plugins: [Plugin] { state.withLock { $0.plugins } }
    var analyses: [any AnyAnalysis] { state.withLock { $0.analyses } }
}

/// A remark about the run.
public struct Diagnostic: Sendable, Equatable {
    public enum Severity: String, Sendable { case note, warning }
    public var severity: Severity
    public var message: String

    public init(_ severity: Severity, _ message: String) {
        self.severity = severity
        self.message = message
    }
}

/// What happens when a type does not fit a tensor's shape.
public enum FallbackPolicy: String, Sendable, CaseIterable {
    case error, warn, allow
}
