import Formats
import Synchronization

/// Work over a whole model that a pass needs done before some of its tensors can be computed: statistics, bases,
/// sequential rounding.
///
/// A pass makes an analysis while it rewrites the graph, hands it to the context, and lets its tensors' operations ask for
/// the result. Planning performs none; a run performs all, in order, before the first tensor is written.
public final class Analysis<Result: Sendable>: AnyAnalysis {
    /// One phrase that says what is computed from what, so that equal phrases over equal graphs mean equal results.
    public let summary: String
    /// An upper estimate of the anonymous memory it takes.
    public let peakMemoryByteCount: Int
    /// What it does, for an estimate of its time.
    public let work: WorkEstimate
    private let compute: @Sendable (AnalysisRun) throws -> Result
    private let state = Mutex<Result?>(nil)

    public init(
        _ summary: String, peakMemoryByteCount: Int = 0, work: WorkEstimate = WorkEstimate(),
        compute: @escaping @Sendable (AnalysisRun) throws -> Result
    ) {
        self.summary = summary
        self.work = work
        self.peakMemoryByteCount = peakMemoryByteCount
        self.compute = compute
    }

    public func perform(in run: AnalysisRun) throws {
        let result = try compute(run)
        state.withLock { $0 = result }
    }

    /// The result.
    /// - Throws: `PipelineError.analysisMissing` when the analysis was not performed: a plan asked for data.
    public func result() throws -> Result {
        guard let result = state.withLock({ $0 }) else { throw PipelineError.analysisMissing(what: summary) }
        return result
    }
}

/// An analysis of any result.
public protocol AnyAnalysis: Sendable {
    var summary: String { get }
    var peakMemoryByteCount: Int { get }
    var work: WorkEstimate { get }
    func perform(in run: AnalysisRun) throws
}

/// What analyses may use of the run they are part of, and where they report.
public final class AnalysisRun: Sendable {
    /// Where artifacts are kept: a killed run goes on with them, and later runs that need the same use them again.
    private let root: String
    /// SHA-256 over the SHA-256s of the model's files.
    public let modelDigest: Digest
    /// SHA-256 over the SHA-256s of all inputs of the run.
    public let inputsDigest: Digest
    public let threadCount: Int
    public let progress: Progress
    private let remarks = Mutex<[Diagnostic]>([])

    public init(folder: String, modelDigest: Digest, inputsDigest: Digest, threadCount: Int, progress: Progress = Progress()) {
        root = folder
        self.modelDigest = modelDigest
        self.inputsDigest = inputsDigest
        self.threadCount = threadCount
        self.progress = progress
    }

    /// A folder of its own for one kind of artifact, named after everything that decides what is in it.
    /// - Parameter key: what decides it beside the inputs and the version of the tool.
    public func folder(for kind: String, key: [Digest]) throws -> String {
        let digest = Digest(of: [inputsDigest, Digest(of: toolVersion)] + key)
        let path = "\(root)/\(kind)-\(digest.description.prefix(16))"
        try createFolder(path)
        return path
    }

    /// Reports something the user should know that does not stop the run.
    public func report(_ severity: Diagnostic.Severity, _ message: String) {
        remarks.withLock { $0.append(Diagnostic(severity, message)) }
    }

    /// The remarks so far, in order.
    public var diagnostics: [Diagnostic] { remarks.withLock { $0 } }
}
