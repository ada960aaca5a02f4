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
    }

    /// Where a run stands.
    public struct State: Sendable {
        public var phase: Phase
        public var doneByteCount: Int
        public var totalByteCount: Int
    }

    private let listener: @Sendable (State) -> Void
    private let isCancelled = Atomic<Bool>(false)
    private let state = Mutex(State(phase: .hashing, doneByteCount: 0, totalByteCount: 0))

    /// - Parameter listener: called from working threads, often; it must be quick.
    public init(_ listener: @escaping @Sendable (State) -> Void = { _ in }) {
        self.listener = listener
    }

    /// Asks the run to stop: it ends at the next piece with `PipelineError.interrupted` and cleans up after itself.
    public func cancel() { isCancelled.store(true, ordering: .relaxed) }

    /// - Throws: `PipelineError.interrupted` once `cancel` was called.
    func checkCancellation() throws(PipelineError) {
        if isCancelled.load(ordering: .relaxed) { throw .interrupted }
    }

    func begin(_ phase: Phase, byteCount: Int) {
        let new = State(phase: phase, doneByteCount: 0, totalByteCount: byteCount)
        state.withLock { $0 = new }
        listener(new)
    }

    func advance(_ byteCount: Int) {
        let new = state.withLock { state in
            state.doneByteCount += byteCount
            return state
        }
        listener(new)
    }
}
