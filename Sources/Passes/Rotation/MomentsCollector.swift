import LinearAlgebra
import Models
import Synchronization

/// Gathers the second moments that a layer's bases come from, while it runs.
final class MomentsCollector: ForwardHooks {
    struct Moments {
        var attention: GramAccumulator?
        var mlp: GramAccumulator?
        /// One for each key-value head.
        var values: [GramAccumulator] = []
        var keys: [GramAccumulator] = []
        var queries: [GramAccumulator] = []
    }

    private let parts: RotationParts
    private let gathersQueries: Bool
    private let numbers: Hyperparameters
    private let threadCount: Int
    private let state = Mutex(Moments())

    /// - Parameter queries: whether queries are gathered too, where keys are.
    init(_ parts: RotationParts, queries: Bool, model: ModelDescription, threadCount: Int) {
        self.parts = parts
        self.threadCount = threadCount
        gathersQueries = queries
        numbers = model.hyperparameters
    }

    var moments: Moments { state.withLock { $0 } }

    func input(_ place: LinearInput, layer: Int, rows: inout MutableSpan<Float>, columnCount: Int) throws {
        guard parts.contains(.residual) else { return }
        switch place {
        case .attention: try add(rows.span, columnCount: columnCount, to: \.attention)
        case .mlp: try add(rows.span, columnCount: columnCount, to: \.mlp)
        default: break
        }
    }

    func queries(layer: Int, rows: inout MutableSpan<Float>) throws {
        if parts.contains(.keys), gathersQueries { try addHeads(rows.span, count: numbers.heads, to: \.queries) }
    }

    func keys(layer: Int, rows: inout MutableSpan<Float>) throws {
        if parts.contains(.keys) { try addHeads(rows.span, count: numbers.keyValueHeads, to: \.keys) }
    }

    func values(layer: Int, rows: inout MutableSpan<Float>) throws {
        if parts.contains(.values) { try addHeads(rows.span, count: numbers.keyValueHeads, to: \.values) }
    }

    private func add(
        _ rows: Span<Float>, columnCount: Int, to field: any WritableKeyPath<Moments, GramAccumulator?> & Sendable
    ) throws(NotFiniteRow) {
        var gram = state.withLock { moments in
            defer { moments[keyPath: field] = nil }
            return moments[keyPath: field]
        } ?? GramAccumulator(dimension: columnCount)
        gram.add(rows, rowCount: rows.count / columnCount, stride: columnCount, threadCount: threadCount)
        try checkSums([gram], of: rows, columnCount: columnCount)
        let updated = gram
        state.withLock { $0[keyPath: field] = updated }
    }

    private func addHeads(
        _ rows: Span<Float>, count: Int, to field: any WritableKeyPath<Moments, [GramAccumulator]> & Sendable
    ) throws(NotFiniteRow) {
        var grams = state.withLock { moments in
            defer { moments[keyPath: field] = [] }
            return moments[keyPath: field]
        }
        grams.addHeads(
            rows, headCount: count, keyValueHeadCount: numbers.keyValueHeads, headDimension: numbers.headDimension, threadCount: threadCount)
        try checkSums(grams, of: rows, columnCount: count * numbers.headDimension)
        let updated = grams
        state.withLock { $0[keyPath: field] = updated }
    }
}
