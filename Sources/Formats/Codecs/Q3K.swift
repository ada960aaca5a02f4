/// Q3_K: 256 elements in 110 bytes, sixteen groups of 16.
///
///     byte   0   hmask   32 x u8   high bits of the codes; bit b of byte m belongs to element 32b + m
///           32   qs      64 x u8   low 2 bits of the codes; byte l of half h holds elements 128h + l + {0, 32, 64, 96}
///           96   scales  12 x u8   6-bit scales + 32: low 4 bits of scale j in byte j % 8 (low nibble for j < 8, else
///                                  high), high 2 bits in byte 8 + j % 4 from bit 2 * (j / 4)
///          108   d       f16       unit of the scales
///
///     element = (d * (scale - 32)) * (code - 4)
package enum Q3K: BlockEncoder, WeightedBlockEncoder {
    package static var type: GGMLType { .q3_K }

    package static func decodeBlock(_ block: Span<UInt8>, into target: inout MutableSpan<Float>) {
        let d = half(block, at: 108)
        for i in 0..<256 {
            let low = block[32 + i / 128 * 32 + i % 32] >> UInt8(i % 128 / 32 * 2) & 3
            let high = block[i % 32] >> UInt8(i / 32) & 1
            target[i] = d * Float(scale(block, i / 16)) * Float(Int32(low | (high << 2)) - 4)
        }
    }

    /// The scale of a group, -32 ... 31.
    private static func scale(_ block: Span<UInt8>, _ group: Int) -> Int32 {
        let low = block[96 + group % 8] >> (group < 8 ? 0 : 4) & 15
        let high = block[104 + group % 4] >> UInt8(group / 4 * 2) & 3
        return Int32(low | (high << 4)) - 32
    }

    package static func encodeBlock(_ source: Span<Float>, into block: inout MutableSpan<UInt8>) {
        var codes: [UInt8] = []
        var scales = [Float](repeating: 0, count: 16)
        for group in 0..<16 {
            scales[group] = fitSymmetricByDescent(
                source.extracting(16 * group..<16 * group + 16), limit: 4, codes: &codes)
        }
        let largest = largestElement(scales.span).element

        var d: Float = 0
        if largest != 0 {
            let inverse = -32 / largest
            for group in 0..<16 {
                let level = Int32(Int8(truncatingIfNeeded: nearestInteger(inverse * scales[group])))
                storeScale(UInt8(max(-32, min(31, level)) + 32), &block, group)
            }
            d = storeHalf(1 / inverse, &block, at: 108)
        }

        store(source, codes: &codes, d: d, into: &block)
    }

    package static func encodeBlock(
        _ source: Span<Float>, importance: Span<Float>, rowMeanSquare: Float, into block: inout MutableSpan<UInt8>
    ) {
        let meanSquare = 2 * sumOfSquares(source) / 256
        var codes: [UInt8] = []
        var scales = [Float](repeating: 0, count: 16)
        var sums = scales
        for group in 0..<16 {
            let part = 16 * group..<16 * group + 16
            let weights = elementWeights(source.extracting(part), importance.extracting(part), meanSquare: meanSquare)
            sums[group] = weights.reduce(0, +)
            scales[group] = fitSymmetric(source.extracting(part), weights: weights.span, limit: 4, codes: &codes)
        }
        var scaleCodes: [UInt8] = []
        let d = storeHalf(fitSymmetric(scales.span, weights: sums.span, limit: 32, codes: &scaleCodes), &block, at: 108)
        for group in 0..<16 { storeScale(scaleCodes[group], &block, group) }
        store(source, codes: &codes, d: d, into: &block)
    }

    /// Adds the code of a group's scale to a block of zeros.
    private static func storeScale(_ code: UInt8, _ block: inout MutableSpan<UInt8>, _ group: Int) {
        block[96 + group % 8] |= (code & 15) << (group < 8 ? 0 : 4)
        block[104 + group % 4] |= (code >> 4) << UInt8(group / 4 * 2)
    }

    /// Writes the codes for the scales that the block has.
    private static func store(
        _ source: Span<Float>, codes: inout [UInt8], d: Float, into block: inout MutableSpan<UInt8>
    ) {
        for group in 0..<16 {
            let groupScale = d * Float(scale(block.span, group))
            if groupScale == 0 { continue }  // the codes of the search stay
            for i in 16 * group..<16 * group + 16 {
                codes[i] = UInt8(nearestInteger(source[i] / groupScale, in: -4...3) + 4)
            }
        }
        for i in 0..<256 {
            block[i % 32] |= (codes[i] >> 2) << UInt8(i / 32)
            block[32 + i / 128 * 32 + i % 32] |= (codes[i] & 3) << UInt8(i % 128 / 32 * 2)
        }
    }
}
