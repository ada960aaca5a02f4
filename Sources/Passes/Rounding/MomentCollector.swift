import Formats
import LinearAlgebra
import Models

/// Second moments of the inputs that are being watched.
final class MomentCollector: ForwardHooks, @unchecked Sendable {  // used from the one thread that runs the layers
    /// Which inputs to gather.
    var watched: (LinearInput) -> Bool = { _ in false }
    /// Where the rows of what is watched are kept, one after another, for those who would compute them again.
    var record: RowStore? {
        didSet { recordedCount = 0 }
    }
    private var recordedCount = 0
    private var grams: [LinearInput: GramAccumulator] = [:]
    private let threadCount: Int

    init(threadCount: Int) { self.threadCount = threadCount }

    func input(_ place: LinearInput, layer: Int, rows: inout MutableSpan<Float>, columnCount: Int) throws {
        guard watched(place) else { return }
        var gram = grams.removeValue(forKey: place) ?? GramAccumulator(dimension: columnCount)
        gram.add(rows.span, rowCount: rows.count / columnCount, stride: columnCount, threadCount: threadCount)
        try checkSums([gram], of: rows.span, columnCount: columnCount)
        grams[place] = gram
        try record?.write(rows.span, from: recordedCount)
        recordedCount += rows.count / columnCount
    }

    func moments(_ place: LinearInput) -> GramAccumulator? { grams[place] }

    /// The moments of one input, forgetting all.
    func take(_ place: LinearInput) -> GramAccumulator? {
        defer { forget() }
        return grams[place]
    }

    func forget() { grams = [:] }
}
