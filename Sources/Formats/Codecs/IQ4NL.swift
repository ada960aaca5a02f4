/// IQ4_NL: 32 elements in 18 bytes.
///
///     byte 0   d    f16       scale
///          2   qs   16 x u8   4-bit codes; byte l holds elements l (low nibble) and l + 16
///
///     element = d * level[code], the sixteen levels in IQ4Search.swift
package enum IQ4NL: BlockEncoder, WeightedBlockEncoder {
    package static var type: GGMLType { .iq4_nl }

    package static func decodeBlock(_ block: Span<UInt8>, into target: inout MutableSpan<Float>) {
        let d = half(block, at: 0)
        for i in 0..<32 { target[i] = d * iq4Levels[Int(block[2 + i % 16] >> UInt8(i / 16 * 4) & 15)] }
    }

    package static func encodeBlock(_ source: Span<Float>, into block: inout MutableSpan<UInt8>) {
        store(source, scale: fitIQ4Scale(source), into: &block)
    }

    package static func encodeBlock(
        _ source: Span<Float>, importance: Span<Float>, rowMeanSquare: Float, into block: inout MutableSpan<UInt8>
    ) {
        let weights = elementWeights(source, importance, meanSquare: sumOfSquares(source) * (2.0 / 32))
        store(source, scale: fitIQ4Scale(source, weights: weights.span), into: &block)
    }

    private static func store(_ source: Span<Float>, scale: Float, into block: inout MutableSpan<UInt8>) {
        _ = storeHalf(scale, &block, at: 0)
        // The codes are for the scale before it was rounded to F16.
        storeIQ4Codes(source, inverseScale: scale != 0 ? 1 / scale : 0, &block, at: 2)
    }
}
