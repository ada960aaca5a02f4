import Formats

/// A run of rows of one output tensor: the unit that is computed, written, hashed and read back.
///
/// The cut depends on shapes alone, so the same plan has the same pieces on every machine and thread count.
struct Piece: Sendable {
    /// The file of the layout.
    let file: Int
    /// The tensor's place in the list the layout was made from.
    let tensor: Int
    let rows: Range<Int>
    /// Where its bytes stand in the file.
    let byteOffset: Int
    let byteCount: Int
}

extension ArtifactLayout {
    /// Cuts every tensor into runs of whole rows of about `byteCount` bytes, in file order.
    ///
    /// Tensors without bytes have no pieces.
    func pieces(ofAbout byteCount: Int) -> [Piece] {
        var pieces: [Piece] = []
        for (fileIndex, file) in files.enumerated() {
            for placed in file.tensors where placed.info.byteCount > 0 {
                let rowCount = placed.info.rowCount
                let rowByteCount = placed.info.rowByteCount
                let rowsAtOnce = rowByteCount.map { max(1, byteCount / $0) } ?? rowCount
                var row = 0
                while row < rowCount {
                    let rows = row..<min(rowCount, row + rowsAtOnce)
                    pieces.append(
                        Piece(
                            file: fileIndex, tensor: placed.index, rows: rows,
                            byteOffset: placed.byteOffset + row * (rowByteCount ?? 0),
                            byteCount: rowByteCount.map { rows.count * $0 } ?? placed.info.byteCount))
                    row = rows.upperBound
                }
            }
        }
        return pieces
    }
}
