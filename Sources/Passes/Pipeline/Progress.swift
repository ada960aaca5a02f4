import Synchronization

/// How far a run has come, told to whoever listens (a progress bar, a log).
public final class Progress: Sendable {
    public enum Phase: String, Sendable {
        case hashing = "hashing inputs"
        case writing
        case readingBack = "reading back"
        case comparing
        case verifying
        case calibrating
        case rounding
        case sampling = "writing text"
        case evaluating
        case scoring = "scoring choices"

        /// What is counted.
        public var unit: Unit {
            switch self {
            case .hashing, .writing, .readingBack, .comparing, .verifying: .bytes
            case .calibrating: .rows
            case .rounding: .layers
            case .sampling, .evaluating, .scoring: .tokens
            }
        }
    }

    /// Rows are tokens on their way through one layer.
    public enum Unit: Sendable { case bytes, layers, rows, tokens }

    /// Where a run stands.
    public struct State: Sendable {
        public var phase: Phase
        /// In the phase's unit, as the total.
        public var done: Int
        public var total: Int
    }

    private let listener: @Sendable (State) -> Void
    private let isCancelled = Atomic<Bool>(false)
    private let state = Mutex(State(phase: .hashing, done: 0, total: 0))

    /// - Parameter listener: called from working threads, often; it must be quick.
    public init(_ listener: @escaping @Sendable (State) -> Void = { _ in }) {
        self.listener = listener
    }

    /// Asks the run to stop: it ends at the next piece with `PipelineError.interrupted` and cleans up after itself.
    public func cancel() { isCancelled.store(true, ordering: .relaxed) }

    /// - Throws: `PipelineError.interrupted` once `cancel` was called.
    public func checkCancellation() throws(PipelineError) {
        if isCancelled.load(ordering: .relaxed) { throw .interrupted }
    }

    /// Starts a phase.
    /// - Parameter total: what there is to do, in the phase's unit.
    public func begin(_ phase: Phase, total: Int) {
        let new = State(phase: phase, done: 0, total: total)
        state.withLock { $0 = new }
        listener(new)
    }

    /// So much more is done, in the phase's unit.
    public func advance(_ count: Int) {
        let new = state.withLock { state in
            state.done += count
            return state
        }
        listener(new)
    }
}
