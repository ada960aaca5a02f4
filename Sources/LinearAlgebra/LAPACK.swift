// The only calls of LAPACK and of BLAS's triangular solver. LAPACK's matrices are column-major: it sees the transpose of
// what lies in row-major memory, which for symmetric matrices only swaps the names of the triangles.
#if canImport(Accelerate)
    import Accelerate
#else
    import CBLAS
#endif

/// Largest order whose work space (1 + 6n + 2n² numbers) a 32-bit integer can count.
let largestEigenOrder = 32_766
/// Largest order whose elements are surely addressed with 64 bits inside LAPACK and whose side fits 32 bits.
let largestOrder = 1 << 30

/// Eigenvalues, ascending, and eigenvectors of the symmetric matrix in row-major `a` `[n, n]`; only its lower triangle is
/// read. Afterwards row i of `a` is the vector of value i.
///
/// Divide and conquer in Double (dsyevd): the faster ssyevr gives vectors that are orthogonal only to 1e-3.
func symmetricEigen(_ a: inout [Double], n: Int) throws(LinearAlgebraError) -> [Double] {
    guard n <= largestEigenOrder else { throw .tooLarge(order: n, limit: largestEigenOrder) }
    guard n > 0 else { return [] }
    precondition(a.count == n * n, "the matrix is square")
    useOneThread()
    var values = [Double](repeating: 0, count: n)
    var work = [Double](repeating: 0, count: 1 + 6 * n + 2 * n * n)
    var integers = [Int32](repeating: 0, count: 3 + 5 * n)
    var (job, triangle) = (CChar(UInt8(ascii: "V")), CChar(UInt8(ascii: "U")))
    var (order, stride, code) = (Int32(n), Int32(n), Int32(0))
    var (workCount, integerCount) = (Int32(work.count), Int32(integers.count))
    // The arrays have the sizes that dsyevd's description asks for.
    unsafe dsyevd_(&job, &triangle, &order, &a, &stride, &values, &work, &workCount, &integers, &integerCount, &code)
    guard code == 0 else { throw .notConverged(routine: "dsyevd", code: Int(code)) }
    return values
}

/// A = L Lᵀ in the lower triangle of row-major `a`, of which only that triangle is read and written.
///
/// - Returns: whether A is positive definite.
func choleskyInPlace(_ a: inout [Double], n: Int) -> Bool {
    guard n > 0 else { return true }
    precondition(a.count == n * n && n <= largestOrder, "the matrix is square")
    useOneThread()
    var triangle = CChar(UInt8(ascii: "U"))
    var (order, stride, code) = (Int32(n), Int32(n), Int32(0))
    unsafe dpotrf_(&triangle, &order, &a, &stride, &code)
    return code == 0
}

/// A⁻¹ in the lower triangle of row-major `a`, which holds the Cholesky factor of A.
func invertCholeskyInPlace(_ a: inout [Double], n: Int) -> Bool {
    guard n > 0 else { return true }
    precondition(a.count == n * n && n <= largestOrder, "the matrix is square")
    useOneThread()
    var triangle = CChar(UInt8(ascii: "U"))
    var (order, stride, code) = (Int32(n), Int32(n), Int32(0))
    unsafe dpotri_(&triangle, &order, &a, &stride, &code)
    return code == 0
}

/// L⁻¹ in the lower triangle of row-major `a`, which holds the triangular L.
func invertLowerTriangleInPlace(_ a: inout [Double], n: Int) -> Bool {
    guard n > 0 else { return true }
    precondition(a.count == n * n && n <= largestOrder, "the matrix is square")
    useOneThread()
    var (triangle, diagonal) = (CChar(UInt8(ascii: "U")), CChar(UInt8(ascii: "N")))
    var (order, stride, code) = (Int32(n), Int32(n), Int32(0))
    unsafe dtrtri_(&triangle, &diagonal, &order, &a, &stride, &code)
    return code == 0
}

/// Q of A = Q R for a square A, and the signs of R's diagonal. `a` is column-major A and becomes column-major Q.
func orthogonalFactorInPlace(_ a: inout [Double], n: Int) -> [FloatingPointSign] {
    guard n > 0 else { return [] }
    precondition(a.count == n * n && n <= largestEigenOrder, "the matrix is square and its side small")
    useOneThread()
    var factors = [Double](repeating: 0, count: n)
    var work = [Double](repeating: 0, count: 64 * n)
    var (rows, columns, reflectors, stride, code) = (Int32(n), Int32(n), Int32(n), Int32(n), Int32(0))
    var workCount = Int32(work.count)
    // Both routines need at least n numbers of work space; 64 n let them use their blocked forms.
    unsafe dgeqrf_(&rows, &columns, &a, &stride, &factors, &work, &workCount, &code)
    precondition(code == 0, "dgeqrf's arguments are in range")
    let signs = (0..<n).map { a[$0 * n + $0].sign }
    unsafe dorgqr_(&rows, &columns, &reflectors, &a, &stride, &factors, &work, &workCount, &code)
    precondition(code == 0, "dorgqr's arguments are in range")
    return signs
}

/// X ← op(T)⁻¹ X for a row-major triangular T `[n, n]` and X `[n, m]`.
func solveTriangularInPlace(
    _ triangle: [Double], isLower: Bool, transposed: Bool, n: Int, _ x: inout [Double], columnCount m: Int
) {
    guard n > 0, m > 0 else { return }
    precondition(triangle.count == n * n && x.count == n * m && n <= largestOrder && m <= largestOrder, "the shapes agree")
    useOneThread()
    unsafe cblas_dtrsm(
        CblasRowMajor, CblasLeft, isLower ? CblasLower : CblasUpper, transposed ? CblasTrans : CblasNoTrans, CblasNonUnit, Int32(n),
        Int32(m), 1, triangle, Int32(n), &x, Int32(m))
}
