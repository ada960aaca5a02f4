import LinearAlgebra

/// What went wrong with a Hessian, or nearly, and was dealt with.
public enum RoundingWarning: Sendable, Equatable {
    /// So many inputs were always zero. Their weights are rounded to nearest and compensate nothing.
    case deadColumns(Int)
    /// The Hessian needed more damping than asked for: δ is this fraction of the mean of its diagonal.
    case dampingRaised(Double)
    /// All inputs were always zero: weights are rounded to nearest.
    case emptyHessian
    /// No damping made the Hessian positive definite: weights are rounded to nearest.
    case indefiniteHessian
}

extension RoundingWarning: CustomStringConvertible {
    public var description: String {
        switch self {
        case .deadColumns(let count): "\(count) inputs were always zero in the calibration"
        case .dampingRaised(let fraction): "the Hessian was damped by \(fraction) of its mean diagonal to become positive definite"
        case .emptyHessian: "the Hessian is empty: weights are rounded to nearest"
        case .indefiniteHessian: "the Hessian is not positive definite: weights are rounded to nearest"
        }
    }
}

/// A Hessian as GPTQ uses it: the upper Cholesky factor of its damped inverse.
///
///     H = Σ xᵀx (any multiple),   (P (H + δ I) Pᵀ)⁻¹ = Uᵀ U,   δ = damping · mean(diag H)
///
/// P puts the columns into the order in which they are rounded: as they stand, or (act-order) by falling diagonal within
/// each part. Layers with the same input share one factor. Source: GPTQ (arXiv 2210.17323), algorithm 1.
///
/// Deviation: an input that was always zero gets a diagonal of 1 there and here, but its weights are set to zero only
/// there; a text beyond the calibration may need them.
public struct HessianFactor: Sendable {
    /// The column rounded at each position.
    public let order: [Int]
    /// U, by position; nil when weights have to be rounded to nearest.
    public let upper: Matrix<Float>?
    /// H + δ I by position, when it was asked for.
    public private(set) var matrix: Matrix<Float>?
    /// diag H, damped, by column: what an error in one column alone costs.
    public let importance: [Float]
    public let warnings: [RoundingWarning]

    /// - Parameters:
    ///   - hessian: symmetric, `[n, n]`.
    ///   - parts: neighbouring columns that stay together under act-order, covering all; nil: one part.
    ///   - actOrder: visit columns of a part by falling diagonal of H.
    ///   - keepsMatrix: keep H + δ I too, for coordinate descent.
    /// - Throws: `linearAlgebra(notFinite)`.
    public init(
        _ hessian: consuming Matrix<Double>, damping: Damping = Damping(), parts: [Range<Int>]? = nil, actOrder: Bool = false, keepsMatrix: Bool = false
    ) throws(ResQError) {
        let n = hessian.columnCount
        guard hessian.rowCount == n else { throw .wrongShape(expected: [n, n], found: [hessian.rowCount, n]) }
        var diagonal = (0..<n).map { hessian[$0, $0] }
        if let bad = diagonal.firstIndex(where: { !$0.isFinite }) { throw .linearAlgebra(.notFinite(row: bad, column: bad)) }
        var warnings: [RoundingWarning] = []
        let dead = diagonal.indices.filter { diagonal[$0] <= 0 }
        let mean = n > 0 ? diagonal.reduce(0) { $0 + max($1, 0) } / Double(n) : 0
        importance = diagonal.map { mean > 0 ? Float(max(($0 + damping.fraction * mean) / mean, 1e-6)) : 1 }
        guard dead.count < n else {
            (order, upper, self.warnings) = (Array(0..<n), nil, n > 0 ? [.emptyHessian] : [])
            return
        }
        if !dead.isEmpty { warnings.append(.deadColumns(dead.count)) }
        for column in dead {
            // The mean keeps the size of the damping; the row and column of a positive semidefinite matrix are zero already.
            for other in 0..<n { (hessian[column, other], hessian[other, column]) = (0, 0) }
            (hessian[column, column], diagonal[column]) = (mean, 0)
        }
        var order = Array(0..<n)
        if actOrder {
            order = (parts ?? [0..<n]).flatMap { part in
                part.sorted { diagonal[$0] != diagonal[$1] ? diagonal[$0] > diagonal[$1] : $0 < $1 }
            }
            hessian = hessian.permuted(order)
        }
        self.order = order
        var matrix = keepsMatrix ? hessian.converted(to: Float.self) : nil
        do {
            // Dead columns have the mean now, so that the mean of all is larger.
            let wanted = damping.fraction * mean * (1 + Double(dead.count) / Double(n))
            let factor = try hessian.inverseCholeskyFactor(damping: damping)
            if factor.damping > wanted * 1.5 { warnings.append(.dampingRaised(factor.damping / mean)) }
            let upper = factor.factor.converted(to: Float.self)
            // A pivot that Float cannot hold would divide by zero or overflow.
            let isUsable = (0..<n).allSatisfy { upper[$0, $0].isNormal } && upper.elements.allSatisfy { $0.isFinite }
            self.upper = isUsable ? upper : nil
            for index in 0..<(matrix?.rowCount ?? 0) { matrix?[index, index] += Float(factor.damping) }
            self.matrix = isUsable ? matrix : nil
            if !isUsable { warnings.append(.indefiniteHessian) }
        } catch .notPositiveDefinite {
            upper = nil
            warnings.append(.indefiniteHessian)
        } catch {
            throw .linearAlgebra(error)
        }
        self.warnings = warnings
    }

    /// No Hessian: weights are rounded to nearest, scales fitted with these importances.
    ///
    /// - Parameter importance: positive, one per column.
    public init(roundingToNearest importance: [Float]) {
        order = Array(importance.indices)
        upper = nil
        self.importance = importance
        warnings = []
    }
}

extension Matrix<Double> {
    /// Rows and columns in another order: place i gets those of `order[i]`.
    public func permuted(_ order: [Int]) -> Matrix {
        var result = self
        for (row, source) in order.enumerated() {
            for (column, other) in order.enumerated() { result.elements[row * columnCount + column] = elements[source * columnCount + other] }
        }
        return result
    }
}
