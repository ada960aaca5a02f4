import LinearAlgebra
import Threads

// How a weight is cut up for parallel work. The cuts depend on the shape alone.
extension MutableSpan<Float> {
    /// Calls `body` with runs of `height` rows, the last shorter.
    mutating func inRowTiles(columnCount: Int, height: Int, threadCount: Int, _ body: @Sendable (inout [Float]) -> Void) {
        let rowCount = count / columnCount
        unsafe withUnsafeMutableBufferPointer { all in
            guard let base = all.baseAddress else { return }
            // Sound to share: tiles are disjoint.
            let start = unsafe SharedRows(pointer: base)
            inParallel(count: (rowCount + height - 1) / height, threadCount: threadCount) { tile in
                let range = tile * height * columnCount..<Swift.min((tile + 1) * height, rowCount) * columnCount
                let part = unsafe UnsafeMutableBufferPointer(start: start.pointer + range.lowerBound, count: range.count)
                var copy = unsafe Array(part)
                body(&copy)
                for (index, value) in copy.enumerated() { unsafe part[index] = value }
            }
        }
    }

    /// Calls `body` with matrices of `width` columns of some rows, the last narrower.
    mutating func inColumnTiles(
        rows: Range<Int>, columnCount: Int, width: Int, threadCount: Int, _ body: @Sendable (inout Matrix<Double>) -> Void
    ) {
        precondition(rows.upperBound * columnCount <= count, "the rows are there")
        unsafe withUnsafeMutableBufferPointer { all in
            guard let base = all.baseAddress else { return }
            // Sound to share: tiles are disjoint.
            let start = unsafe SharedRows(pointer: base)
            inParallel(count: (columnCount + width - 1) / width, threadCount: threadCount) { index in
                let first = index * width
                let count = Swift.min(width, columnCount - first)
                var tile = Matrix<Double>(rowCount: rows.count, columnCount: count)
                for row in rows {
                    let source = unsafe start.pointer + row * columnCount + first
                    for column in 0..<count { tile[row - rows.lowerBound, column] = unsafe Double(source[column]) }
                }
                body(&tile)
                for row in rows {
                    let target = unsafe start.pointer + row * columnCount + first
                    for column in 0..<count { unsafe target[column] = Float(tile[row - rows.lowerBound, column]) }
                }
            }
        }
    }
}

/// The rows that tasks of one parallel loop change, each its own.
@unsafe struct SharedRows: @unchecked Sendable {
    let pointer: UnsafeMutablePointer<Float>
}
