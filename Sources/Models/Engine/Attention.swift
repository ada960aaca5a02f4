import CKernels
import LinearAlgebra
import Threads

// Causal attention over keys and values in memory. The pointers handed to tasks live only inside the call; every
// offset below follows from the shapes that are checked at its start.

/// The sizes of one attention call.
package struct AttentionShape: Sendable {
    let heads: Int
    let keyValueHeads: Int
    let dimension: Int
    /// What scores are multiplied by, and the cap they pass through (0 for none).
    let scale: Float
    let cap: Float
    /// How many positions a token sees, itself included; `nil` for all.
    let window: Int?

    package init(heads: Int, keyValueHeads: Int, dimension: Int, scale: Float, cap: Float, window: Int?) {
        (self.heads, self.keyValueHeads, self.dimension) = (heads, keyValueHeads, dimension)
        (self.scale, self.cap, self.window) = (scale, cap, window)
    }

    /// Query heads of one key-value head.
    var groupSize: Int { heads / keyValueHeads }
    /// Tokens of a tile: about 192 rows of queries, but not so many that most of the last scores are of later tokens.
    var tileLength: Int { min(64, max(16, 192 / groupSize / 16 * 16)) }
    var queryWidth: Int { heads * dimension }
    var keyWidth: Int { keyValueHeads * dimension }
}

/// One sequence's part of the rows: `count` tokens whose first has position `start`.
package struct AttentionSequence: Sendable {
    /// The first of its rows among the queries and the output.
    let row: Int
    let count: Int
    let start: Int
    /// The first of its rows among the keys and values: position 0.
    let keyRow: Int

    package init(row: Int, count: Int, start: Int, keyRow: Int) {
        (self.row, self.count, self.start, self.keyRow) = (row, count, start, keyRow)
    }
}

/// Attention of every head.
///
///     out_i = Σ_j softmax_j(scale · q_i · k_j) v_j        j from i - window + 1 to i
///
/// Query head h reads key-value head h / (heads / keyValueHeads). Work is cut into tiles: some tokens' queries in all
/// heads of one key-value head, whose keys are thus read once.
///
/// - Parameters (arrays may be longer than their rows):
///   - queries: `[tokens, heads · dimension]`.
///   - keys, values: `[positions, keyValueHeads · dimension]`.
///   - out: like `queries`.
package func attend(
    _ queries: [Float], keys: [Float], values: [Float], sequences: [AttentionSequence], shape: AttentionShape,
    into out: inout [Float], threadCount: Int
) {
    precondition(shape.heads % shape.keyValueHeads == 0, "whole groups of heads")
    var tiles: [(sequence: AttentionSequence, head: Int, queries: Range<Int>)] = []
    for sequence in sequences where sequence.count > 0 {
        precondition((sequence.row + sequence.count) * shape.queryWidth <= min(queries.count, out.count), "the queries are there")
        precondition((sequence.keyRow + sequence.start + sequence.count) * shape.keyWidth <= min(keys.count, values.count), "the keys are there")
        for first in stride(from: 0, to: sequence.count, by: shape.tileLength) {
            for head in 0..<shape.keyValueHeads {
                tiles.append((sequence, head, first..<min(sequence.count, first + shape.tileLength)))
            }
        }
    }
    guard !tiles.isEmpty else { return }
    let ordered = tiles
    unsafe queries.withUnsafeBufferPointer { queries in
        unsafe keys.withUnsafeBufferPointer { keys in
            unsafe values.withUnsafeBufferPointer { values in
                unsafe out.withUnsafeMutableBufferPointer { out in
                    let memory = unsafe AttentionMemory(
                        queries: Shared(queries.baseAddress!), keys: Shared(keys.baseAddress!), values: Shared(values.baseAddress!),
                        out: SharedMutable(out.baseAddress!))
                    // The last tiles of a sequence are the longest: start with them.
                    inParallel(count: tiles.count, threadCount: threadCount) { index in
                        let tile = ordered[ordered.count - 1 - index]
                        unsafe attend(tile.sequence, keyHead: tile.head, queries: tile.queries, shape, memory)
                    }
                }
            }
        }
    }
}

@unsafe private struct AttentionMemory: Sendable {
    let queries: Shared<Float>, keys: Shared<Float>, values: Shared<Float>, out: SharedMutable<Float>
}

private func attend(
    _ sequence: AttentionSequence, keyHead: Int, queries tile: Range<Int>, _ shape: AttentionShape, _ memory: AttentionMemory
) {
    let (dimension, group, count) = (shape.dimension, shape.groupSize, tile.count)
    // Positions that any query of the tile sees.
    let end = sequence.start + tile.upperBound
    let begin = shape.window.map { max(0, sequence.start + tile.lowerBound - $0 + 1) } ?? 0
    let width = end - begin
    let queryOffset = (sequence.row + tile.lowerBound) * shape.queryWidth + keyHead * group * dimension
    let keyOffset = (sequence.keyRow + begin) * shape.keyWidth + keyHead * dimension
    unsafe withUnsafeTemporaryAllocation(of: Float.self, capacity: group * count * (width + dimension)) { floats in
        // Rows of one head after those of the other: queries, later what comes out, and their scores.
        let rows = floats.baseAddress!
        let scores = unsafe rows + group * count * dimension
        for head in 0..<group {
            for query in 0..<count {
                unsafe (rows + (head * count + query) * dimension).update(
                    from: memory.queries.pointer + queryOffset + query * shape.queryWidth + head * dimension, count: dimension)
            }
        }
        unsafe gemm(
            transposeA: false, transposeB: true, m: group * count, n: width, k: dimension, alpha: 1, a: rows, aStride: dimension,
            b: memory.keys.pointer + keyOffset, bStride: shape.keyWidth, beta: 0, c: scores, cStride: width)
        for index in 0..<group * count {
            let position = sequence.start + tile.lowerBound + index % count
            let first = (shape.window.map { max(0, position - $0 + 1) } ?? 0) - begin
            let seen = position + 1 - begin
            let row = unsafe scores + index * width
            unsafe row.update(repeating: 0, count: first)
            unsafe resq_softmax(row + first, seen - first, shape.scale, shape.cap)
            unsafe (row + seen).update(repeating: 0, count: width - seen)
        }
        unsafe gemm(
            transposeA: false, transposeB: false, m: group * count, n: dimension, k: width, alpha: 1, a: scores, aStride: width,
            b: memory.values.pointer + keyOffset, bStride: shape.keyWidth, beta: 0, c: rows, cStride: dimension)
        for head in 0..<group {
            for query in 0..<count {
                unsafe (memory.out.pointer + queryOffset + query * shape.queryWidth + head * dimension).update(
                    from: rows + (head * count + query) * dimension, count: dimension)
            }
        }
    }
}
