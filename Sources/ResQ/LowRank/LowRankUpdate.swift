/// Adds a low-rank product to rows of a matrix.
///
///     W[r, :] ← W[r, :] + s · Σ_k B[r, k] · A[k, :]        k ascending, in Float
///
/// With `s` = alpha / rank this is how a LoRA adapter is merged into its base weight.
///
/// - Parameters:
///   - rows: whole rows of W, `[rowCount, columnCount]`, row-major; changed in place.
///   - left: the same rows of B, `[rowCount, rank]`.
///   - right: A, `[rank, columnCount]`.
///   - scale: s.
public func addLowRankProduct(
    to rows: inout MutableSpan<Float>, left: Span<Float>, right: Span<Float>, rank: Int, columnCount: Int, scale: Float
) {
    precondition(rank > 0 && columnCount > 0, "a product has a rank and columns")
    precondition(right.count == rank * columnCount && left.count * columnCount == rows.count * rank, "shapes agree")
    let rowCount = left.count / rank
    for row in 0..<rowCount {
        let start = row * columnCount
        for k in 0..<rank {
            let factor = scale * left[row * rank + k]
            let source = right.extracting(k * columnCount..<(k + 1) * columnCount)
            for column in 0..<columnCount { rows[start + column] += factor * source[column] }
        }
    }
}
