/// Q4_1: 32 elements in 20 bytes.
///
///     byte 0   d    f16       scale
///          2   m    f16       minimum
///          4   qs   16 x u8   4-bit codes; byte l holds elements l (low nibble) and l + 16
///
///     element = d * code + m
package enum Q4_1: BlockEncoder, WeightedBlockEncoder {
    package static var type: GGMLType { .q4_1 }

    package static func decodeBlock(_ block: Span<UInt8>, into target: inout MutableSpan<Float>) {
        let d = half(block, at: 0)
        let m = half(block, at: 2)
        for i in 0..<16 {
            target[i] = d * Float(block[4 + i] & 15) + m
            target[i + 16] = d * Float(block[4 + i] >> 4) + m
        }
    }

    package static func encodeBlock(_ source: Span<Float>, into block: inout MutableSpan<UInt8>) {
        let (minimum, maximum) = bounds(source)
        let d = (maximum - minimum) / 15
        let id = inverse(d)
        _ = storeHalf(d, &block, at: 0)
        _ = storeHalf(minimum, &block, at: 2)
        func code(_ x: Float) -> UInt8 {
            UInt8(truncatingIfNeeded: min(15, Int8(truncatingIfNeeded: truncated((x - minimum) * id + 0.5))))
        }
        for i in 0..<16 { block[4 + i] = code(source[i]) | code(source[i + 16]) << 4 }
    }

    package static func encodeBlock(
        _ source: Span<Float>, importance: Span<Float>, rowMeanSquare: Float, into block: inout MutableSpan<UInt8>
    ) {
        let weights = elementWeights(source, importance, meanSquare: rowMeanSquare)
        var codes: [UInt8] = []
        let (scale, minimum) = AffineSearch.weighted(largestCode: 15).fit(source, weights: weights.span, codes: &codes)
        _ = storeHalf(scale, &block, at: 0)
        _ = storeHalf(-minimum, &block, at: 2)
        for i in 0..<16 { block[4 + i] = codes[i] | codes[i + 16] << 4 }
    }
}
