import Threads

/// Second moments of rows that come in runs.
///
///     G ← G + Xᵀ X
///
/// Products are added up in `Float` over at most 512 rows and from there on in `Double`, so that the sum of any number of
/// rows agrees with one in `Double` to about 1e-7. Only the upper triangle is computed, in tiles whose size does not
/// depend on the number of threads.
public struct GramAccumulator: Sendable {
    public let dimension: Int
    /// Rows seen.
    public private(set) var rowCount = 0
    /// `[dimension, dimension]`, the upper triangle.
    private var sums: [Double]

    public init(dimension: Int) {
        self.dimension = dimension
        sums = [Double](repeating: 0, count: dimension * dimension)
    }

    /// Adds rows `[n, dimension]`, `stride` elements apart.
    public mutating func add(_ x: Span<Float>, rowCount: Int, stride: Int, threadCount: Int) {
        guard rowCount > 0, dimension > 0 else { return }
        precondition(stride >= dimension && (rowCount - 1) * stride + dimension <= x.count, "the rows are there")
        self.rowCount += rowCount
        let dimension = dimension
        let (tile, tiles) = tiles(of: dimension, largest: 384)
        let pairs = (0..<tiles).flatMap { first in (first..<tiles).map { (first, $0) } }
        unsafe x.withUnsafeBufferPointer { x in
            unsafe sums.withUnsafeMutableBufferPointer { sums in
                // Tiles are disjoint parts of the sums; the rows are only read.
                let memory = unsafe (rows: Shared(x.baseAddress!), sums: SharedMutable(sums.baseAddress!))
                inParallel(count: pairs.count, threadCount: threadCount) { index in
                    let (first, second) = (pairs[index].0 * tile, pairs[index].1 * tile)
                    let (height, width) = (min(tile, dimension - first), min(tile, dimension - second))
                    unsafe withUnsafeTemporaryAllocation(of: Float.self, capacity: height * width) { product in
                        let product = product.baseAddress!
                        for row in Swift.stride(from: 0, to: rowCount, by: 512) {
                            let count = min(512, rowCount - row)
                            let start = unsafe memory.rows.pointer + row * stride
                            if first == second {
                                unsafe product.update(repeating: 0, count: height * width)
                                unsafe syrk(n: height, m: count, alpha: 1, a: start + first, aStride: stride, beta: 0, c: product, cStride: width)
                            } else {
                                unsafe gemm(
                                    transposeA: true, transposeB: false, m: height, n: width, k: count, alpha: 1, a: start + first,
                                    aStride: stride, b: start + second, bStride: stride, beta: 0, c: product, cStride: width)
                            }
                            for i in 0..<height {
                                let target = unsafe memory.sums.pointer + (first + i) * dimension + second
                                let source = unsafe product + i * width
                                for j in 0..<width { unsafe target[j] += Double(source[j]) }
                            }
                        }
                    }
                }
            }
        }
    }

    /// The sum, both triangles.
    public var sum: Matrix<Double> {
        var matrix = Matrix<Double>(rowCount: dimension, columnCount: dimension, elements: sums)
        for row in 0..<dimension {
            for column in 0..<row { matrix.elements[row * dimension + column] = sums[column * dimension + row] }
        }
        return matrix
    }

    /// The sum over the rows seen, divided by their number; zeros before any.
    public var mean: Matrix<Double> {
        var matrix = sum
        if rowCount > 0 { for index in matrix.elements.indices { matrix.elements[index] /= Double(rowCount) } }
        return matrix
    }

    /// Whether no row had numbers that `Float` cannot square and add up. A sum off the diagonal is finite where the diagonal is.
    public var isFinite: Bool { (0..<dimension).allSatisfy { sums[$0 * dimension + $0].isFinite } }

    /// The diagonal of `sum`.
    public var squareSums: [Double] { (0..<dimension).map { sums[$0 * dimension + $0] } }
}
