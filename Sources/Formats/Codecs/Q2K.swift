/// Q2_K: 256 elements in 84 bytes, sixteen groups of 16.
///
///     byte  0   scales  16 x u8   low 4 bits: scale of a group, high 4 bits: its minimum
///          16   qs      64 x u8   2-bit codes; byte l of half h holds elements 128h + l + {0, 32, 64, 96}, low bits first
///          80   d       f16       unit of the scales
///          82   dmin    f16       unit of the minimums
///
///     element = (d * scale) * code - dmin * minimum
package enum Q2K: BlockEncoder, WeightedBlockEncoder {
    package static var type: GGMLType { .q2_K }

    package static func decodeBlock(_ block: Span<UInt8>, into target: inout MutableSpan<Float>) {
        let d = half(block, at: 80)
        let dmin = half(block, at: 82)
        for i in 0..<256 {
            let packed = block[i / 16]
            let code = block[16 + i / 128 * 32 + i % 32] >> UInt8(i % 128 / 32 * 2) & 3
            target[i] = d * Float(packed & 15) * Float(code) - dmin * Float(packed >> 4)
        }
    }

    package static func encodeBlock(_ source: Span<Float>, into block: inout MutableSpan<UInt8>) {
        let search = AffineSearch(largestCode: 3, firstOffset: -0.5, lastStep: 15, usesAbsoluteError: true)
        var codes: [UInt8] = []
        var scales = [Float](repeating: 0, count: 16)
        var minimums = [Float](repeating: 0, count: 16)
        var largestScale: Float = 0
        var largestMinimum: Float = 0
        for group in 0..<16 {
            let x = source.extracting(16 * group..<16 * group + 16)
            var weights = [Float](repeating: 0, count: 16)
            for i in 0..<16 { weights[i] = x[i].magnitude }
            (scales[group], minimums[group]) = search.fit(x, weights: weights.span, codes: &codes)
            if scales[group] > largestScale { largestScale = scales[group] }
            if minimums[group] > largestMinimum { largestMinimum = minimums[group] }
        }

        // Neither is limited to 15: the largest of them maps to 15 by construction.
        var d: Float = 0
        var dmin: Float = 0
        if largestScale > 0 {
            let inverse = 15 / largestScale
            for group in 0..<16 { block[group] = UInt8(truncatingIfNeeded: nearestInteger(inverse * scales[group])) }
            d = storeHalf(largestScale / 15, &block, at: 80)
        }
        if largestMinimum > 0 {
            let inverse = 15 / largestMinimum
            for group in 0..<16 {
                block[group] |= UInt8(truncatingIfNeeded: nearestInteger(inverse * minimums[group]) << 4)
            }
            dmin = storeHalf(largestMinimum / 15, &block, at: 82)
        }

        store(source, codes: &codes, d: d, dmin: dmin, into: &block)
    }

    package static func encodeBlock(
        _ source: Span<Float>, importance: Span<Float>, rowMeanSquare: Float, into block: inout MutableSpan<UInt8>
    ) {
        let search = AffineSearch.weighted(largestCode: 3)
        let meanSquare = sumOfSquares(source) / 256
        var codes: [UInt8] = []
        var scales = [Float](repeating: 0, count: 16)
        var minimums = scales
        var sums = scales
        for group in 0..<16 {
            let part = 16 * group..<16 * group + 16
            let weights = elementWeights(source.extracting(part), importance.extracting(part), meanSquare: meanSquare)
            sums[group] = weights.reduce(0, +)
            (scales[group], minimums[group]) = search.fit(
                source.extracting(part), weights: weights.span, codes: &codes)
        }
        let (d, levels) = fitUnsigned(scales.span, weights: sums.span, largestCode: 15)
        let (dmin, minimumLevels) = fitUnsigned(minimums.span, weights: sums.span, largestCode: 15)
        for group in 0..<16 { block[group] = levels[group] | minimumLevels[group] << 4 }
        let stored = storeHalf(d, &block, at: 80)
        let storedMinimum = storeHalf(dmin, &block, at: 82)
        store(source, codes: &codes, d: stored, dmin: storedMinimum, into: &block)
    }

    /// Writes the codes for the scales and minimums that the block has.
    private static func store(
        _ source: Span<Float>, codes: inout [UInt8], d: Float, dmin: Float, into block: inout MutableSpan<UInt8>
    ) {
        for group in 0..<16 {
            let scale = d * Float(block[group] & 15)
            if scale == 0 { continue }  // the codes of the search stay
            let minimum = dmin * Float(block[group] >> 4)
            for i in 16 * group..<16 * group + 16 {
                codes[i] = UInt8(nearestInteger((source[i] + minimum) / scale, in: 0...3))
            }
        }
        for i in 0..<256 { block[16 + i / 128 * 32 + i % 32] |= codes[i] << UInt8(i % 128 / 32 * 2) }
    }
}
