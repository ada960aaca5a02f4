import Models
import Synchronization

/// The scores of an evaluation's windows as they come in, kept in a journal when there is one.
final class WindowScoring: Sendable {
    let evaluation: Evaluation
    private let journal: EvaluationJournal?
    private let progress: Progress
    private let state: Mutex<(scores: [[TokenScore]?], freshCount: Int)>

    /// Takes over what the journal has, batch by batch: one that is not there whole is run again whole, so that every
    /// window is computed beside the same others as without an interruption.
    init(_ evaluation: Evaluation, journal: EvaluationJournal?, progress: Progress) {
        self.evaluation = evaluation
        self.journal = journal
        self.progress = progress
        var scores = [[TokenScore]?](repeating: nil, count: evaluation.windows.count)
        for batch in evaluation.batches {
            let known = batch.map { window in
                journal?.finished[window].flatMap {
                    TokenScore.scores($0, count: evaluation.judgedRows.count, hasReference: evaluation.reference != nil)
                }
            }
            if known.allSatisfy({ $0 != nil }) { for (window, list) in zip(batch, known) { scores[window] = list } }
        }
        state = Mutex((scores, 0))
    }

    var unfinishedWindowCount: Int { state.withLock { $0.scores.count { $0 == nil } } }
    /// Windows that were run by this process.
    var freshWindowCount: Int { state.withLock { $0.freshCount } }
    /// All scores, once every batch is finished.
    var scores: [[TokenScore]] { state.withLock { $0.scores.map { $0 ?? [] } } }

    func isFinished(_ windows: Range<Int>) -> Bool { state.withLock { $0.scores[windows].allSatisfy { $0 != nil } } }

    /// A batch whose scores are being collected.
    struct OpenBatch: Sendable {
        let windows: Range<Int>
        var rows: WindowBatch
        var scores: [[TokenScore]]

        /// Judges the next rows; `nil` when all are done.
        mutating func next() throws -> WindowBatch.Rows? {
            guard let found = try rows.next() else { return nil }
            scores[found.window - windows.lowerBound] += found.scores
            return found
        }
    }

    /// Runs a batch through the layers.
    /// - Throws: `PipelineError.interrupted` once the run was cancelled; `EvaluationError`.
    func open(_ windows: Range<Int>) throws -> OpenBatch {
        let done = Mutex(0)
        let tokenCount = Double(windows.count * evaluation.context)
        let counts = !isFinished(windows)
        let rows = try WindowBatch(evaluation, windows: windows) { [progress] share in
            try progress.checkCancellation()
            let step = done.withLock { done in
                let now = Int(share * tokenCount)
                defer { done = now }
                return now - done
            }
            // Windows that are run only for their logits are not part of the total.
            progress.advance(counts ? step : 0)
        }
        return OpenBatch(windows: windows, rows: rows, scores: [[TokenScore]](repeating: [], count: windows.count))
    }

    /// Records the scores of a batch that is done.
    func close(_ batch: OpenBatch) throws {
        guard !isFinished(batch.windows) else { return }
        try journal?.record(zip(batch.windows, batch.scores).map { ($0, TokenScore.numbers($1)) })
        state.withLock { state in
            for (window, list) in zip(batch.windows, batch.scores) { state.scores[window] = list }
            state.freshCount += batch.windows.count
        }
    }
}
