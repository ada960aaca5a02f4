import Threads

/// Second moments of pairs of rows that come in runs.
///
///     C ← C + Xᵀ Y
///
/// Sums are kept as `GramAccumulator` keeps them.
public struct CrossAccumulator: Sendable {
    public let dimension: Int
    /// Pairs of rows seen.
    public private(set) var rowCount = 0
    /// `[dimension, dimension]`.
    private var sums: [Double]

    public init(dimension: Int) {
        self.dimension = dimension
        sums = [Double](repeating: 0, count: dimension * dimension)
    }

    /// Adds rows `[n, dimension]` of X and Y, dense.
    public mutating func add(_ x: Span<Float>, _ y: Span<Float>, threadCount: Int) {
        guard dimension > 0, x.count > 0 else { return }
        precondition(x.count % dimension == 0 && y.count == x.count, "as many whole rows of both")
        let (rowCount, dimension) = (x.count / dimension, dimension)
        self.rowCount += rowCount
        unsafe x.withUnsafeBufferPointer { x in
            unsafe y.withUnsafeBufferPointer { y in
                unsafe sums.withUnsafeMutableBufferPointer { sums in
                    unsafe addProducts(
                        x.baseAddress!, y.baseAddress!, rowCount: rowCount, stride: dimension, to: sums.baseAddress!,
                        dimension: dimension, isSymmetric: false, threadCount: threadCount)
                }
            }
        }
    }

    /// The sum over the pairs seen.
    public var sum: Matrix<Double> { Matrix(rowCount: dimension, columnCount: dimension, elements: sums) }

    /// The sum over the pairs seen, divided by their number; zeros before any.
    public var mean: Matrix<Double> {
        var matrix = sum
        if rowCount > 0 { for index in matrix.elements.indices { matrix.elements[index] /= Double(rowCount) } }
        return matrix
    }
}

/// sums ← sums + Xᵀ Y, by tiles that are the parallel work.
///
/// - Parameters:
///   - x, y: `[rowCount, dimension]`, rows `stride` apart.
///   - sums: `[dimension, dimension]`, dense.
///   - isSymmetric: y is x, and tiles below the diagonal are left out.
@unsafe func addProducts(
    _ x: UnsafePointer<Float>, _ y: UnsafePointer<Float>, rowCount: Int, stride: Int, to sums: UnsafeMutablePointer<Double>,
    dimension: Int, isSymmetric: Bool, threadCount: Int
) {
    let tile = 256
    let tiles = (dimension + tile - 1) / tile
    let pairs = (0..<tiles).flatMap { first in ((isSymmetric ? first : 0)..<tiles).map { (first, $0) } }
    // Tiles are disjoint parts of the sums; the rows are only read.
    let memory = unsafe (x: Shared(x), y: Shared(y), sums: SharedMutable(sums))
    inParallel(count: pairs.count, threadCount: threadCount) { index in
        let (first, second) = (pairs[index].0 * tile, pairs[index].1 * tile)
        let (height, width) = (min(tile, dimension - first), min(tile, dimension - second))
        unsafe withUnsafeTemporaryAllocation(of: Float.self, capacity: height * width) { product in
            let product = product.baseAddress!
            for row in Swift.stride(from: 0, to: rowCount, by: 512) {
                let count = min(512, rowCount - row)
                let (a, b) = unsafe (memory.x.pointer + row * stride, memory.y.pointer + row * stride)
                if isSymmetric && first == second {
                    unsafe product.update(repeating: 0, count: height * width)
                    unsafe syrk(n: height, m: count, alpha: 1, a: a + first, aStride: stride, beta: 0, c: product, cStride: width)
                } else {
                    unsafe gemm(
                        transposeA: true, transposeB: false, m: height, n: width, k: count, alpha: 1, a: a + first,
                        aStride: stride, b: b + second, bStride: stride, beta: 0, c: product, cStride: width)
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
