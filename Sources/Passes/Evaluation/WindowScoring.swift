import Models
import Synchronization

/// What one window gave.
struct WindowScores: Sendable {
    /// A score for each token that counts.
    var tokens: [TokenScore] = []
    /// The numbers of each metric that looks at logits, one for each token.
    var metrics: [[Double]]

    init(metricCount: Int) { metrics = [[Double]](repeating: [], count: metricCount) }

    /// The way back from `numbers`; `nil` when they are not those of `count` tokens.
    init?(_ numbers: [Double], count: Int, hasReference: Bool, metricCount: Int) {
        guard numbers.count >= count * metricCount else { return nil }
        let own = numbers.count - count * metricCount
        guard let tokens = TokenScore.scores(Array(numbers[..<own]), count: count, hasReference: hasReference) else { return nil }
        self.tokens = tokens
        metrics = (0..<metricCount).map { Array(numbers[own + $0 * count..<own + ($0 + 1) * count]) }
    }

    /// Plain numbers, to be kept in a file.
    var numbers: [Double] { TokenScore.numbers(tokens) + metrics.flatMap(\.self) }
}

/// The scores of an evaluation's windows as they come in, kept in a journal when there is one.
final class WindowScoring: Sendable {
    let evaluation: Evaluation
    /// Those that look at logits.
    private let metrics: [any Metric]
    private let journal: EvaluationJournal?
    private let progress: Progress
    private let state: Mutex<(scores: [WindowScores?], freshCount: Int)>

    /// Takes over what the journal has, batch by batch: one that is not there whole is run again whole, so that every
    /// window is computed beside the same others as without an interruption.
    init(_ evaluation: Evaluation, metrics: [any Metric], journal: EvaluationJournal?, progress: Progress) {
        self.evaluation = evaluation
        self.metrics = metrics
        self.journal = journal
        self.progress = progress
        var scores = [WindowScores?](repeating: nil, count: evaluation.windows.count)
        for batch in evaluation.batches {
            let known = batch.map { window in
                journal?.finished[window].flatMap {
                    WindowScores(
                        $0, count: evaluation.judgedRows.count, hasReference: evaluation.reference != nil, metricCount: metrics.count)
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
    var scores: [WindowScores] { state.withLock { $0.scores.map { $0 ?? WindowScores(metricCount: metrics.count) } } }

    func isFinished(_ windows: Range<Int>) -> Bool { state.withLock { $0.scores[windows].allSatisfy { $0 != nil } } }

    /// A batch whose scores are being collected.
    struct OpenBatch: Sendable {
        let windows: Range<Int>
        var rows: WindowBatch
        fileprivate var scores: [WindowScores]
        fileprivate let vocabulary: Int
        fileprivate let metrics: [any Metric]

        /// Judges the next rows; `nil` when all are done.
        mutating func next() throws -> WindowBatch.Rows? {
            guard let found = try rows.next() else { return nil }
            let place = found.window - windows.lowerBound
            scores[place].tokens += found.scores
            guard !metrics.isEmpty else { return found }
            let (next, logits, reference) = rows.judged(found)
            let judged = JudgedRows(next: next, vocabulary: vocabulary, logits: logits, referenceLogits: reference)
            for (number, metric) in metrics.enumerated() {
                let numbers = try metric.scores(of: judged)
                precondition(numbers.count == next.count, "a metric gives a number for each row")
                scores[place].metrics[number] += numbers
            }
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
        return OpenBatch(
            windows: windows, rows: rows, scores: [WindowScores](repeating: WindowScores(metricCount: metrics.count), count: windows.count),
            vocabulary: evaluation.vocabulary, metrics: metrics)
    }

    /// Records the scores of a batch that is done.
    func close(_ batch: OpenBatch) throws {
        guard !isFinished(batch.windows) else { return }
        try journal?.record(zip(batch.windows, batch.scores).map { ($0, $1.numbers) })
        state.withLock { state in
            for (window, list) in zip(batch.windows, batch.scores) { state.scores[window] = list }
            state.freshCount += batch.windows.count
        }
    }
}
