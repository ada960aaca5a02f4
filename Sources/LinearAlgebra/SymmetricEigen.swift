/// The eigenvectors and eigenvalues of a symmetric matrix.
///
///     A = V diag(λ) Vᵀ,   Vᵀ V = I,   λ₀ ≤ λ₁ ≤ …
///
/// An eigenvector is determined only up to its sign; here the component of largest magnitude (the first of equals) is
/// positive. Source: LAPACK's dsyevd, divide and conquer, in Double.
public struct SymmetricEigen: Sendable {
    /// λ, ascending.
    public let values: [Double]
    /// V, `[n, n]`: column i belongs to value i.
    public let vectors: Matrix<Double>

    /// - Parameter matrix: square and symmetric; only its lower triangle is read.
    /// - Throws: `notFinite`, `tooLarge` for orders above 32,766, `notConverged`.
    public init(of matrix: Matrix<Double>) throws(LinearAlgebraError) {
        precondition(matrix.rowCount == matrix.columnCount, "the matrix is square")
        try matrix.checkFinite()
        let n = matrix.rowCount
        var rows = matrix.elements
        values = try symmetricEigen(&rows, n: n)
        for row in 0..<n {
            var most = 0.0
            var isNegative = false
            for index in row * n..<(row + 1) * n where abs(rows[index]) > most { (most, isNegative) = (abs(rows[index]), rows[index] < 0) }
            if isNegative { for index in row * n..<(row + 1) * n { rows[index].negate() } }
        }
        vectors = Matrix(rowCount: n, columnCount: n, elements: rows).transposed
    }

    /// f(A) = V diag(f(λ)) Vᵀ, for example A's square root with `{ max($0, 0).squareRoot() }`.
    public func applying(_ function: (Double) -> Double) -> Matrix<Double> {
        let n = values.count
        var scaled = vectors
        let factors = values.map(function)
        for row in 0..<n { for column in 0..<n { scaled.elements[row * n + column] *= factors[column] } }
        return .product(scaled, vectors, transposeB: true)
    }

    /// The square root of a positive semidefinite A, and its inverse with eigenvalues below `floor` raised to it.
    ///
    ///     S^½ = V diag(√λ) Vᵀ,   S^-½ = V diag(1 / √λ) Vᵀ,   λ ← max(λ, floor)
    ///
    /// - Parameter floor: positive; what rounding made negative, or zero, counts as this.
    public func squareRoots(floor: Double) -> (root: Matrix<Double>, inverse: Matrix<Double>) {
        precondition(floor > 0, "the floor is positive")
        return (applying { max($0, floor).squareRoot() }, applying { 1 / max($0, floor).squareRoot() })
    }
}
