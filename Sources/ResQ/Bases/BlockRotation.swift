import LinearAlgebra
import Threads

/// An orthogonal matrix of blocks on its diagonal.
///
///     U = blockdiag(U₁, U₂, …),   Uᵢ Uᵢᵀ = I
///
/// What every rotation of the method is: one block for the residual stream (U_A), one per head for values (U_B), one per
/// subspace for the random part (R). Products are in Double and rounded once to Float.
public struct BlockRotation: Sendable, Equatable {
    /// The blocks, one after another.
    public let blocks: [Matrix<Double>]
    /// Where each block begins.
    private let starts: [Int]
    /// The order of U.
    public let order: Int

    /// - Precondition: the blocks are square.
    public init(blocks: [Matrix<Double>]) {
        precondition(blocks.allSatisfy { $0.rowCount == $0.columnCount }, "the blocks are square")
        self.blocks = blocks
        var (starts, next) = ([Int](), 0)
        for block in blocks { (starts, next) = (starts + [next], next + block.rowCount) }
        (self.starts, order) = (starts, next)
    }

    /// Each block several times, one after another: the values' bases as the query heads of an output projection see them.
    public func repeatingEachBlock(_ count: Int) -> BlockRotation {
        BlockRotation(blocks: blocks.flatMap { Array(repeating: $0, count: count) })
    }

    /// U itself, `[order, order]`.
    public var matrix: Matrix<Double> {
        var result = Matrix<Double>(rowCount: order, columnCount: order)
        for (start, block) in zip(starts, blocks) {
            for row in 0..<block.rowCount {
                for column in 0..<block.columnCount { result[start + row, start + column] = block[row, column] }
            }
        }
        return result
    }

    /// P U: the columns of a basis mixed within each block.
    public func composed(after basis: Matrix<Double>) -> Matrix<Double> {
        precondition(basis.columnCount == order, "the basis has as many columns as the rotation rows")
        var result = Matrix<Double>(rowCount: basis.rowCount, columnCount: order)
        for (start, block) in zip(starts, blocks) {
            let width = block.rowCount
            var part = Matrix<Double>(rowCount: basis.rowCount, columnCount: width)
            for row in 0..<basis.rowCount { for column in 0..<width { part[row, column] = basis[row, start + column] } }
            let product = Matrix.product(part, block)
            for row in 0..<basis.rowCount { for column in 0..<width { result[row, start + column] = product[row, column] } }
        }
        return result
    }

    /// Rotates the input side of a weight, or rows of activations or a bias.
    ///
    ///     W ← W U        (W x = (W U)(Uᵀ x), and a row x becomes x U)
    ///
    /// - Parameter rows: whole rows of `order` elements; changed in place.
    public func rotateColumns(of rows: inout MutableSpan<Float>, threadCount: Int) {
        precondition(order > 0 && rows.count % order == 0, "whole rows")
        rows.inRowTiles(columnCount: order, height: 64, threadCount: threadCount) { tile in
            for (start, block) in zip(starts, blocks) {
                let (width, count) = (block.rowCount, tile.count / order)
                var part = Matrix<Double>(rowCount: count, columnCount: width)
                for row in 0..<count { for column in 0..<width { part[row, column] = Double(tile[row * order + start + column]) } }
                let product = Matrix.product(part, block)
                for row in 0..<count { for column in 0..<width { tile[row * order + start + column] = Float(product[row, column]) } }
            }
        }
    }

    /// Rotates the output side of a weight.
    ///
    ///     W ← Uᵀ W        (a row of outputs y = x Wᵀ becomes y U)
    ///
    /// - Parameters:
    ///   - weight: `[order, columnCount]`, row-major; changed in place.
    public func rotateRows(of weight: inout MutableSpan<Float>, columnCount: Int, threadCount: Int) {
        precondition(weight.count == order * columnCount, "the weight has as many rows as the rotation")
        for (start, block) in zip(starts, blocks) {
            let rows = start..<start + block.rowCount
            weight.inColumnTiles(rows: rows, columnCount: columnCount, width: 256, threadCount: threadCount) { tile in
                tile = Matrix.product(block, tile, transposeA: true)
            }
        }
    }
}
