import LinearAlgebra
import Synchronization
import Threads

/// Rounds a weight to grids, each column's error compensated by the columns not yet rounded.
///
///     for each column c in order:   q = nearest value of the grid to w_c
///                                   e = (w_c - q) / U[c, c]
///                                   w_j ← w_j - e U[c, j]        for every later column j
///
/// where (H + δ I)⁻¹ = UᵀU: this is the optimal compensation of each error, given those before (GPTQ, arXiv 2210.17323,
/// algorithm 1; OBS). Columns are updated at once inside a block of 128 and by a matrix product beyond it, which gives
/// the same numbers but for the order of additions. Without a factor (a Hessian that is empty or hopeless, or
/// `HessianFactor(roundingToNearest:)`) each weight is rounded to nearest.
///
/// Rows do not depend on each other: strips of 128 rows are the parallel work, and the result does not depend on the
/// number of threads.
///
/// - Parameters:
///   - weights: `[rows, n]`.
///   - parts: cover the n columns in order; each has its grid. They share the Hessian, so that errors of a coarse part are
///     compensated by a fine one behind it.
///   - factor: of the Hessian, with the order of columns. Under act-order its parts must be these.
///   - dynamicGroups: fix a block's scales when its first column is reached, from the weights as compensated by then,
///     instead of all at the start. With act-order, blocks are then runs of the order, not of neighbouring columns.
///   - sweeps: of coordinate descent over scales and levels afterwards; they need the factor's `matrix`, and change nothing
///     where scales were fixed for scattered columns (act-order).
/// - Throws: `partsDoNotCover`, `incompleteBlock`, `wrongShape`; for a weight `notFinite`, or `tooLarge` past the largest scale.
public func round(
    _ weights: Matrix<Float>, to parts: [GridPart], factor: HessianFactor, dynamicGroups: Bool, sweeps: Int = 0, threadCount: Int
) throws(ResQError) -> QuantizedMatrix {
    let (rowCount, n) = (weights.rowCount, weights.columnCount)
    let layouts = try partLayouts(parts, columnCount: n)
    guard factor.order.count == n else { throw .wrongShape(expected: [n, n], found: [factor.order.count, factor.order.count]) }
    for part in parts where !part.columns.allSatisfy({ part.columns.contains(factor.order[$0]) }) {
        throw .partsDoNotCover(columnCount: n)
    }
    let limit = parts.reduce(Float.greatestFiniteMagnitude) { min($0, $1.grid.storedScale(.greatestFiniteMagnitude)) }
    if let index = weights.elements.firstIndex(where: { !(abs($0) <= limit) }) {
        throw weights.elements[index].isFinite ? .tooLarge(row: index / n, column: index % n) : .notFinite(row: index / n, column: index % n)
    }

    let height = 128
    let stripCount = (rowCount + height - 1) / height
    let strips = Mutex([RoundedStrip?](repeating: nil, count: stripCount))
    let isPermuted = factor.order != Array(0..<n)
    inParallel(count: stripCount, threadCount: threadCount) { index in
        let rows = index * height..<min((index + 1) * height, rowCount)
        var work = StripWork(weights, rows: rows, layouts: layouts, factor: factor, dynamicGroups: dynamicGroups)
        let result = work.run(sweeps: isPermuted ? 0 : sweeps)
        strips.withLock { $0[index] = result }
    }
    let results = strips.withLock { $0.compactMap { $0 } }
    var quantized: [QuantizedPart] = []
    for (index, layout) in layouts.enumerated() {
        var scattered: [Int32]?
        if isPermuted && dynamicGroups {
            var groups = [Int32](repeating: 0, count: layout.columns.count)
            for position in layout.columns {
                groups[factor.order[position] - layout.columns.lowerBound] = Int32((position - layout.columns.lowerBound) / layout.groupWidth)
            }
            scattered = groups
        }
        quantized.append(
            QuantizedPart(
                columns: layout.columns, grid: layout.grid, groupWidth: layout.groupWidth, groupsPerBlock: layout.groupsPerBlock,
                groupCount: layout.groupCount, blockCount: layout.blockCount,
                superScales: results.flatMap { $0.parts[index].superScales }, superOffsets: results.flatMap { $0.parts[index].superOffsets },
                subScales: results.flatMap { $0.parts[index].subScales }, subOffsets: results.flatMap { $0.parts[index].subOffsets },
                lows: results.flatMap { $0.parts[index].lows }, scatteredGroups: scattered))
    }
    var levels: [Int16] = []
    levels.reserveCapacity(rowCount * n)
    for result in results { levels.append(contentsOf: result.levels) }
    return QuantizedMatrix(
        rowCount: rowCount, columnCount: n, levels: levels, parts: quantized, loss: results.reduce(0) { $0 + $1.loss },
        warnings: factor.warnings)
}

/// A part with its widths resolved.
struct PartLayout: Sendable {
    let columns: Range<Int>
    let grid: any Grid
    let blockWidth: Int
    let groupWidth: Int
    var groupsPerBlock: Int { (blockWidth + groupWidth - 1) / groupWidth }
    var blockCount: Int { (columns.count + blockWidth - 1) / blockWidth }
    var groupCount: Int { (columns.count + groupWidth - 1) / groupWidth }
}

private func partLayouts(_ parts: [GridPart], columnCount: Int) throws(ResQError) -> [PartLayout] {
    var (layouts, next) = ([PartLayout](), 0)
    for part in parts {
        guard part.columns.lowerBound == next, !part.columns.isEmpty else { throw .partsDoNotCover(columnCount: columnCount) }
        next = part.columns.upperBound
        let blockWidth = min(part.grid.blockWidth ?? part.columns.count, part.grid.allowsShortBlock ? part.columns.count : Int.max)
        guard part.grid.allowsShortBlock || part.columns.count % blockWidth == 0 else {
            throw .incompleteBlock(columnCount: part.columns.count, blockWidth: blockWidth)
        }
        layouts.append(
            PartLayout(columns: part.columns, grid: part.grid, blockWidth: blockWidth, groupWidth: min(part.grid.groupWidth ?? blockWidth, blockWidth)))
    }
    guard next == columnCount else { throw .partsDoNotCover(columnCount: columnCount) }
    return layouts
}
