import Formats
import LinearAlgebra
import Models

/// What is known of one input of a network that is being rounded.
struct InputMoments {
    /// Σ x̂ x̂ᵀ.
    var gram: GramAccumulator
    /// Σ (x - x̂) x̂ᵀ, x being what the original network has there; `nil` when that is not compared.
    var difference: CrossAccumulator?
}

/// Second moments of the inputs that are being watched.
final class MomentCollector: ForwardHooks, @unchecked Sendable {  // used from the one thread that runs the layers
    /// Which inputs to gather.
    var watched: (LinearInput) -> Bool = { _ in false }
    private var found: [LinearInput: InputMoments] = [:]
    private let originals: OriginalInputs?
    private let threadCount: Int

    /// - Parameter originals: what the original network has at the same places of the layer.
    init(originals: OriginalInputs?, threadCount: Int) {
        self.originals = originals
        self.threadCount = threadCount
    }

    func input(_ place: LinearInput, layer: Int, rows: inout MutableSpan<Float>, columnCount: Int) throws {
        guard watched(place) else { return }
        try checkSummable(rows.span, columnCount: columnCount)
        let count = rows.count / columnCount
        var moments = found.removeValue(forKey: place) ?? InputMoments(gram: GramAccumulator(dimension: columnCount))
        if let originals, originals.holds(place) {
            var x = try originals.rows(moments.gram.rowCount..<moments.gram.rowCount + count, at: place)
            for index in x.indices { x[index] -= rows[index] }
            var difference = moments.difference.take() ?? CrossAccumulator(dimension: columnCount)
            difference.add(x.span, rows.span, threadCount: threadCount)
            moments.difference = difference
        }
        moments.gram.add(rows.span, rowCount: count, stride: columnCount, threadCount: threadCount)
        found[place] = moments
    }

    func moments(_ place: LinearInput) -> InputMoments? { found[place] }

    /// The moments of one input, forgetting all.
    func take(_ place: LinearInput) -> InputMoments? {
        defer { forget() }
        return found[place]
    }

    func forget() { found = [:] }
}

/// What the linear weights of one layer, or the head, read in the original network, row by row: in memory, or past a budget in files.
///
/// Inputs of experts are not kept, since the rounded network may route a token elsewhere.
final class OriginalInputs: ForwardHooks, @unchecked Sendable {  // used from the one thread that runs the layers
    private let rowCount: Int
    private var stores: [LinearInput: (rows: RowStore, next: Int)] = [:]
    /// Bytes of one store that stay in memory.
    private static let memoryBudget = LayerStream.memoryBudget / 4

    init(rowCount: Int) { self.rowCount = rowCount }

    func input(_ place: LinearInput, layer: Int, rows: inout MutableSpan<Float>, columnCount: Int) throws {
        switch place {
        case .attention, .attentionOutput, .mlp, .mlpOutput, .sharedExpertOutput, .head: break
        case .expert, .expertOutput: return
        }
        var store = try stores[place] ?? (RowStore(rowCount: rowCount, width: columnCount, spillsPast: Self.memoryBudget), 0)
        try store.rows.write(rows.span, from: store.next)
        store.next += rows.count / columnCount
        stores[place] = store
    }

    func holds(_ place: LinearInput) -> Bool { stores[place] != nil }

    func rows(_ range: Range<Int>, at place: LinearInput) throws(FormatError) -> [Float] {
        guard let store = stores[place] else { preconditionFailure("the place was recorded") }
        return try store.rows.read(range)
    }
}
