import Formats
import Threads

/// A text cut into windows that a model is to be judged on, alone or beside a reference.
public struct Evaluation: Sendable {
    public let network: Network
    /// Where the model came from, for messages.
    public let modelName: String
    public let reference: Reference?
    public let windows: [[Int]]
    public let context: Int
    public let protocolName: EvaluationProtocol
    /// What the artifact does inside the pass.
    public let hooks: (any ForwardHooks)?

    /// What a model is compared with; it must have the same vocabulary.
    public enum Reference: Sendable {
        case network(Network, name: String)
        case saved(SavedLogits)
    }

    /// - Parameter bos: the token that begins every window in llama.cpp's protocol; `nil` for none.
    /// - Throws: `EvaluationError` naming the model for a window longer than its context and for an embedding that is smaller
    ///   than its vocabulary, the text for ids outside the vocabulary and when it is shorter than a window, the reference
    ///   when its vocabulary or its saved windows are others.
    public init(
        of network: Network, named modelName: String, against reference: Reference? = nil, text: TokenText, context: Int,
        windowLimit: Int? = nil, protocol protocolName: EvaluationProtocol, bos: Int? = nil, hooks: (any ForwardHooks)? = nil
    ) throws {
        guard context >= 2 else { throw EvaluationError(.windowTooShort(context: context)) }
        let vocabulary = try Evaluation.check(network, named: modelName, context: context)
        guard !text.ids.isEmpty else { throw EvaluationError(.emptyText, path: text.name) }
        try text.check(vocabulary: vocabulary)
        windows = protocolName.windows(of: text.ids, context: context, bos: bos, limit: windowLimit)
        guard !windows.isEmpty else { throw EvaluationError(.textTooShort(tokens: text.ids.count, context: context), path: text.name) }
        switch reference {
        case .network(let other, let name):
            let count = try Evaluation.check(other, named: name, context: context)
            guard count == vocabulary else { throw EvaluationError(.vocabulariesDiffer(model: vocabulary, reference: count), path: name) }
        case .saved(let logits):
            try logits.check(windows: windows, context: context, protocol: protocolName, vocabulary: vocabulary)
        case nil: break
        }
        self.network = network
        self.modelName = modelName
        self.reference = reference
        self.context = context
        self.protocolName = protocolName
        self.hooks = hooks
    }

    /// - Returns: the size of the vocabulary.
    private static func check(_ network: Network, named name: String, context: Int) throws(EvaluationError) -> Int {
        do throws(ForwardError) { try network.checkContext(context) } catch { throw EvaluationError(.forward(error), path: name) }
        let vocabulary = network.model.hyperparameters.vocabulary
        if let rows = network.weights.info(of: network.embeddingName)?.rowCount, rows < vocabulary {
            throw EvaluationError(.embeddingTooSmall(rows: rows, vocabulary: vocabulary), path: name)
        }
        return vocabulary
    }

    public var vocabulary: Int { network.model.hyperparameters.vocabulary }

    /// Rows of a window that are judged; row r predicts token r + 1.
    public var judgedRows: Range<Int> { protocolName.scoredRows(context: context) }

    /// Windows go through the layers in batches, always cut alike, so that a run that goes on gives what it would have given.
    ///
    /// A batch holds at least a window and at most 8192 tokens, for which decoding the weights again costs little, and its residual stream
    /// takes at most 64 MiB.
    public var batches: [Range<Int>] {
        var width = network.model.hyperparameters.hidden
        if case .network(let other, _) = reference { width = max(width, other.model.hyperparameters.hidden) }
        let count = max(1, min(8192, (16 << 20) / max(1, width)) / context)
        return stride(from: 0, to: windows.count, by: count).map { $0..<min(windows.count, $0 + count) }
    }

    /// Scores some windows.
    /// - Parameter progress: called with the share of the work that is done, from 0 to 1.
    /// - Returns: one list per window, a score per token that counts.
    public func scores(
        ofWindows range: Range<Int>, progress: @escaping @Sendable (Double) throws -> Void = { _ in }
    ) throws -> [[TokenScore]] {
        var batch = try WindowBatch(self, windows: range, progress: progress)
        var results = [[TokenScore]](repeating: [], count: range.count)
        while let rows = try batch.next() { results[rows.window - range.lowerBound] += rows.scores }
        return results
    }
}
