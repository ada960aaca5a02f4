import LinearAlgebra
import Models

/// Refuses rows whose second moments `Float` did not hold: NaN, infinities, and numbers so large that their squares overflow.
///
/// The sums tell at once whether there are such rows; only then are they looked for.
/// - Parameter moments: what the rows were just added to.
/// - Throws: `NotFiniteRow` for the first of them.
func checkSums(_ moments: [GramAccumulator], of rows: Span<Float>, columnCount: Int) throws(NotFiniteRow) {
    guard !moments.allSatisfy(\.isFinite) else { return }
    try checkSummable(rows, columnCount: columnCount)
}

/// Refuses rows of which some hundreds of squares would overflow.
private func checkSummable(_ rows: Span<Float>, columnCount: Int) throws(NotFiniteRow) {
    let limit: Float = 1e17
    for start in stride(from: 0, to: rows.count, by: columnCount) {
        // Without a branch or a check of bounds inside, so that it vectorizes; a NaN is not below the limit either.
        let row = rows.extracting(start..<start + columnCount)
        var tooLarge: UInt32 = 0
        for index in 0..<row.count { tooLarge &+= row[index].magnitude < limit ? 0 : 1 }
        guard tooLarge == 0 else { throw NotFiniteRow(row: start / columnCount) }
    }
}
