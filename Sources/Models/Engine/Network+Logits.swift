import Formats
import LinearAlgebra

extension Network {
    /// Runs every layer over a batch.
    public func runLayers(
        on batch: inout Batch, caches: inout [KeyValueCache]?, tables: RotaryTables, hooks: (any ForwardHooks)? = nil,
        progress: (Int) throws -> Void = { _ in }
    ) throws {
        for layer in 0..<layerCount {
            try run(try block(layer), on: &batch, caches: &caches, tables: tables, hooks: hooks)
            try progress(layer)
        }
        if caches != nil {
            for (index, sequence) in batch.sequences.enumerated() { caches![index].count = sequence.start + sequence.rows.count }
        }
    }

    /// The most rows of logits that are kept at once: 128 MiB of them.
    public var logitRowsAtOnce: Int { max(1, (32 << 20) / max(1, model.hyperparameters.vocabulary)) }

    /// Computes logits of some rows of a batch that has been through all layers.
    ///
    ///     logits = cap(H · norm(x))
    ///
    /// - Parameters:
    ///   - rows: at most `logitRowsAtOnce` of the batch's rows.
    ///   - logits: gets `[rows.count, vocabulary]`.
    /// - Throws: `ForwardError.notFinite` with the token; what the hooks throw.
    public func logits(
        of batch: Batch, rows: Range<Int>, into logits: inout [Float], hooks: (any ForwardHooks)? = nil
    ) throws {
        let vocabulary = model.hyperparameters.vocabulary
        let normed = try headInput(of: batch, rows: rows, hooks: hooks)
        Batch.Scratch.reserve(&logits, rows.count * vocabulary)
        if let head = try wholeHead() {
            apply(head, at: 0, normed, rowCount: rows.count, into: &logits)
        } else {
            for first in stride(from: 0, to: vocabulary, by: 8192) {
                let part = try head(rows: first..<min(vocabulary, first + 8192))
                apply(part, at: first, normed, rowCount: rows.count, into: &logits)
            }
        }
        var all = logits.mutableSpan
        var used = all.part(0..<rows.count * vocabulary)
        if parameters.finalCap > 0 { softCap(&used, cap: parameters.finalCap, rowCount: rows.count, threadCount: threadCount) }
        if let bad = Codec.firstNonFinite(used.span) {
            let place = batch.place(ofRow: rows.lowerBound + bad / vocabulary)
            throw ForwardError.notFinite(layer: nil, sequence: place.sequence, position: place.position)
        }
    }

    /// What the head reads, norm(x), of some rows of a batch that has been through all layers: `[rows.count, hidden]`.
    /// - Throws: what the hooks throw.
    package func headInput(of batch: Batch, rows: Range<Int>, hooks: (any ForwardHooks)? = nil) throws -> [Float] {
        let width = model.hyperparameters.hidden
        var normed = [Float](repeating: 0, count: rows.count * width)
        var span = normed.mutableSpan
        normalize(
            batch.hidden.span.extracting(rows.lowerBound * width..<rows.upperBound * width), gain: try finalGain().floats,
            epsilon: parameters.epsilon, into: &span, threadCount: threadCount)
        try watch(.head, layerCount, &normed, count: rows.count * width, width: width, batch.places(from: rows.lowerBound), hooks)
        return normed
    }

    /// Logits of the head's rows from `first` on.
    private func apply(_ head: Weight, at first: Int, _ normed: [Float], rowCount: Int, into logits: inout [Float]) {
        let (width, vocabulary) = (model.hyperparameters.hidden, model.hyperparameters.vocabulary)
        let outputs = min(head.rowCount, vocabulary - first)
        var all = logits.mutableSpan
        var target = all.part(first..<(rowCount - 1) * vocabulary + first + outputs)
        applyLinear(
            normed.span, xStride: width, rowCount: rowCount, weight: head.floats.extracting(0..<outputs * width), inputCount: width,
            outputCount: outputs, into: &target, yStride: vocabulary, threadCount: threadCount)
    }
}
