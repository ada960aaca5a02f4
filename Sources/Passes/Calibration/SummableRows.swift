import Models

/// Refuses rows whose second moments `Float` cannot hold: NaN, infinities, and numbers so large that some hundreds of
/// their squares overflow.
///
/// - Throws: `NotFiniteRow` for the first of them.
func checkSummable(_ rows: Span<Float>, columnCount: Int) throws(NotFiniteRow) {
    let limit: Float = 1e17
    for start in stride(from: 0, to: rows.count, by: columnCount) {
        // Without a branch or a check of bounds inside, so that it vectorizes; a NaN is not below the limit either.
        let row = rows.extracting(start..<start + columnCount)
        var tooLarge: UInt32 = 0
        for index in 0..<row.count { tooLarge &+= row[index].magnitude < limit ? 0 : 1 }
        guard tooLarge == 0 else { throw NotFiniteRow(row: start / columnCount) }
    }
}
