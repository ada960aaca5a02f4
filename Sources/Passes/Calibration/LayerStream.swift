import Formats
import Foundation
import Models

/// Calibration tokens on their way through a model, all of them one layer at a time.
///
/// Memory holds one layer and a few windows; the residual streams of the others wait in memory or, past a budget, in a
/// file. A stream can start at any layer whose input was kept.
final class LayerStream {
    let network: Network
    let windows: [[Int]]
    /// The layer that runs next.
    private(set) var layer: Int
    private var store: RowStore
    /// The residual stream in the middle of a layer.
    private var halfway: RowStore?
    private let folder: String?
    /// Holds the memory that layers work in, from one batch to the next.
    private var idle = Batch(hidden: [], lengths: [])
    let tables: RotaryTables

    /// Residual streams up to this size wait in memory when there is no folder to keep them in.
    static let memoryBudget = 256 << 20

    /// - Parameters:
    ///   - folder: where the residual streams are kept between layers, so that a killed run can go on; `nil` for memory,
    ///     or past `memoryBudget` a file without a name.
    ///   - layer: the layer to start at; its input must be in the folder unless it is 0.
    init(_ network: Network, windows: [[Int]], folder: String?, startingAt layer: Int = 0) throws {
        self.network = network
        self.windows = windows
        self.folder = folder
        self.layer = layer
        tables = network.rotaryTables(contextLength: windows.map(\.count).max() ?? 0)
        let width = network.model.hyperparameters.hidden
        let rowCount = windows.reduce(0) { $0 + $1.count }
        if let folder {
            store = try RowStore(rowCount: rowCount, width: width, path: Self.path(in: folder, layer: layer), isFilled: layer > 0)
        } else {
            store = try RowStore(rowCount: rowCount, width: width, spillsPast: Self.memoryBudget)
        }
        if layer == 0 {
            var row = 0
            for part in parts {
                let batch = try network.embed(Array(windows[part]))
                try store.write(batch.hidden.span, from: row)
                row += batch.tokenCount
            }
            try store.synchronize()
        }
    }

    /// The file that holds the input of a layer.
    static func path(in folder: String, layer: Int) -> String { "\(folder)/hidden-\(layer).f32" }

    /// Layers from the first on whose results are there, as far as the next one's input is too.
    /// - Parameter result: the file that a finished layer leaves.
    static func finishedLayers(in folder: String, of total: Int, result: (Int) -> String) -> Int {
        var count = 0
        while count < total, FileManager.default.fileExists(atPath: result(count)) { count += 1 }
        guard count > 0, count < total else { return count }
        return holdsInput(ofLayer: count, in: folder) ? count : 0
    }

    /// Whether a folder holds the input of a layer.
    static func holdsInput(ofLayer layer: Int, in folder: String) -> Bool {
        FileManager.default.fileExists(atPath: path(in: folder, layer: layer))
    }

    /// Runs of windows that go through a layer together: about 4096 tokens or 32 MiB of residual stream.
    private(set) lazy var parts: [Range<Int>] = {
        let length = max(1, windows.first?.count ?? 1)
        let step = max(1, Self.tokensAtOnce(hidden: network.model.hyperparameters.hidden) / length)
        return stride(from: 0, to: windows.count, by: step).map { $0..<min(windows.count, $0 + step) }
    }()

    static func tokensAtOnce(hidden: Int) -> Int { min(4096, (8 << 20) / max(1, hidden)) }

    /// The rows of some windows in the stores.
    func rows(of part: Range<Int>) -> Range<Int> {
        let length = windows.first?.count ?? 0
        return part.lowerBound * length..<part.upperBound * length
    }

    /// The residual stream of some windows before the next layer.
    func batch(_ part: Range<Int>) throws -> Batch {
        Batch(hidden: try (halfway ?? store).read(rows(of: part)), lengths: windows[part].map(\.count))
    }

    /// Runs the next layer over all windows and keeps its output as the input of the one after.
    /// - Parameter body: runs the layer over one batch, in place; the default runs it whole.
    func advance(_ block: Block, hooks: (any ForwardHooks)? = nil, progress: (Int) throws -> Void = { _ in }) throws {
        var caches: [KeyValueCache]?
        try finishLayer { batch, _ in
            try network.run(block, on: &batch, caches: &caches, tables: tables, hooks: hooks)
            try progress(batch.tokenCount)
        }
    }

    /// Lets `body` turn every batch, with its rows, into the input of the next layer, and stands there afterwards.
    func finishLayer(_ body: (inout Batch, Range<Int>) throws -> Void) throws {
        let next = try folder.map { folder in
            try RowStore(rowCount: store.rowCount, width: store.width, path: Self.path(in: folder, layer: layer + 1), isFilled: false)
        }
        try forEachBatch(into: next ?? halfway ?? store, body)
        if let next {
            try next.synchronize()
            store = next
        } else if let halfway {
            store = halfway
        }
        halfway = nil
        layer += 1
    }

    /// Shows every batch to `body`, with its rows, and keeps nothing of it, or the residual stream it leaves in `target`.
    func forEachBatch(into target: RowStore? = nil, _ body: (inout Batch, Range<Int>) throws -> Void) throws {
        for part in parts {
            var batch = try batch(part)
            batch.exchangeScratch(with: &idle)
            defer { idle.exchangeScratch(with: &batch) }
            try located(part) { try body(&batch, rows(of: part)) }
            try target?.write(batch.hidden.span, from: rows(of: part).lowerBound)
        }
    }

    /// Errors name the window they happened in by its number among all.
    private func located(_ part: Range<Int>, _ body: () throws -> Void) throws {
        do {
            try body()
        } catch ForwardError.notFinite(let layer, let sequence, let position) {
            throw ForwardError.notFinite(layer: layer, sequence: part.lowerBound + sequence, position: position)
        }
    }

    /// Replaces the residual stream by what `body` makes of it, within the layer: the layer's input is kept until the
    /// layer is finished, so that a killed run can begin it again.
    func rewrite(_ body: (inout Batch, Range<Int>) throws -> Void) throws {
        let target = try halfway ?? self.store(width: store.width)
        try forEachBatch(into: target, body)
        halfway = target
    }

    /// Rows for every token, of any width, that need not outlive the run.
    func store(width: Int) throws(FormatError) -> RowStore {
        try RowStore(rowCount: store.rowCount, width: width, spillsPast: Self.memoryBudget / 2)
    }

    /// Removes what the layer before read, once nothing can need it again.
    func removeEarlierInput() {
        if let folder { try? FileManager.default.removeItem(atPath: Self.path(in: folder, layer: layer - 1)) }
    }
}
