import Formats
import Threads

/// Some windows on their way through a model: all layers first, then the judged rows, a few at a time.
///
/// Memory holds the residual stream of the windows and the logits of a few rows.
public struct WindowBatch: Sendable {
    /// What a step gives.
    public struct Rows: Sendable {
        public let window: Int
        /// The first of the rows, counted from the window's first judged row.
        public let first: Int
        public let scores: [TokenScore]
    }

    private let evaluation: Evaluation
    private let windows: Range<Int>
    private let progress: @Sendable (Double) throws -> Void
    private var batch: Batch
    private var referenceBatch: Batch?
    private var window: Int
    private var row = 0
    /// `[rows, vocabulary]` of the last step: the model's, and the reference's when there is one.
    private var logits: [Float] = []
    private var referenceLogits: [Float] = []
    /// The share of the work that is the layers'.
    private let layerShare: Double
    private let rowsAtOnce: Int

    /// Runs the windows through all layers.
    /// - Parameter progress: called with the share of the work that is done, from 0 to 1.
    /// - Throws: `EvaluationError.forward` for what is not finite, naming the model; what the hooks and `progress` throw.
    public init(
        _ evaluation: Evaluation, windows: Range<Int>, progress: @escaping @Sendable (Double) throws -> Void = { _ in }
    ) throws {
        self.evaluation = evaluation
        self.windows = windows
        self.progress = progress
        window = windows.lowerBound
        let numbers = evaluation.network.model.hyperparameters
        // Twelve matrices of the hidden size per layer, roughly.
        let layers = Double(12 * numbers.layers * numbers.hidden)
        let head = Double(numbers.vocabulary) * Double(evaluation.judgedRows.count) / Double(evaluation.context)
        let share = layers / (layers + head)
        layerShare = share
        rowsAtOnce = LogitCode.wholeRuns(atMost: evaluation.network.logitRowsAtOnce, vocabulary: numbers.vocabulary)
        let part = Array(evaluation.windows[windows])
        var other: (network: Network, name: String)?
        if case .network(let network, let name) = evaluation.reference { other = (network, name) }
        let passes = other == nil ? 1.0 : 2.0
        batch = try WindowBatch.hidden(
            of: evaluation.network, named: evaluation.modelName, part, firstWindow: windows.lowerBound, hooks: evaluation.hooks
        ) { try progress($0 * share / passes) }
        referenceBatch = try other.map { other in
            try WindowBatch.hidden(of: other.network, named: other.name, part, firstWindow: windows.lowerBound, hooks: nil) {
                try progress((1 + $0) * share / passes)
            }
        }
    }

    private static func hidden(
        of network: Network, named name: String, _ part: [[Int]], firstWindow: Int, hooks: (any ForwardHooks)?,
        progress: (Double) throws -> Void
    ) throws -> Batch {
        try named(name, firstWindow: firstWindow) {
            var batch = try network.embed(part)
            var caches: [KeyValueCache]?
            let tables = network.rotaryTables(contextLength: part.map(\.count).max() ?? 0)
            try network.runLayers(on: &batch, caches: &caches, tables: tables, hooks: hooks) { layer in
                try progress(Double(layer + 1) / Double(network.layerCount))
            }
            batch.dropScratch()
            return batch
        }
    }

    /// Lets errors of the forward pass name the model and count windows from the start of the text.
    private static func named<T>(_ name: String, firstWindow: Int, _ body: () throws -> T) throws -> T {
        do { return try body() } catch let error as ForwardError {
            throw EvaluationError(.forward(error.inText(firstWindow: firstWindow)), path: name)
        }
    }

    /// Judges the next rows.
    /// - Returns: `nil` after the last.
    public mutating func next() throws -> Rows? {
        guard window < windows.upperBound else { return nil }
        let judged = evaluation.judgedRows
        guard row < judged.count else {
            window += 1
            row = 0
            try progress(layerShare + (1 - layerShare) * Double(window - windows.lowerBound) / Double(windows.count))
            return try next()
        }
        let count = min(rowsAtOnce, judged.count - row)
        let sequence = batch.sequences[window - windows.lowerBound]
        let first = sequence.rows.lowerBound + judged.lowerBound + row
        try WindowBatch.named(evaluation.modelName, firstWindow: windows.lowerBound) {
            try evaluation.network.logits(of: batch, rows: first..<first + count, into: &logits, hooks: evaluation.hooks)
        }
        switch evaluation.reference {
        case .network(let network, let name):
            try WindowBatch.named(name, firstWindow: windows.lowerBound) {
                try network.logits(of: referenceBatch!, rows: first..<first + count, into: &referenceLogits)
            }
        case .saved(let saved):
            try saved.logits(
                ofWindow: window, rows: row..<row + count, into: &referenceLogits, threadCount: evaluation.network.threadCount)
        case nil: break
        }
        let start = judged.lowerBound + row + 1
        let rows = Rows(window: window, first: row, scores: scores(next: Array(evaluation.windows[window][start..<start + count])))
        row += count
        return rows
    }

    /// Logits of the rows that `next` gave last, coded for keeping: the reference's, or the model's when there is none.
    package func codedRuns(of rows: Rows) -> [LogitCode.Run] {
        LogitCode.runs(
            evaluation.reference == nil ? logits : referenceLogits, rowCount: rows.scores.count, vocabulary: evaluation.vocabulary,
            threadCount: evaluation.network.threadCount)
    }

    /// Logits of the rows that `next` gave last, `[rows, vocabulary]`, the reference's too, and the tokens that came after them.
    package func judged(_ rows: Rows) -> (next: [Int], logits: [Float], referenceLogits: [Float]?) {
        let start = evaluation.judgedRows.lowerBound + rows.first + 1
        let count = rows.scores.count * evaluation.vocabulary
        return (
            Array(evaluation.windows[rows.window][start..<start + rows.scores.count]), Array(logits[..<count]),
            evaluation.reference == nil ? nil : Array(referenceLogits[..<count])
        )
    }

    private func scores(next: [Int]) -> [TokenScore] {
        let vocabulary = evaluation.vocabulary
        let isCompared = evaluation.reference != nil
        return ordered(count: next.count, threadCount: evaluation.network.threadCount) { row in
            let said = logits.span.extracting(row * vocabulary..<(row + 1) * vocabulary)
            let summary = LogitSummary(said)
            var score = TokenScore(negativeLogLikelihood: -summary.logProbability(of: next[row], in: said))
            if isCompared {
                let other = referenceLogits.span.extracting(row * vocabulary..<(row + 1) * vocabulary)
                let otherSummary = LogitSummary(other)
                let distance = divergence(other, said, otherSummary, summary)
                score.comparison = TokenScore.Comparison(
                    divergence: distance.divergence, agrees: otherSummary.index == summary.index,
                    squareDifference: distance.squareDifference / Double(vocabulary))
            }
            return score
        }
    }
}
