import LinearAlgebra

/// The directions of a second moment, the principal ones last.
///
///     S + ε · mean(diag S) · I = P diag(λ) Pᵀ,   λ ascending
///
/// With x ← x P, the last coordinates carry the most energy E[x²] = λ - ε · mean(diag S). Damping moves every eigenvalue
/// alike; it keeps those of a rank-deficient S apart from rounding's negative ones. Source: ResQ (arXiv 2412.14363),
/// section 4 and theorem 4.2. The moments are not centred, as the quantizer sees the mean as well.
///
/// - Parameters:
///   - moments: S, symmetric, `[d, d]`; Σ xᵀx or its mean, the scale does not matter.
///   - damping: ε.
/// - Throws: `linearAlgebra`, for one when S is not finite.
public func principalBasis(of moments: Matrix<Double>, damping: Double = 0.01) throws(ResQError) -> SymmetricEigen {
    let n = moments.rowCount
    guard moments.columnCount == n else { throw .wrongShape(expected: [n, n], found: [n, moments.columnCount]) }
    var damped = moments
    let mean = n > 0 ? (0..<n).reduce(0) { $0 + moments[$1, $1] } / Double(n) : 0
    for index in 0..<n { damped[index, index] += damping * mean }
    do { return try SymmetricEigen(of: damped) } catch { throw .linearAlgebra(error) }
}

/// The matrix whose eigenvectors weigh activations and weights alike.
///
///     M = Cx / tr(Cx) + Cw / tr(Cw)
///
/// Cx is the second moment of a layer's input and Cw = Σ WᵀW over the linear layers that read it: an error made in a
/// direction costs as much as the weights there are large. For values, Cw sums W_oᵀW_o over the column blocks of the heads
/// that share them; for keys the second moment of the queries takes its place. A basis shared by several layers adds
/// their matrices. Source: CoQuant (arXiv 2604.26378), up to a common factor. A matrix whose trace is not positive
/// counts as absent.
public func activationAndWeightMoments(activations: Matrix<Double>, weights: Matrix<Double>) -> Matrix<Double> {
    precondition(
        activations.rowCount == weights.rowCount && activations.columnCount == weights.columnCount
            && activations.rowCount == activations.columnCount, "both matrices are square and of one order")
    let n = activations.rowCount
    func inverseTrace(_ matrix: Matrix<Double>) -> Double {
        let trace = (0..<n).reduce(0) { $0 + matrix[$1, $1] }
        return trace > 0 ? 1 / trace : 0
    }
    let (x, w) = (inverseTrace(activations), inverseTrace(weights))
    var sum = activations
    for index in sum.elements.indices { sum.elements[index] = x * activations.elements[index] + w * weights.elements[index] }
    return sum
}

/// The share of the energy that falls into each subspace: Σ max(λ, 0) over the subspace, divided by that over all.
public func energyShares(values: [Double], subspaces: [Subspace]) -> [Double] {
    let total = values.reduce(0) { $0 + max($1, 0) }
    return subspaces.map { part in total > 0 ? values[part.range].reduce(0) { $0 + max($1, 0) } / total : 0 }
}
