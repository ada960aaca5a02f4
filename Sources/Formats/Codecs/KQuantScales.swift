// What Q4_K and Q5_K share: the 16-byte head of the block and the way its contents are found.
//
//     byte  0   d       f16       unit of the scales
//           2   dmin    f16       unit of the minimums
//           4   scales  12 x u8   eight 6-bit scales and eight 6-bit minimums
//
// The first four scales are the low 6 bits of bytes 0 ... 3 of `scales`, the first four minimums those of bytes 4 ... 7.
// Scale and minimum j of the last four have their low 4 bits in the low and high nibble of byte j + 4, and their high
// 2 bits in the top of bytes j - 4 and j.

/// Scale and minimum of group `j` of eight.
func sixBitScaleAndMinimum(_ block: Span<UInt8>, _ j: Int) -> (scale: UInt8, minimum: UInt8) {
    let (a, b) = (block[4 + j % 4], block[8 + j % 4])
    if j < 4 { return (a & 63, b & 63) }
    let c = block[8 + j]
    return (c & 15 | (a >> 6) << 4, c >> 4 | (b >> 6) << 4)
}

/// Fits eight groups of 32 elements, weighted by their root mean square plus their own magnitude, writes the head of
/// the block and returns the codes for the scales and minimums as stored.
func encodeAffineGroups(_ source: Span<Float>, _ search: AffineSearch, into block: inout MutableSpan<UInt8>) -> [UInt8] {
    var codes: [UInt8] = []
    var scales = [Float](repeating: 0, count: 8)
    var minimums = [Float](repeating: 0, count: 8)
    var largestScale: Float = 0
    var largestMinimum: Float = 0
    for group in 0..<8 {
        let x = source.extracting(32 * group..<32 * group + 32)
        var squares: Float = 0
        for i in 0..<32 { squares += x[i] * x[i] }
        let rootMeanSquare = (squares / 32).squareRoot()
        var weights = [Float](repeating: 0, count: 32)
        for i in 0..<32 { weights[i] = rootMeanSquare + x[i].magnitude }
        (scales[group], minimums[group]) = search.fit(x, weights: weights.span, codes: &codes)
        if scales[group] > largestScale { largestScale = scales[group] }
        if minimums[group] > largestMinimum { largestMinimum = minimums[group] }
    }

    let inverseScale = largestScale > 0 ? 63 / largestScale : 0
    let inverseMinimum = largestMinimum > 0 ? 63 / largestMinimum : 0
    let levels = scales.map { min(63, UInt8(truncatingIfNeeded: nearestInteger(inverseScale * $0))) }
    let minimumLevels = minimums.map { min(63, UInt8(truncatingIfNeeded: nearestInteger(inverseMinimum * $0))) }
    return storeAffineGroups(
        source, codes: codes, scales: (largestScale / 63, levels), minimums: (largestMinimum / 63, minimumLevels),
        largestCode: search.largestCode, into: &block)
}

/// The same with an importance matrix: the eight scales, and the eight minimums, are themselves fitted, a group counting
/// as much as the sum of its weights.
func encodeAffineGroups(
    _ source: Span<Float>, importance: Span<Float>, largestCode: Int32, into block: inout MutableSpan<UInt8>
) -> [UInt8] {
    let search = AffineSearch.weighted(largestCode: largestCode)
    let meanSquare = 2 * sumOfSquares(source) / 256
    var codes: [UInt8] = []
    var scales = [Float](repeating: 0, count: 8)
    var minimums = scales
    var sums = scales
    for group in 0..<8 {
        let part = 32 * group..<32 * group + 32
        let weights = elementWeights(source.extracting(part), importance.extracting(part), meanSquare: meanSquare)
        sums[group] = weights.reduce(0, +)
        (scales[group], minimums[group]) = search.fit(source.extracting(part), weights: weights.span, codes: &codes)
    }
    var fitted = fitUnsigned(scales.span, weights: sums.span, largestCode: 63)
    var fittedMinimums = fitUnsigned(minimums.span, weights: sums.span, largestCode: 63)
    // Codes of negative numbers have wrapped round; only Q5_K limits them again.
    if largestCode == 31 {
        fitted.codes = fitted.codes.map { min(63, $0) }
        fittedMinimums.codes = fittedMinimums.codes.map { min(63, $0) }
    }
    return storeAffineGroups(
        source, codes: codes, scales: fitted, minimums: fittedMinimums, largestCode: largestCode, into: &block)
}

/// Writes the head of the block, and returns the codes for the scales and minimums as stored.
private func storeAffineGroups(
    _ source: Span<Float>, codes found: [UInt8], scales: (unit: Float, codes: [UInt8]),
    minimums: (unit: Float, codes: [UInt8]), largestCode: Int32, into block: inout MutableSpan<UInt8>
) -> [UInt8] {
    var codes = found
    for j in 0..<8 {
        let (scale, minimum) = (scales.codes[j], minimums.codes[j])
        if j < 4 {
            block[4 + j] = scale
            block[8 + j] = minimum
        } else {
            block[8 + j] = (scale & 15) | (minimum & 15) << 4
            block[j] |= (scale >> 4) << 6
            block[4 + j] |= (minimum >> 4) << 6
        }
    }
    let d = storeHalf(scales.unit, &block, at: 0)
    let dmin = storeHalf(minimums.unit, &block, at: 2)

    for group in 0..<8 {
        let packed = sixBitScaleAndMinimum(block.span, group)
        let scale = d * Float(packed.scale)
        if scale == 0 { continue }  // the codes of the search stay
        let minimum = dmin * Float(packed.minimum)
        for i in 32 * group..<32 * group + 32 {
            codes[i] = UInt8(nearestInteger((source[i] + minimum) / scale, in: 0...largestCode))
        }
    }
    return codes
}
