/// Q4_0: 32 elements in 18 bytes.
///
///     byte 0   d    f16       scale
///          2   qs   16 x u8   4-bit codes; byte l holds elements l (low nibble) and l + 16
///
///     element = d * (code - 8)
///
/// The scale maps the element of the largest magnitude to code 0, that is to -8.
package enum Q4_0: BlockEncoder, WeightedBlockEncoder {
    package static var type: GGMLType { .q4_0 }

    package static func decodeBlock(_ block: Span<UInt8>, into target: inout MutableSpan<Float>) {
        let d = half(block, at: 0)
        for i in 0..<16 {
            target[i] = d * Float(Int32(block[2 + i] & 15) - 8)
            target[i + 16] = d * Float(Int32(block[2 + i] >> 4) - 8)
        }
    }

    package static func encodeBlock(_ source: Span<Float>, into block: inout MutableSpan<UInt8>) {
        let d = extreme(source) / -8
        let id = inverse(d)
        _ = storeHalf(d, &block, at: 0)
        func code(_ x: Float) -> UInt8 {
            UInt8(truncatingIfNeeded: min(15, Int8(truncatingIfNeeded: truncated(x * id + 8.5))))
        }
        for i in 0..<16 { block[2 + i] = code(source[i]) | code(source[i + 16]) << 4 }
    }

    package static func encodeBlock(
        _ source: Span<Float>, importance: Span<Float>, rowMeanSquare: Float, into block: inout MutableSpan<UInt8>
    ) {
        let weights = elementWeights(source, importance, meanSquare: rowMeanSquare)
        var codes: [UInt8] = []
        _ = storeHalf(fitSymmetric(source, weights: weights.span, limit: 8, codes: &codes), &block, at: 0)
        for i in 0..<16 { block[2 + i] = codes[i] | codes[i + 16] << 4 }
    }
}
