import LinearAlgebra

extension [GramAccumulator] {
    /// Adds each head's part of some rows to the accumulator of its key-value head; they are begun when there is none.
    mutating func addHeads(_ rows: Span<Float>, headCount: Int, keyValueHeadCount: Int, headDimension: Int, threadCount: Int) {
        let width = headCount * headDimension
        let rowCount = rows.count / width
        guard rowCount > 0 else { return }
        if isEmpty { self = Array(repeating: GramAccumulator(dimension: headDimension), count: keyValueHeadCount) }
        for head in 0..<headCount {
            let part = rows.extracting(head * headDimension..<(rowCount - 1) * width + (head + 1) * headDimension)
            self[head / (headCount / keyValueHeadCount)].add(part, rowCount: rowCount, stride: width, threadCount: threadCount)
        }
    }
}
