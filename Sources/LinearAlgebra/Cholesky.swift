/// How a matrix is made positive definite: `fraction` of the mean of its diagonal is added to the diagonal; if that is not
/// enough, ten times as much, and so on.
public struct Damping: Sendable, Equatable {
    /// The first amount tried, as a fraction of the mean of the diagonal.
    public var fraction: Double
    /// How often the amount is made ten times larger before the matrix counts as hopeless.
    public var escalations: Int

    public init(fraction: Double = 0.01, escalations: Int = 4) {
        precondition(fraction >= 0 && escalations >= 0, "damping adds")
        self.fraction = fraction
        self.escalations = escalations
    }
}

/// A triangular factor and what was added to the diagonal to get it.
public struct DampedFactor: Sendable {
    /// The factor, `[n, n]`, with zeros in its other triangle.
    public let factor: Matrix<Double>
    /// δ, the number added to every diagonal element.
    public let damping: Double
}

extension Matrix<Double> {
    /// The Cholesky factor of a damped symmetric matrix.
    ///
    ///     A + δ I = L Lᵀ,   L lower triangular
    ///
    /// A is taken over, so that its memory can become the factor's.
    ///
    /// - Throws: `notFinite`; `notPositiveDefinite` when no damping that was tried sufficed.
    public consuming func choleskyFactor(damping: Damping) throws(LinearAlgebraError) -> DampedFactor {
        let added = try damp(damping) { elements, n in choleskyInPlace(&elements, n: n) }
        clearUpperTriangle()
        return DampedFactor(factor: self, damping: added)
    }

    /// The inverse of a damped symmetric matrix, (A + δ I)⁻¹.
    ///
    /// - Throws: as `choleskyFactor(damping:)`.
    public consuming func inverse(damping: Damping) throws(LinearAlgebraError) -> (inverse: Matrix, damping: Double) {
        let added = try damp(damping) { elements, n in choleskyInPlace(&elements, n: n) && invertCholeskyInPlace(&elements, n: n) }
        let n = rowCount
        for row in 0..<n { for column in 0..<row { self[column, row] = self[row, column] } }
        return (self, added)
    }

    /// The upper Cholesky factor of the inverse of a damped symmetric matrix, as GPTQ needs it.
    ///
    ///     (A + δ I)⁻¹ = Uᵀ U,   U upper triangular
    ///
    /// With J the reversal of the order, J (A + δ I) J = L Lᵀ gives U = J L⁻¹ J: one factorization and one inversion of
    /// a triangle, half the work of inverting A and factoring the inverse, and more accurate.
    ///
    /// - Throws: as `choleskyFactor(damping:)`.
    public consuming func inverseCholeskyFactor(damping: Damping) throws(LinearAlgebraError) -> DampedFactor {
        try checkFinite()
        // Element (r, c) goes to (n - 1 - r, n - 1 - c): the memory is read backwards.
        elements.reverse()
        let added = try damp(damping) { elements, n in
            choleskyInPlace(&elements, n: n) && invertLowerTriangleInPlace(&elements, n: n)
        }
        clearUpperTriangle()
        elements.reverse()
        return DampedFactor(factor: self, damping: added)
    }

    /// X = L⁻¹ B, or L⁻ᵀ B, with this lower triangular L.
    ///
    /// - Parameter right: B, `[n, m]`.
    public func solvingLower(_ right: Matrix, transposed: Bool = false) -> Matrix {
        precondition(rowCount == columnCount && right.rowCount == rowCount, "the shapes agree")
        var result = right
        solveTriangularInPlace(elements, isLower: true, transposed: transposed, n: rowCount, &result.elements, columnCount: right.columnCount)
        return result
    }

    /// Raises the diagonal more and more, until `factor`, which may change the lower triangle only, succeeds.
    ///
    /// - Returns: what was added to the diagonal.
    private mutating func damp(
        _ damping: Damping, factor: (inout [Double], Int) -> Bool
    ) throws(LinearAlgebraError) -> Double {
        precondition(rowCount == columnCount, "the matrix is square")
        guard rowCount <= largestOrder else { throw .tooLarge(order: rowCount, limit: largestOrder) }
        try checkFinite()
        let n = rowCount
        let diagonal = (0..<n).map { self[$0, $0] }
        let mean = n > 0 ? diagonal.reduce(0) { $0 + abs($1) } / Double(n) : 0
        var added = damping.fraction * mean
        for attempt in 0...damping.escalations {
            if attempt > 0 {
                added = added > 0 ? added * 10 : mean * 1e-6
                // The upper triangle still holds A.
                for row in 0..<n { for column in 0..<row { self[row, column] = self[column, row] } }
            }
            for index in 0..<n { self[index, index] = diagonal[index] + added }
            if factor(&elements, n) { return added }
        }
        throw .notPositiveDefinite(damping: added)
    }

    private mutating func clearUpperTriangle() {
        for row in 0..<rowCount { for column in row + 1..<max(columnCount, row + 1) { self[row, column] = 0 } }
    }
}
