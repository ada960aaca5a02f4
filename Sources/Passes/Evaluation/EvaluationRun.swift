import Formats
import Models

/// An evaluation that keeps what it finishes: scores in a work folder, the reference's logits in a file.
public struct EvaluationRun: Sendable {
    public let evaluation: Evaluation
    private let metrics: [any Metric]
    private let work: EvaluationWork?
    private let logits: (path: String, modelName: String, inputs: HashedInputs)?
    private let threadCount: Int

    /// What a run gave.
    public struct Result: Sendable {
        /// One list per window, a score per token that counts.
        public var scores: [[TokenScore]]
        /// For each metric that was asked for, its numbers of all tokens; empty for those that do not look at logits.
        public var metricScores: [[Double]]
        /// Windows that were run now; the others come from the work folder.
        public var freshWindowCount: Int
        public var duration: Duration
    }

    /// - Parameters:
    ///   - metrics: what is to be said of the text.
    ///   - work: keeps the scores of finished windows.
    ///   - logits: where to keep the logits of the reference, or of the model when there is none; what that model is
    ///     called, and its files.
    public init(
        _ evaluation: Evaluation, metrics: [any Metric] = [], work: EvaluationWork? = nil,
        savingLogitsTo logits: (path: String, modelName: String, inputs: HashedInputs)? = nil, threadCount: Int
    ) {
        self.evaluation = evaluation
        self.metrics = metrics
        self.work = work
        self.logits = logits
        self.threadCount = threadCount
    }

    /// Scores every window.
    /// - Throws: `EvaluationError`, `FormatError`, `PipelineError`; then what was finished stays in the work folder.
    public func run(progress: Progress = Progress()) throws -> Result {
        let journal = try work?.journal(facts)
        let looking = metrics.indices.filter { metrics[$0].judgesLogits }
        let scoring = WindowScoring(evaluation, metrics: looking.map { metrics[$0] }, journal: journal, progress: progress)
        let clock = ContinuousClock()
        progress.begin(.evaluating, total: scoring.unfinishedWindowCount * evaluation.context)
        let start = clock.now
        if let logits {
            try LogitWriter(
                scoring: scoring, path: logits.path, modelName: logits.modelName, inputs: logits.inputs, threadCount: threadCount
            ).write(isContinuation: journal?.isContinuation ?? false, keepsPart: journal != nil)
        }
        for windows in evaluation.batches where !scoring.isFinished(windows) {
            var batch = try scoring.open(windows)
            while try batch.next() != nil {}
            try scoring.close(batch)
        }
        let scores = scoring.scores
        var metricScores = [[Double]](repeating: [], count: metrics.count)
        for (place, metric) in looking.enumerated() { metricScores[metric] = scores.flatMap { $0.metrics[place] } }
        return Result(
            scores: scores.map(\.tokens), metricScores: metricScores, freshWindowCount: scoring.freshWindowCount,
            duration: clock.now - start)
    }

    /// What the scores depend on beside the models.
    private var facts: [String] {
        [
            "windows \(evaluation.protocolName.rawValue) \(evaluation.context) \(evaluation.reference == nil ? "alone" : "compared")",
            logits.map { "saving \($0.path)" } ?? "",
            metrics.filter(\.judgesLogits).map(\.summary).joined(separator: "\n"),
            evaluation.windows.map { $0.map { "\($0)" }.joined(separator: " ") }.joined(separator: "\n"),
        ]
    }
}

/// A multiple-choice evaluation that keeps the items it finishes.
public struct ChoiceRun: Sendable {
    public let evaluation: ChoiceEvaluation
    private let work: EvaluationWork?

    /// What a run gave.
    public struct Result: Sendable {
        /// The log-likelihood of every choice of every item.
        public var logLikelihoods: [[Double]]
        /// Tokens that were run now.
        public var freshTokenCount: Int
        public var duration: Duration
    }

    /// - Parameter work: keeps the log-likelihoods of finished items.
    public init(_ evaluation: ChoiceEvaluation, work: EvaluationWork? = nil) {
        self.evaluation = evaluation
        self.work = work
    }

    /// Scores every item.
    /// - Throws: `EvaluationError`, `FormatError`, `PipelineError`; then what was finished stays in the work folder.
    public func run(progress: Progress = Progress()) throws -> Result {
        let facts = evaluation.items.map { item in
            ([item.context] + item.choices.map(\.ids)).map { $0.map { "\($0)" }.joined(separator: " ") }.joined(separator: "\n")
        }
        let journal = try work?.journal(["choices"] + facts)
        var results = [[Double]?](repeating: nil, count: evaluation.items.count)
        var unfinished: [Range<Int>] = []
        for batch in evaluation.batches {
            let known = batch.map { index in
                journal?.finished[index].flatMap { $0.count == evaluation.items[index].choices.count ? $0 : nil }
            }
            if known.allSatisfy({ $0 != nil }) {
                for (index, list) in zip(batch, known) { results[index] = list }
            } else {
                unfinished.append(batch)
            }
        }
        let clock = ContinuousClock()
        let start = clock.now
        let total = unfinished.reduce(0) { $0 + evaluation.tokenCount(ofItems: $1) }
        progress.begin(.scoring, total: total)
        for batch in unfinished {
            let tokens = evaluation.tokenCount(ofItems: batch)
            var done = 0
            let found = try evaluation.logLikelihoods(ofItems: batch) { share in
                try progress.checkCancellation()
                progress.advance(Int(share * Double(tokens)) - done)
                done = Int(share * Double(tokens))
            }
            try journal?.record(zip(batch, found).map { ($0, $1) })
            for (index, list) in zip(batch, found) { results[index] = list }
        }
        return Result(
            logLikelihoods: results.map { $0 ?? [] }, freshTokenCount: total, duration: clock.now - start)
    }
}
