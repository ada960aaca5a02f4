// The only calls of BLAS. Pointers are taken here from spans whose sizes have been checked, and nowhere leave the call.
#if canImport(Accelerate)
    import Accelerate
#else
    import CBLAS
#endif

/// BLAS stays on the calling thread: its own threads spin inside LAPACK and make small calls many times slower.
/// Parallel work is cut up outside.
private let singleThreaded: Void = {
    #if !canImport(Accelerate)
        openblas_set_num_threads(1)
    #endif
}()

/// What the linear algebra library says of itself, for `--version` and reports of trouble.
public var blasDescription: String {
    #if canImport(Accelerate)
        "Accelerate"
    #else
        unsafe "OpenBLAS " + String(cString: openblas_get_config()) + ", kernels " + String(cString: openblas_get_corename())
    #endif
}


/// To be called before anything of BLAS or LAPACK.
func useOneThread() { _ = singleThreaded }

// BLAS takes dimensions as 32-bit integers.
private func dimension(_ value: Int) -> Int32 { Int32(value) }

/// C ← α · op(A) op(B) + β · C on blocks of row-major memory; op(A) is `[m, k]`, op(B) `[k, n]`, C `[m, n]`.
///
/// The caller has checked that the blocks lie inside the memory the pointers stand for.
@unsafe package func gemm(
    transposeA: Bool, transposeB: Bool, m: Int, n: Int, k: Int, alpha: Float, a: UnsafePointer<Float>, aStride: Int,
    b: UnsafePointer<Float>, bStride: Int, beta: Float, c: UnsafeMutablePointer<Float>, cStride: Int
) {
    _ = singleThreaded
    guard m > 0, n > 0 else { return }
    if m == 1, transposeB, !transposeA {
        // One row times a matrix: y = B x reads B once, row by row.
        unsafe cblas_sgemv(
            CblasRowMajor, CblasNoTrans, dimension(n), dimension(k), alpha, b, dimension(bStride), a, 1, beta, c, 1)
        return
    }
    unsafe cblas_sgemm(
        CblasRowMajor, transposeA ? CblasTrans : CblasNoTrans, transposeB ? CblasTrans : CblasNoTrans, dimension(m), dimension(n),
        dimension(k), alpha, a, dimension(aStride), b, dimension(bStride), beta, c, dimension(cStride))
}

/// The same in `Double`.
@unsafe func gemm(
    transposeA: Bool, transposeB: Bool, m: Int, n: Int, k: Int, alpha: Double, a: UnsafePointer<Double>, aStride: Int,
    b: UnsafePointer<Double>, bStride: Int, beta: Double, c: UnsafeMutablePointer<Double>, cStride: Int
) {
    _ = singleThreaded
    guard m > 0, n > 0 else { return }
    unsafe cblas_dgemm(
        CblasRowMajor, transposeA ? CblasTrans : CblasNoTrans, transposeB ? CblasTrans : CblasNoTrans, dimension(m), dimension(n),
        dimension(k), alpha, a, dimension(aStride), b, dimension(bStride), beta, c, dimension(cStride))
}

/// C ← α · Aᵀ A + β · C, the upper triangle of row-major C `[n, n]`; A is `[m, n]`.
@unsafe func syrk(
    n: Int, m: Int, alpha: Float, a: UnsafePointer<Float>, aStride: Int, beta: Float, c: UnsafeMutablePointer<Float>, cStride: Int
) {
    _ = singleThreaded
    guard n > 0, m > 0 else { return }
    unsafe cblas_ssyrk(
        CblasRowMajor, CblasUpper, CblasTrans, dimension(n), dimension(m), alpha, a, dimension(aStride), beta, c, dimension(cStride))
}
