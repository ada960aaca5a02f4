/// Moves the gain of a normalisation into the linear layer that reads it.
///
///     y = W (g ∘ n) = (W diag(g)) n        for each row of W:  w[c] ← w[c] · g[c]
///
/// `n` is the normalised activation and `g` the norm's gain; afterwards the norm has gain 1. Source: ResQ
/// (arXiv 2412.14363), section "fusing"; the product of two 16-bit floats is exact in `Float`.
///
/// - Parameters:
///   - rows: whole rows of W, `[rows, gain.count]`, row-major; changed in place.
///   - gain: one factor per column.
public func foldNormGain(into rows: inout MutableSpan<Float>, gain: Span<Float>) {
    precondition(!gain.isEmpty && rows.count % gain.count == 0, "whole rows, one factor per column")
    var start = 0
    while start < rows.count {
        for column in 0..<gain.count { rows[start + column] *= gain[column] }
        start += gain.count
    }
}
