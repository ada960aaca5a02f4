import Formats
import Threads

/// What one token that counts gave.
public struct TokenScore: Sendable, Equatable {
    /// Minus the log-probability of the token that came.
    public var negativeLogLikelihood: Double
    /// Against the reference: divergence, whether both put the same token first, and the mean squared difference of logits.
    public var reference: (divergence: Double, agrees: Bool, squareDifference: Double)?

    public init(negativeLogLikelihood: Double, reference: (divergence: Double, agrees: Bool, squareDifference: Double)? = nil) {
        self.negativeLogLikelihood = negativeLogLikelihood
        self.reference = reference
    }

    public static func == (a: TokenScore, b: TokenScore) -> Bool {
        a.negativeLogLikelihood == b.negativeLogLikelihood && a.reference?.divergence == b.reference?.divergence
            && a.reference?.agrees == b.reference?.agrees && a.reference?.squareDifference == b.reference?.squareDifference
    }
}

/// Runs a model over windows of tokens and scores what it says, alone or beside a reference.
public struct Evaluation: Sendable {
    public let network: Network
    /// The model to compare with: same vocabulary.
    public let reference: Network?
    public let windows: [[Int]]
    public let protocolName: EvaluationProtocol
    /// What the artifact does inside the pass.
    public let hooks: (any ForwardHooks)?

    /// - Throws: `ForwardError` for a window longer than a model's context, or ids outside its vocabulary;
    ///   `EvaluationError` for a text shorter than a window and for vocabularies that differ.
    public init(
        of network: Network, against reference: Network? = nil, tokens: [Int], context: Int, windowLimit: Int? = nil,
        protocol protocolName: EvaluationProtocol, bos: Int? = nil, hooks: (any ForwardHooks)? = nil
    ) throws {
        guard context >= 2 else { throw EvaluationError.windowTooShort(context: context) }
        try network.checkContext(context)
        try reference?.checkContext(context)
        if let reference, reference.model.hyperparameters.vocabulary != network.model.hyperparameters.vocabulary {
            throw EvaluationError.vocabulariesDiffer(
                network.model.hyperparameters.vocabulary, reference.model.hyperparameters.vocabulary)
        }
        windows = protocolName.windows(of: tokens, context: context, bos: bos, limit: windowLimit)
        guard !windows.isEmpty else { throw EvaluationError.textTooShort(tokens: tokens.count, context: context) }
        for (position, token) in tokens.enumerated() where !(0..<network.model.hyperparameters.vocabulary).contains(token) {
            throw ForwardError.tokenOutOfRange(
                id: token, position: position, vocabulary: network.model.hyperparameters.vocabulary)
        }
        self.network = network
        self.reference = reference
        self.protocolName = protocolName
        self.hooks = hooks
    }

    /// Windows that go through the layers together: as many as keep the residual stream within 64 MiB.
    public var windowsAtOnce: Int {
        let width = max(network.model.hyperparameters.hidden, reference?.model.hyperparameters.hidden ?? 0)
        return max(1, (16 << 20) / max(1, width * (windows.first?.count ?? 1)))
    }

    /// Scores some windows.
    /// - Parameter progress: called with the share of the work that is done, from 0 to 1.
    /// - Returns: one list per window, a score per token that counts.
    public func scores(ofWindows range: Range<Int>, progress: (Double) throws -> Void = { _ in }) throws -> [[TokenScore]] {
        let part = Array(windows[range])
        let passes = reference == nil ? 1.0 : 2.0
        var batch = try hidden(of: network, part, hooks: hooks) { try progress($0 * 0.9 / passes) }
        var referenceBatch = try reference.map { network in
            try hidden(of: network, part, hooks: nil) { try progress((1 + $0) * 0.9 / passes) }
        }
        var results: [[TokenScore]] = []
        var logits: [Float] = [], referenceLogits: [Float] = []
        for (index, sequence) in batch.sequences.enumerated() {
            results.append([])
            let scored = protocolName.scoredRows(context: part[index].count)
            let step = network.logitRowsAtOnce
            for first in stride(from: scored.lowerBound, to: scored.upperBound, by: step) {
                let rows = first..<min(scored.upperBound, first + step)
                let shifted = rows.lowerBound + sequence.rows.lowerBound..<rows.upperBound + sequence.rows.lowerBound
                try network.logits(of: batch, rows: shifted, into: &logits, hooks: hooks)
                if let reference, let other = referenceBatch {
                    try reference.logits(of: other, rows: shifted, into: &referenceLogits)
                }
                results[index] += scores(
                    logits, reference == nil ? nil : referenceLogits, next: Array(part[index][rows.lowerBound + 1..<rows.upperBound + 1]))
            }
            try progress(0.9 + 0.1 * Double(index + 1) / Double(part.count))
        }
        batch.hidden = []
        referenceBatch = nil
        return results
    }

    private func hidden(
        of network: Network, _ part: [[Int]], hooks: (any ForwardHooks)?, progress: (Double) throws -> Void
    ) throws -> Batch {
        var batch = try network.embed(part)
        var caches: [KeyValueCache]?
        let tables = network.rotaryTables(contextLength: part.map(\.count).max() ?? 0)
        try network.runLayers(on: &batch, caches: &caches, tables: tables, hooks: hooks) { layer in
            try progress(Double(layer + 1) / Double(network.layerCount))
        }
        batch.dropScratch()
        return batch
    }

    private func scores(_ logits: [Float], _ referenceLogits: [Float]?, next: [Int]) -> [TokenScore] {
        let vocabulary = network.model.hyperparameters.vocabulary
        return ordered(count: next.count, threadCount: network.threadCount) { row in
            let said = logits.span.extracting(row * vocabulary..<(row + 1) * vocabulary)
            let summary = LogitSummary(said)
            var score = TokenScore(negativeLogLikelihood: -summary.logProbability(of: next[row], in: said))
            if let referenceLogits {
                let other = referenceLogits.span.extracting(row * vocabulary..<(row + 1) * vocabulary)
                let otherSummary = LogitSummary(other)
                let distance = divergence(other, said, otherSummary, summary)
                score.reference = (
                    distance.divergence, otherSummary.index == summary.index, distance.squareDifference / Double(vocabulary)
                )
            }
            return score
        }
    }
}

/// Why a text cannot be evaluated.
public enum EvaluationError: Error, Sendable, Equatable, CustomStringConvertible {
    case windowTooShort(context: Int)
    case textTooShort(tokens: Int, context: Int)
    case vocabulariesDiffer(Int, Int)

    public var description: String {
        switch self {
        case .windowTooShort(let context): "a window of \(context) tokens predicts nothing; the smallest is 2"
        case .textTooShort(let tokens, let context): "the text has \(tokens) tokens, a window needs \(context)"
        case .vocabulariesDiffer(let model, let reference):
            "the model's vocabulary has \(model) tokens, the reference's \(reference)"
        }
    }
}
