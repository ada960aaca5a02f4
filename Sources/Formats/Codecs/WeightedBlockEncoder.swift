/// A block type that makes use of an importance matrix: one number for each column of a tensor, the mean square of what
/// the column is multiplied with while a model runs.
///
///     weight of an element = importance * sqrt(meanSquare + element²)
///
/// where `meanSquare` is that of the elements around it: of the row in the types with one scale, of the block in others.
package protocol WeightedBlockEncoder: BlockCodec {
    /// Encodes `type.blockSize` elements with the importance of their columns; `block` has `type.typeSize` bytes, all zero.
    static func encodeBlock(
        _ source: Span<Float>, importance: Span<Float>, rowMeanSquare: Float, into block: inout MutableSpan<UInt8>)
}

extension WeightedBlockEncoder {
    /// Encodes whole rows of `importance.count` elements.
    package static func encode(_ source: Span<Float>, importance: Span<Float>, into target: inout MutableRawSpan) {
        precondition(importance.count % type.blockSize == 0, "a row is whole blocks")
        if hasWeightedKernel {
            encodeKernel(source, columnCount: importance.count, importance: importance, into: &target)
        } else {
            encodeScalar(source, importance: importance, into: &target)
        }
    }

    /// Encodes whole rows, one block at a time.
    package static func encodeScalar(_ source: Span<Float>, importance: Span<Float>, into target: inout MutableRawSpan) {
        let count = blockCount(elements: source.count, bytes: target.byteCount)
        let (size, columnCount) = (type.typeSize, importance.count)
        var elements = [Float](repeating: 0, count: type.blockSize)
        var block = [UInt8](repeating: 0, count: size)
        var meanSquare: Float = 0
        for index in 0..<count {
            let start = index * elements.count
            let column = start % columnCount
            if column == 0 {
                meanSquare = sumOfSquares(source.extracting(start..<start + columnCount)) / Float(columnCount)
            }
            for i in elements.indices {
                // Which of two NaN an operation keeps is up to the compiler, so let there be only one.
                elements[i] = source[start + i].isNaN ? .nan : source[start + i]
            }
            for byte in block.indices { block[byte] = 0 }
            var bytes = block.mutableSpan
            encodeBlock(
                elements.span, importance: importance.extracting(column..<column + elements.count),
                rowMeanSquare: meanSquare, into: &bytes)
            for byte in block.indices {
                target.storeBytes(of: block[byte], toByteOffset: index * size + byte, as: UInt8.self)
            }
        }
    }
}

/// Σx², from the first element to the last.
func sumOfSquares(_ x: Span<Float>) -> Float {
    var sum: Float = 0
    for i in x.indices { sum += x[i] * x[i] }
    return sum
}

/// importance * sqrt(meanSquare + x²) of each element.
func elementWeights(_ x: Span<Float>, _ importance: Span<Float>, meanSquare: Float) -> [Float] {
    x.indices.map { importance[$0] * (meanSquare + x[$0] * x[$0]).squareRoot() }
}
