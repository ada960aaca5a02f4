import LinearAlgebra

/// How weights must change to keep their outputs when their inputs have changed.
///
///     minimise E |W' x̂ - W x|² + δ |W' - W|²:     W' = W + W M,   M = D (H + δ I)⁻¹
///     D = E (x - x̂) x̂ᵀ,   H = E x̂ x̂ᵀ,   δ = damping · mean(diag H)
///
/// x is what the original network gives the layer and x̂ what the rounded one does: rounding W' under H then rounds for
/// the outputs that the original has, and part of the errors of earlier layers and of rounded activations is taken back.
/// |Ŵ x̂ - W x|² differs from |Ŵ x̂ - W' x̂|² by a constant but for δ, so that nothing else of GPTQ changes.
/// Source: the least-squares form of asymmetric calibration (GPTAQ, arXiv 2504.02692).
///
/// - Parameters:
///   - difference: D, `[n, n]`, any multiple.
///   - moments: H, the same multiple.
/// - Returns: M, `[n, n]`; zero when H is hopeless.
/// - Throws: `wrongShape`, `linearAlgebra`.
public func inputCorrection(
    difference: Matrix<Double>, moments: consuming Matrix<Double>, damping: Damping
) throws(ResQError) -> Matrix<Float> {
    let n = moments.rowCount
    guard difference.rowCount == n, difference.columnCount == n else {
        throw .wrongShape(expected: [n, n], found: [difference.rowCount, difference.columnCount])
    }
    do throws(LinearAlgebraError) {
        let factor = try moments.choleskyFactor(damping: damping).factor
        return factor.solvingLower(factor.solvingLower(difference.transposed), transposed: true).transposed.converted(to: Float.self)
    } catch .notPositiveDefinite {
        return Matrix(rowCount: n, columnCount: n)
    } catch {
        throw .linearAlgebra(error)
    }
}
