import Formats

/// The importance of one tensor's columns, for each of the matrices that are stacked in it.
public struct TensorImportance: Sendable {
    /// One number per column, of one matrix after another.
    let columns: [Float]
    let columnCount: Int
    /// Rows of one matrix.
    let rowCount: Int
    /// Tells this importance from any other, for runs that go on where an earlier one stopped.
    let digest: Digest

    /// - Returns: `nil` when the numbers are not as many as the tensor has matrices and columns.
    init?(_ columns: [Float], for info: TensorInfo) {
        guard info.shape.count >= 2, !columns.isEmpty else { return nil }
        let matrixCount = info.shape.dropLast(2).reduce(1, *)
        guard columns.count == matrixCount * info.columnCount else { return nil }
        self.columns = columns
        columnCount = info.columnCount
        rowCount = info.shape[info.shape.count - 2]
        // Floats have no padding.
        digest = Digest(of: unsafe columns.span.bytes)
    }

    /// The rows of a range that belong to one matrix, as many as there are from its start.
    func matrixRows(_ rows: Range<Int>) -> Range<Int> {
        rows.lowerBound..<min(rows.upperBound, (rows.lowerBound / rowCount + 1) * rowCount)
    }

    /// The numbers for the matrix of a row.
    func columns(ofRow row: Int) -> Range<Int> {
        let start = row / rowCount * columnCount
        return start..<start + columnCount
    }
}
