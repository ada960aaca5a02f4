/// Q6_K: 256 elements in 210 bytes, sixteen groups of 16.
///
///     byte   0   ql      128 x u8  low 4 bits of the codes; byte l (0 ..< 64) of half h holds elements 128h + l (low
///                                  nibble) and 128h + l + 64
///          128   qh      64 x u8   high 2 bits; byte l of half h holds elements 128h + l + {0, 32, 64, 96}
///          192   scales  16 x i8
///          208   d       f16       unit of the scales
///
///     element = (d * scale) * (code - 32)
package enum Q6K: BlockEncoder, WeightedBlockEncoder {
    package static var type: GGMLType { .q6_K }

    package static func decodeBlock(_ block: Span<UInt8>, into target: inout MutableSpan<Float>) {
        let d = half(block, at: 208)
        for i in 0..<256 {
            let low = block[i / 128 * 64 + i % 64] >> UInt8(i % 128 / 64 * 4) & 15
            let high = block[128 + i / 128 * 32 + i % 32] >> UInt8(i % 128 / 32 * 2) & 3
            let scale = Int8(bitPattern: block[192 + i / 16])
            target[i] = d * Float(scale) * Float(Int32(low | (high << 4)) - 32)
        }
    }

    package static func encodeBlock(_ source: Span<Float>, into block: inout MutableSpan<UInt8>) {
        encode(source, weights: nil, into: &block)
    }

    package static func encodeBlock(
        _ source: Span<Float>, importance: Span<Float>, rowMeanSquare: Float, into block: inout MutableSpan<UInt8>
    ) {
        // The importance itself is the weight here.
        encode(source, weights: importance, into: &block)
    }

    private static func encode(_ source: Span<Float>, weights: Span<Float>?, into block: inout MutableSpan<UInt8>) {
        var codes: [UInt8] = []
        var scales = [Float](repeating: 0, count: 16)
        for group in 0..<16 {
            let part = 16 * group..<16 * group + 16
            scales[group] = fitSymmetric(
                source.extracting(part), weights: weights?.extracting(part), limit: 32, codes: &codes)
        }
        let (largest, magnitude) = largestElement(scales.span)
        if magnitude < smallestGroupMagnitude { return }  // all zeros, codes too

        let inverse = -128 / largest
        let d = storeHalf(1 / inverse, &block, at: 208)
        for group in 0..<16 {
            let scale = Int8(truncatingIfNeeded: min(127, nearestInteger(inverse * scales[group])))
            block[192 + group] = UInt8(bitPattern: scale)
            let groupScale = d * Float(scale)
            if groupScale == 0 { continue }  // the codes of the search stay
            for i in 16 * group..<16 * group + 16 {
                codes[i] = UInt8(nearestInteger(source[i] / groupScale, in: -32...31) + 32)
            }
        }
        for i in 0..<256 {
            block[i / 128 * 64 + i % 64] |= (codes[i] & 15) << UInt8(i % 128 / 64 * 4)
            block[128 + i / 128 * 32 + i % 32] |= (codes[i] >> 4) << UInt8(i % 128 / 32 * 2)
        }
    }
}
