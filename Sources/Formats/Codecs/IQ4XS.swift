/// IQ4_XS: 256 elements in 136 bytes, eight groups of 32.
///
///     byte 0   d         f16       unit of the scales
///          2   scales_h  u16       high 2 bits of scale + 32 of group j, from bit 2j
///          4   scales_l  4 x u8    low 4 bits; byte j / 2, low nibble for even j
///          8   qs        128 x u8  4-bit codes; byte l of group j holds elements 32j + l (low nibble) and 32j + l + 16
///
///     element = (d * (scale - 32)) * level[code], the sixteen levels in IQ4Search.swift
package enum IQ4XS: BlockEncoder, WeightedBlockEncoder {
    package static var type: GGMLType { .iq4_xs }

    package static func decodeBlock(_ block: Span<UInt8>, into target: inout MutableSpan<Float>) {
        let d = half(block, at: 0)
        for i in 0..<256 {
            let group = i / 32
            let low = block[4 + group / 2] >> UInt8(group % 2 * 4) & 15
            let high = block[2 + group / 4] >> UInt8(group % 4 * 2) & 3
            let level = iq4Levels[Int(block[8 + group * 16 + i % 16] >> UInt8(i % 32 / 16 * 4) & 15)]
            target[i] = d * Float(Int32(low | (high << 4)) - 32) * level
        }
    }

    package static func encodeBlock(_ source: Span<Float>, into block: inout MutableSpan<UInt8>) {
        var scales = [Float](repeating: 0, count: 8)
        for group in 0..<8 { scales[group] = fitIQ4Scale(source.extracting(32 * group..<32 * group + 32)) }
        store(source, scales: scales, into: &block)
    }

    package static func encodeBlock(
        _ source: Span<Float>, importance: Span<Float>, rowMeanSquare: Float, into block: inout MutableSpan<UInt8>
    ) {
        let meanSquare = sumOfSquares(source) * (2.0 / 256)
        var scales = [Float](repeating: 0, count: 8)
        for group in 0..<8 {
            let part = 32 * group..<32 * group + 32
            let weights = elementWeights(source.extracting(part), importance.extracting(part), meanSquare: meanSquare)
            scales[group] = fitIQ4Scale(source.extracting(part), weights: weights.span)
        }
        store(source, scales: scales, into: &block)
    }

    private static func store(_ source: Span<Float>, scales: [Float], into block: inout MutableSpan<UInt8>) {
        // Here, unlike in the K types, scales and codes go with the unit before it was rounded to F16.
        let d = -largestElement(scales.span).element / 32
        _ = storeHalf(d, &block, at: 0)
        let inverse = d != 0 ? 1 / d : 0
        for group in 0..<8 {
            let level = nearestInteger(inverse * scales[group], in: -32...31)
            let code = UInt8(level + 32)
            block[2 + group / 4] |= (code >> 4) << UInt8(group % 4 * 2)
            block[4 + group / 2] |= (code & 15) << UInt8(group % 2 * 4)
            let scale = d * Float(level)
            let x = source.extracting(32 * group..<32 * group + 32)
            storeIQ4Codes(x, inverseScale: scale != 0 ? 1 / scale : 0, &block, at: 8 + group * 16)
        }
    }
}
