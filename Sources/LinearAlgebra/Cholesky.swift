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
    /// - Throws: `notFinite`; `notPositiveDefinite` when no damping that was tried sufficed.
    public func choleskyFactor(damping: Damping) throws(LinearAlgebraError) -> DampedFactor {
        let n = rowCount
        let (lower, added) = try damped(damping) { elements in choleskyInPlace(&elements, n: n) }
        return DampedFactor(factor: lower.keepingLowerTriangle(), damping: added)
    }

    /// The inverse of a damped symmetric matrix, (A + δ I)⁻¹.
    ///
    /// - Throws: as `choleskyFactor(damping:)`.
    public func inverse(damping: Damping) throws(LinearAlgebraError) -> (inverse: Matrix, damping: Double) {
        let n = rowCount
        var (inverse, added) = try damped(damping) { elements in
            choleskyInPlace(&elements, n: n) && invertCholeskyInPlace(&elements, n: n)
        }
        for row in 0..<n { for column in row + 1..<max(n, row + 1) { inverse[row, column] = inverse[column, row] } }
        return (inverse, added)
    }

    /// The upper Cholesky factor of the inverse of a damped symmetric matrix, as GPTQ needs it.
    ///
    ///     (A + δ I)⁻¹ = Uᵀ U,   U upper triangular
    ///
    /// With J the reversal of the order, J (A + δ I) J = L Lᵀ gives U = J L⁻¹ J: one factorization and one inversion of
    /// a triangle, half the work of inverting A and factoring the inverse, and more accurate.
    ///
    /// - Throws: as `choleskyFactor(damping:)`.
    public func inverseCholeskyFactor(damping: Damping) throws(LinearAlgebraError) -> DampedFactor {
        let n = rowCount
        try checkFinite()
        var reversed = self
        // Element (r, c) goes to (n - 1 - r, n - 1 - c): the memory is read backwards. A's upper triangle becomes the lower.
        reversed.elements.reverse()
        let (lower, added) = try reversed.damped(damping) { elements in
            choleskyInPlace(&elements, n: n) && invertLowerTriangleInPlace(&elements, n: n)
        }
        var upper = lower.keepingLowerTriangle()
        upper.elements.reverse()
        return DampedFactor(factor: upper, damping: added)
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

    /// Calls `factor` with copies of the elements whose diagonal is raised more and more, until it succeeds.
    private func damped(
        _ damping: Damping, factor: (inout [Double]) -> Bool
    ) throws(LinearAlgebraError) -> (factor: Matrix, added: Double) {
        precondition(rowCount == columnCount, "the matrix is square")
        guard rowCount <= largestOrder else { throw .tooLarge(order: rowCount, limit: largestOrder) }
        try checkFinite()
        let n = rowCount
        var trace = 0.0
        for index in 0..<n { trace += abs(self[index, index]) }
        let mean = n > 0 ? trace / Double(n) : 0
        var added = damping.fraction * mean
        for attempt in 0...damping.escalations {
            var elements = elements
            for index in 0..<n { elements[index * (n + 1)] += added }
            if factor(&elements) { return (Matrix(rowCount: n, columnCount: n, elements: elements), added) }
            if attempt < damping.escalations { added = added > 0 ? added * 10 : mean * 1e-6 }
        }
        throw .notPositiveDefinite(damping: added)
    }

    private consuming func keepingLowerTriangle() -> Matrix {
        for row in 0..<rowCount { for column in row + 1..<max(columnCount, row + 1) { elements[row * columnCount + column] = 0 } }
        return self
    }
}
