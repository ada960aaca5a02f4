import Threads

/// An element type BLAS multiplies: `Float` or `Double`.
public protocol BLASScalar: BinaryFloatingPoint & Sendable {
    /// C ← A op(B) or Aᵀ op(B), all row-major and dense.
    static func product(
        _ a: Span<Self>, _ b: Span<Self>, transposeA: Bool, transposeB: Bool, m: Int, n: Int, k: Int, into c: inout MutableSpan<Self>)
}

extension Float: BLASScalar {
    public static func product(
        _ a: Span<Float>, _ b: Span<Float>, transposeA: Bool, transposeB: Bool, m: Int, n: Int, k: Int, into c: inout MutableSpan<Float>
    ) {
        precondition(a.count == m * k && b.count == k * n && c.count == m * n, "the shapes of a product agree")
        guard k > 0, m > 0, n > 0 else { return }
        unsafe a.withUnsafeBufferPointer { a in
            unsafe b.withUnsafeBufferPointer { b in
                unsafe c.withUnsafeMutableBufferPointer { c in
                    // The counts were just compared with the shapes.
                    unsafe gemm(
                        transposeA: transposeA, transposeB: transposeB, m: m, n: n, k: k, alpha: 1, a: a.baseAddress!,
                        aStride: transposeA ? m : k, b: b.baseAddress!, bStride: transposeB ? k : n, beta: 0, c: c.baseAddress!,
                        cStride: n)
                }
            }
        }
    }
}

extension Double: BLASScalar {
    public static func product(
        _ a: Span<Double>, _ b: Span<Double>, transposeA: Bool, transposeB: Bool, m: Int, n: Int, k: Int,
        into c: inout MutableSpan<Double>
    ) {
        precondition(a.count == m * k && b.count == k * n && c.count == m * n, "the shapes of a product agree")
        guard k > 0, m > 0, n > 0 else { return }
        unsafe a.withUnsafeBufferPointer { a in
            unsafe b.withUnsafeBufferPointer { b in
                unsafe c.withUnsafeMutableBufferPointer { c in
                    // The counts were just compared with the shapes.
                    unsafe gemm(
                        transposeA: transposeA, transposeB: transposeB, m: m, n: n, k: k, alpha: 1, a: a.baseAddress!,
                        aStride: transposeA ? m : k, b: b.baseAddress!, bStride: transposeB ? k : n, beta: 0, c: c.baseAddress!,
                        cStride: n)
                }
            }
        }
    }
}

extension Matrix where Scalar: BLASScalar {
    /// The product of two matrices, either of them transposed.
    ///
    ///     C = op(A) op(B)
    ///
    /// - Precondition: the inner dimensions agree.
    public static func product(
        _ a: Matrix, _ b: Matrix, transposeA: Bool = false, transposeB: Bool = false
    ) -> Matrix {
        let (m, inner) = transposeA ? (a.columnCount, a.rowCount) : (a.rowCount, a.columnCount)
        let (other, n) = transposeB ? (b.columnCount, b.rowCount) : (b.rowCount, b.columnCount)
        precondition(inner == other, "the inner dimensions of a product agree")
        var result = Matrix(rowCount: m, columnCount: n)
        var target = result.elements.mutableSpan
        Scalar.product(
            a.elements.span, b.elements.span, transposeA: transposeA, transposeB: transposeB, m: m, n: n, k: inner, into: &target)
        return result
    }
}

/// Applies a linear layer to many rows, in parallel.
///
///     Y[i, o] = Σ_k X[i, k] · W[o, k]        (+ Y[i, o] when `accumulates`)
///
/// The work is cut into tiles whose size depends on the shapes alone, so that the result does not depend on the
/// number of threads.
///
/// - Parameters:
///   - x: `[rowCount, inputCount]`, rows `xStride` apart.
///   - weight: `[outputCount, inputCount]`, dense.
///   - y: `[rowCount, outputCount]`, rows `yStride` apart.
public func applyLinear(
    _ x: Span<Float>, xStride: Int, rowCount: Int, weight: Span<Float>, inputCount: Int, outputCount: Int,
    into y: inout MutableSpan<Float>, yStride: Int, accumulates: Bool = false, threadCount: Int
) {
    guard rowCount > 0, outputCount > 0, inputCount > 0 else { return }
    precondition(xStride >= inputCount && (rowCount - 1) * xStride + inputCount <= x.count, "the input holds its rows")
    precondition(yStride >= outputCount && (rowCount - 1) * yStride + outputCount <= y.count, "the output holds its rows")
    precondition(weight.count == outputCount * inputCount, "the weight holds its rows")
    let (rowTile, rowTiles) = tiles(of: rowCount, largest: rowCount <= 16 ? 16 : rowCount < 4096 ? 256 : 512)
    let (outputTile, outputTiles) = tiles(of: outputCount, largest: rowCount <= 16 ? 256 : rowCount < 4096 ? 512 : 2048)
    unsafe x.withUnsafeBufferPointer { x in
        unsafe weight.withUnsafeBufferPointer { weight in
            unsafe y.withUnsafeMutableBufferPointer { y in
                // Sound to share: tiles write disjoint parts of y, and everything else is only read while y is borrowed.
                let (xs, ws, ys) = unsafe (Shared(x.baseAddress!), Shared(weight.baseAddress!), SharedMutable(y.baseAddress!))
                inParallel(count: rowTiles * outputTiles, threadCount: threadCount) { tile in
                    let row = tile / outputTiles * rowTile
                    let output = tile % outputTiles * outputTile
                    unsafe gemm(
                        transposeA: false, transposeB: true, m: min(rowTile, rowCount - row), n: min(outputTile, outputCount - output),
                        k: inputCount, alpha: 1, a: xs.pointer + row * xStride, aStride: xStride,
                        b: ws.pointer + output * inputCount, bStride: inputCount, beta: accumulates ? 1 : 0,
                        c: ys.pointer + row * yStride + output, cStride: yStride)
                }
            }
        }
    }
}

/// Equal parts of a dimension, a multiple of 32 long except the last. Large ones, because each call of BLAS copies its
/// operands first; smaller ones where there would not be enough of them for many threads.
func tiles(of count: Int, largest: Int) -> (length: Int, count: Int) {
    let parts = (count + largest - 1) / largest
    let length = min(count, ((count + parts - 1) / parts + 31) / 32 * 32)
    return (length, (count + length - 1) / length)
}
