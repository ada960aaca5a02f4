import LinearAlgebra

/// The best low-rank approximation of a weight error, judged by the outputs.
///
///     minimise tr((E - B A) S (E - B A)ᵀ)   over B [m, r], A [r, n];   S = mean xᵀx
///
/// With any C for which S = C Cᵀ the minimum is B A = [E C]_r C⁻¹, [·]_r the truncated singular value decomposition
/// (QERA, arXiv 2410.06040; LQER, arXiv 2402.02446; EoRA, arXiv 2410.21271, with C = S^½). If U holds the first r left
/// singular vectors of E C, then [E C]_r C⁻¹ = U Uᵀ E C C⁻¹ = U Uᵀ E: so B = U and A = Uᵀ E, and neither a root of S nor
/// its inverse is needed. U are the principal eigenvectors of E S Eᵀ, an `[m, m]` matrix.
public struct LowRankResidual: Sendable {
    /// B, `[m, r]`: orthonormal columns, or zeros where E has no more directions.
    public let left: Matrix<Double>
    /// A, `[r, n]`.
    public let right: Matrix<Double>
    /// What each of the r components takes out of `outputError`, falling: σ², the first eigenvalues of E S Eᵀ.
    public let energies: [Double]

    fileprivate init(_ left: Matrix<Double>, error: Matrix<Double>, energies: some Collection<Double>) {
        (self.left, right) = (left, .product(left, error, transposeA: true))
        self.energies = energies.suffix(left.columnCount).reversed().map { max($0, 0) }
    }

    public var rank: Int { left.columnCount }
    /// B A.
    public var product: Matrix<Double> { .product(left, right) }
}

/// See `LowRankResidual`.
///
/// Where r is small beside the sides of E, the eigenvectors of K = E S Eᵀ are iterated for, and K is never formed:
///
///     Q ← orthonormal columns of K Q          r + 16 columns, from seeded random ones
///     U ← Q V,   V the first r eigenvectors of Qᵀ K Q
///
/// until an iteration takes less than a thousandth more out of the error than the one before. That costs 4 m n + 2 n² per
/// column and iteration, where all eigenvectors cost m³ and K 2 m n². Source: randomized subspace iteration (Halko,
/// Martinsson and Tropp, arXiv 0909.4061, algorithm 4.4).
///
/// - Parameters:
///   - error: E = W - Ŵ, `[m, n]`.
///   - moments: S, symmetric, `[n, n]`.
///   - rank: r, at most min(m, n).
/// - Throws: `wrongShape`, `linearAlgebra`.
public func lowRankResidual(of error: Matrix<Double>, moments: Matrix<Double>, rank: Int) throws(ResQError) -> LowRankResidual {
    let (m, n) = (error.rowCount, error.columnCount)
    guard moments.rowCount == n, moments.columnCount == n else {
        throw .wrongShape(expected: [n, n], found: [moments.rowCount, moments.columnCount])
    }
    precondition(rank > 0 && rank <= min(m, n), "a rank fits the matrix")
    // Inputs that were always zero: nothing is an error.
    guard (0..<n).contains(where: { moments[$0, $0] > 0 }) else {
        return LowRankResidual(Matrix(rowCount: m, columnCount: rank), error: error, energies: Array(repeating: 0, count: rank))
    }
    if 8 * (rank + oversampling) < min(m, n) { return try iterated(error, moments: moments, rank: rank) }
    if m <= n {
        let inner = Matrix.product(.product(error, moments), error, transposeB: true)
        let eigen = try symmetricEigen(of: inner)
        return LowRankResidual(eigen.vectors.lastColumns(rank), error: error, energies: eigen.values)
    }
    // A tall E has the same σ in the smaller Cᵀ Eᵀ E C = V diag(σ²) Vᵀ, and U = E C V diag(1/σ). C may come from a damped
    // S: it only picks the subspace.
    let factor: DampedFactor
    do { factor = try moments.choleskyFactor(damping: Damping(fraction: 1e-8, escalations: 6)) } catch { throw .linearAlgebra(error) }
    let scaled = Matrix.product(error, factor.factor)
    let eigen = try symmetricEigen(of: .product(scaled, scaled, transposeA: true))
    return LowRankResidual(orthonormalized(.product(scaled, eigen.vectors.lastColumns(rank))), error: error, energies: eigen.values)
}

/// Columns that are iterated beside those wanted, so that these settle soon.
private let oversampling = 16

/// The same by subspace iteration.
private func iterated(_ error: Matrix<Double>, moments: Matrix<Double>, rank: Int) throws(ResQError) -> LowRankResidual {
    var generator = SeededGenerator(seed: 0)
    let width = rank + oversampling
    var basis = Matrix<Double>(rowCount: error.rowCount, columnCount: width)
    for index in basis.elements.indices { basis.elements[index] = generator.nextGaussian() }
    basis = orthonormalized(basis)
    var last = -Double.infinity
    while true {
        let seen = Matrix.product(error, basis, transposeA: true)
        let weighted = Matrix.product(moments, seen)
        let eigen = try symmetricEigen(of: .product(seen, weighted, transposeA: true))
        let taken = eigen.values.suffix(rank).reduce(0, +)
        guard taken > last * 1.001 else {
            return LowRankResidual(.product(basis, eigen.vectors.lastColumns(rank)), error: error, energies: eigen.values)
        }
        last = taken
        basis = orthonormalized(.product(error, weighted))
    }
}

private func symmetricEigen(of matrix: Matrix<Double>) throws(ResQError) -> SymmetricEigen {
    do { return try SymmetricEigen(of: matrix) } catch { throw .linearAlgebra(error) }
}

/// Columns made orthonormal one after another (modified Gram and Schmidt, twice); what vanishes becomes zero.
private func orthonormalized(_ matrix: Matrix<Double>) -> Matrix<Double> {
    var rows = matrix.transposed
    let (count, width) = (rows.rowCount, rows.columnCount)
    for row in 0..<count {
        let before = (0..<width).reduce(0) { $0 + rows[row, $1] * rows[row, $1] }
        for _ in 0..<2 {
            for other in 0..<row {
                let dot = (0..<width).reduce(0) { $0 + rows[row, $1] * rows[other, $1] }
                for column in 0..<width { rows[row, column] -= dot * rows[other, column] }
            }
        }
        let square = (0..<width).reduce(0) { $0 + rows[row, $1] * rows[row, $1] }
        let factor = square > 1e-24 * before && square > 0 ? 1 / square.squareRoot() : 0
        for column in 0..<width { rows[row, column] *= factor }
    }
    return rows.transposed
}

extension Matrix<Double> {
    /// The last columns, the very last first.
    fileprivate func lastColumns(_ count: Int) -> Matrix {
        var result = Matrix(rowCount: rowCount, columnCount: count)
        for row in 0..<rowCount { for column in 0..<count { result[row, column] = self[row, columnCount - 1 - column] } }
        return result
    }
}

/// How a file will hold the factors of a residual: what is stored, and the numbers that this stands for.
public struct FactorStorage<Stored> {
    typealias Store = (Matrix<Double>) throws(ResQError) -> (stored: Stored, values: Matrix<Double>)
    let left: Store
    let right: Store

    public init(
        left: @escaping (Matrix<Double>) throws(ResQError) -> (stored: Stored, values: Matrix<Double>),
        right: @escaping (Matrix<Double>) throws(ResQError) -> (stored: Stored, values: Matrix<Double>)
    ) {
        (self.left, self.right) = (left, right)
    }
}

extension FactorStorage<Void> {
    /// Factors that are kept as they are.
    public static var exact: FactorStorage { FactorStorage(left: { ((), $0) }, right: { ((), $0) }) }
}

/// A rounded base and its residual.
public struct RefinedWeight<Base, Stored> {
    public let base: Base
    /// B and A in the numbers of their stored form.
    public let left: Matrix<Double>
    public let right: Matrix<Double>
    public let storedLeft: Stored
    public let storedRight: Stored
    /// tr((W - Ŵ - B A) S (W - Ŵ - B A)ᵀ).
    public let error: Double
}

/// A rounded base and a low-rank residual, refined in alternation.
///
///     Ŵ ← round(W - B A),   B A ← best rank r for W - Ŵ        `rounds` times
///
/// Each half-step takes the other as given: the base is rounded to what the residual leaves, the residual repairs what
/// rounding did. The pair with the least tr((W - Ŵ - B A) S (W - Ŵ - B A)ᵀ) of all rounds is returned. Source: LoftQ
/// (arXiv 2310.08659) without its plain norm; QERA's closed form for the residual.
///
/// B is stored first, and A fitted to it as it is stored, for which no S is needed:
///
///     A ← (BᵀB)⁻¹ Bᵀ (W - Ŵ)
///
/// - Parameters:
///   - weights: W, `[m, n]`.
///   - moments: S, of the inputs.
///   - rounds: at least 1; one is rounding followed by its residual.
///   - storage: what a file will hold of B and A, so that base and factors see each other's rounding.
///   - base: rounds a weight, and returns its rounding with the values.
/// - Returns: the base of the best round, its residual as stored, and the error that remains.
public func refinedBaseAndResidual<Base, Stored>(
    weights: Matrix<Float>, moments: Matrix<Double>, rank: Int, rounds: Int, storage: FactorStorage<Stored>,
    base: (Matrix<Float>) throws(ResQError) -> (base: Base, values: Matrix<Float>)
) throws(ResQError) -> RefinedWeight<Base, Stored> {
    precondition(rounds >= 1, "there is a round")
    var target = weights
    var best: RefinedWeight<Base, Stored>?
    for _ in 0..<rounds {
        let (rounded, values) = try base(target)
        var error = weights.converted(to: Double.self)
        for index in error.elements.indices { error.elements[index] -= Double(values.elements[index]) }
        let residual = try lowRankResidual(of: error, moments: moments, rank: rank)
        let (storedLeft, left) = try storage.left(residual.left)
        let (storedRight, right) = try storage.right(fitted(to: left, error))
        let product = Matrix.product(left, right)
        for index in error.elements.indices { error.elements[index] -= product.elements[index] }
        let remaining = outputError(error, hessian: moments)
        if best.map({ remaining < $0.error }) ?? true {
            best = RefinedWeight(
                base: rounded, left: left, right: right, storedLeft: storedLeft, storedRight: storedRight, error: remaining)
        }
        for index in target.elements.indices { target.elements[index] = Float(Double(weights.elements[index]) - product.elements[index]) }
    }
    guard let best else { preconditionFailure("there is a round") }
    return best
}

/// (BᵀB)⁻¹ Bᵀ E.
private func fitted(to left: Matrix<Double>, _ error: Matrix<Double>) throws(ResQError) -> Matrix<Double> {
    let gram = Matrix.product(left, left, transposeA: true)
    // Nothing to repair, or nothing that the stored B can hold.
    guard gram.elements.contains(where: { $0 != 0 }) else { return Matrix(rowCount: left.columnCount, columnCount: error.columnCount) }
    let factor: Matrix<Double>
    do { factor = try gram.choleskyFactor(damping: Damping(fraction: 1e-12, escalations: 12)).factor } catch { throw .linearAlgebra(error) }
    return factor.solvingLower(factor.solvingLower(.product(left, error, transposeA: true)), transposed: true)
}
