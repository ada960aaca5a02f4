/// Q5_1: 32 elements in 24 bytes.
///
///     byte 0   d    f16       scale
///          2   m    f16       minimum
///          4   qh   u32       bit l is the fifth bit of element l
///          8   qs   16 x u8   low four bits; byte l holds elements l (low nibble) and l + 16
///
///     element = d * code + m
package enum Q5_1: BlockEncoder, WeightedBlockEncoder {
    package static var type: GGMLType { .q5_1 }

    package static func decodeBlock(_ block: Span<UInt8>, into target: inout MutableSpan<Float>) {
        let d = half(block, at: 0)
        let m = half(block, at: 2)
        for i in 0..<32 { target[i] = d * Float(fiveBitCode(block, i, fifthBits: 4)) + m }
    }

    package static func encodeBlock(_ source: Span<Float>, into block: inout MutableSpan<UInt8>) {
        let (minimum, maximum) = bounds(source)
        let d = (maximum - minimum) / 31
        let id = inverse(d)
        _ = storeHalf(d, &block, at: 0)
        _ = storeHalf(minimum, &block, at: 2)
        for i in 0..<32 {
            let code = truncated((source[i] - minimum) * id + 0.5)
            storeFiveBitCode(UInt8(truncatingIfNeeded: code), &block, i, fifthBits: 4)
        }
    }

    package static func encodeBlock(
        _ source: Span<Float>, importance: Span<Float>, rowMeanSquare: Float, into block: inout MutableSpan<UInt8>
    ) {
        let weights = elementWeights(source, importance, meanSquare: rowMeanSquare)
        var codes: [UInt8] = []
        let (scale, minimum) = AffineSearch.weighted(largestCode: 31).fit(source, weights: weights.span, codes: &codes)
        _ = storeHalf(scale, &block, at: 0)
        _ = storeHalf(-minimum, &block, at: 2)
        for i in 0..<32 { storeFiveBitCode(codes[i], &block, i, fifthBits: 4) }
    }
}
