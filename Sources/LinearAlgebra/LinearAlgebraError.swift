/// What keeps a decomposition from being made.
public enum LinearAlgebraError: Error, Equatable, Sendable {
    /// The matrix has an infinite element or NaN; the first is named.
    case notFinite(row: Int, column: Int)
    /// The order is beyond what LAPACK's 32-bit integers can address.
    case tooLarge(order: Int, limit: Int)
    /// No damping that was tried made the matrix positive definite; the largest tried is named.
    case notPositiveDefinite(damping: Double)
    /// LAPACK's iteration did not converge.
    case notConverged(routine: String, code: Int)
}

extension LinearAlgebraError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .notFinite(let row, let column): "the matrix is not finite at row \(row), column \(column)"
        case .tooLarge(let order, let limit): "a matrix of order \(order) is too large: at most \(limit)"
        case .notPositiveDefinite(let damping): "the matrix is not positive definite, even with \(damping) added to its diagonal"
        case .notConverged(let routine, let code): "\(routine) did not converge (code \(code))"
        }
    }
}

extension Matrix {
    /// Throws if an element is infinite or NaN.
    func checkFinite() throws(LinearAlgebraError) {
        if let index = elements.firstIndex(where: { !$0.isFinite }) {
            throw .notFinite(row: index / columnCount, column: index % columnCount)
        }
    }
}
