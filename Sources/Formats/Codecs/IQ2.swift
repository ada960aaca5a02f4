// The two-bit codebook types: groups of 8 elements are a vector of magnitudes from a codebook, with a sign each.
//
//     element = ((d * (0.5 + scale)) * 0.25) * level * sign

/// IQ2_XXS: 256 elements in 66 bytes, eight groups of 32.
///
///     byte 0   d    f16        scale
///          2   qs   16 x u32   of each group two words: the four codebook indices, one per byte; then four times seven
///                              bits of signs and four bits of scale
package enum IQ2_XXS: WeightedBlockEncoder {
    package static var type: GGMLType { .iq2_xxs }

    package static func decodeBlock(_ block: Span<UInt8>, into target: inout MutableSpan<Float>) {
        let d = half(block, at: 0)
        let codebook = iq2xxsCodebook.span
        for group in 0..<8 {
            let start = 2 + group * 8
            let word = word32(block, at: start + 4)
            let scale = d * (0.5 + Float(word >> 28)) * 0.25
            for l in 0..<4 {
                let vector = codebook[Int(block[start + l])]
                let signs = evenSigns(word >> UInt32(7 * l))
                storeThreeLevels(vector, signs: signs, scale: scale, into: &target, at: group * 32 + l * 8)
            }
        }
    }

    package static func encodeBlock(
        _ source: Span<Float>, importance: Span<Float>, rowMeanSquare: Float, into block: inout MutableSpan<UInt8>
    ) {
        let meanSquare = sumOfSquares(source) / 256
        var scales = [Float](repeating: 0, count: 8)
        for group in 0..<8 {
            let part = 32 * group..<32 * group + 32
            let weights = elementWeights(source.extracting(part), importance.extracting(part), meanSquare: meanSquare)
            var (x, signs) = splitSigns(source.extracting(part), weights: weights.span, even: true)
            if largest(x.span) < smallestGroupMagnitude { continue }
            let first = fitUnsigned(x.span, weights: weights.span, largestCode: 4).unit
            if first * 3 <= 0 { continue }
            let fit = CodebookSearch.iq2xxs.fit(x.span, weights: weights.span, largest: first * 3, first: first)
            if fit.scale < 0 { signs = signs.map { ~$0 & 127 } }
            scales[group] = fit.scale.magnitude
            for l in 0..<4 {
                block[2 + group * 8 + l] = UInt8(Codebook.iq2xxs.place(fit.vectors[l]))
                addBits(UInt32(signs[l]) << UInt32(7 * l), &block, at: 2 + group * 8 + 4)
            }
        }

        let largestScale = largest(scales.span)
        if largestScale == 0 {
            for i in 2..<66 { block[i] = 0 }
            return
        }
        let d = largestScale / 31
        _ = storeHalf(d, &block, at: 0)
        for group in 0..<8 {
            addBits(UInt32(scaleCode(scales[group], inverseUnit: 1 / d)) << 28, &block, at: 2 + group * 8 + 4)
        }
    }
}

/// IQ2_XS: 256 elements in 74 bytes.
///
///     byte  0   d        f16        scale
///           2   qs       32 x u16   of each 8 elements: nine bits of codebook index, seven bits of signs
///          66   scales   8 x u8     of each 32 elements: low nibble for the first 16, high nibble for the others
package enum IQ2_XS: WeightedBlockEncoder {
    package static var type: GGMLType { .iq2_xs }

    package static func decodeBlock(_ block: Span<UInt8>, into target: inout MutableSpan<Float>) {
        let d = half(block, at: 0)
        let codebook = iq2xsCodebook.span
        for l in 0..<32 {
            let code = word16(block, at: 2 + 2 * l)
            let scale = d * (0.5 + Float(block[66 + l / 4] >> UInt8(l % 4 / 2 * 4) & 15)) * 0.25
            let signs = evenSigns(UInt32(code >> 9))
            storeThreeLevels(codebook[Int(code & 511)], signs: signs, scale: scale, into: &target, at: l * 8)
        }
    }

    package static func encodeBlock(
        _ source: Span<Float>, importance: Span<Float>, rowMeanSquare: Float, into block: inout MutableSpan<UInt8>
    ) {
        let meanSquare = sumOfSquares(source) / 256
        var scales = [Float](repeating: 0, count: 16)
        for group in 0..<16 {
            let part = 16 * group..<16 * group + 16
            let weights = elementWeights(source.extracting(part), importance.extracting(part), meanSquare: meanSquare)
            var (x, signs) = splitSigns(source.extracting(part), weights: weights.span, even: true)
            let largest = largest(x.span)
            if largest < smallestGroupMagnitude { continue }
            let fit = CodebookSearch.iq2xs.fit(x.span, weights: weights.span, largest: largest, first: largest / 5)
            if fit.scale < 0 { signs = signs.map { ~$0 & 127 } }
            scales[group] = fit.scale.magnitude
            for l in 0..<2 {
                let code = UInt16(Codebook.iq2xs.place(fit.vectors[l])) | UInt16(signs[l]) << 9
                block[2 + group * 4 + l * 2] = UInt8(truncatingIfNeeded: code)
                block[2 + group * 4 + l * 2 + 1] = UInt8(code >> 8)
            }
        }

        let largestScale = largest(scales.span)
        if largestScale == 0 {
            for i in 2..<66 { block[i] = 0 }
            return
        }
        let d = largestScale / 31
        _ = storeHalf(d, &block, at: 0)
        storeScales(scales, inverseUnit: 1 / d, &block, at: 66)
    }
}

/// IQ2_S: 256 elements in 82 bytes.
///
///     byte  0   d        f16       scale
///           2   qs       32 x u8   low eight bits of the codebook index of each 8 elements
///          34   signs    32 x u8   bit j: element j of each 8 is negative
///          66   qh       8 x u8    the other two bits of four indices, lowest first
///          74   scales   8 x u8    as in IQ2_XS
package enum IQ2_S: BlockEncoder, WeightedBlockEncoder {
    package static var type: GGMLType { .iq2_s }

    package static func decodeBlock(_ block: Span<UInt8>, into target: inout MutableSpan<Float>) {
        let d = half(block, at: 0)
        let codebook = iq2sCodebook.span
        for l in 0..<32 {
            let high = Int(block[66 + l / 4] >> UInt8(l % 4 * 2) & 3)
            let scale = d * (0.5 + Float(block[74 + l / 4] >> UInt8(l % 4 / 2 * 4) & 15)) * 0.25
            let vector = codebook[Int(block[2 + l]) | high << 8]
            storeThreeLevels(vector, signs: block[34 + l], scale: scale, into: &target, at: l * 8)
        }
    }

    package static func encodeBlock(_ source: Span<Float>, into block: inout MutableSpan<UInt8>) {
        let meanSquare = 2 * sumOfSquares(source) / 256
        encode(source, weights: source.indices.map { 0.25 * meanSquare + source[$0] * source[$0] }, into: &block)
    }

    package static func encodeBlock(
        _ source: Span<Float>, importance: Span<Float>, rowMeanSquare: Float, into block: inout MutableSpan<UInt8>
    ) {
        let weights = elementWeights(source, importance, meanSquare: 2 * sumOfSquares(source) / 256)
        encode(source, weights: weights, into: &block)
    }

    private static func encode(_ source: Span<Float>, weights: [Float], into block: inout MutableSpan<UInt8>) {
        var scales = [Float](repeating: 0, count: 16)
        for group in 0..<16 {
            let part = 16 * group..<16 * group + 16
            let weights = weights.span.extracting(part)
            var (x, signs) = splitSigns(source.extracting(part), weights: weights, even: false)
            let largest = largest(x.span)
            if largest < 1e-8 { continue }
            let fit = CodebookSearch.iq2s.fit(x.span, weights: weights, largest: largest, first: largest / 5)
            if fit.scale < 0 { signs = signs.map { ~$0 } }
            scales[group] = fit.scale.magnitude
            for l in 0..<2 {
                let place = Codebook.iq2s.place(fit.vectors[l])
                block[2 + 2 * group + l] = UInt8(truncatingIfNeeded: place)
                block[66 + group / 2] |= UInt8(place >> 8) << UInt8((2 * group + l) % 4 * 2)
                block[34 + 2 * group + l] = signs[l]
            }
        }

        let largestScale = largest(scales.span)
        if largestScale == 0 { return }
        let d = largestScale / 31
        _ = storeHalf(d * 0.9875, &block, at: 0)
        storeScales(scales, inverseUnit: 1 / d, &block, at: 74)
    }
}

/// Eight elements with levels 8, 25 and 43.
private func storeThreeLevels(
    _ vector: UInt16, signs: UInt8, scale: Float, into target: inout MutableSpan<Float>, at start: Int
) {
    let levels: InlineArray<4, Float> = [8, 25, 43, 0]
    for j in 0..<8 {
        let value = scale * levels[Int(vector >> UInt16(2 * j) & 3)]
        target[start + j] = value * (signs >> UInt8(j) & 1 == 1 ? -1 : 1)
    }
}

/// Seven stored signs and an eighth that makes the number of minus signs even.
func evenSigns(_ bits: UInt32) -> UInt8 {
    let stored = UInt8(truncatingIfNeeded: bits & 127)
    return stored | UInt8(truncatingIfNeeded: stored.nonzeroBitCount & 1) << 7
}

/// Two little-endian bytes of a block.
func word16(_ block: Span<UInt8>, at offset: Int) -> UInt16 {
    UInt16(block[offset]) | UInt16(block[offset + 1]) << 8
}

/// Four little-endian bytes of a block.
func word32(_ block: Span<UInt8>, at offset: Int) -> UInt32 {
    UInt32(word16(block, at: offset)) | UInt32(word16(block, at: offset + 2)) << 16
}

/// Adds bits to four little-endian bytes.
func addBits(_ bits: UInt32, _ block: inout MutableSpan<UInt8>, at offset: Int) {
    for byte in 0..<4 { block[offset + byte] |= UInt8(truncatingIfNeeded: bits >> UInt32(8 * byte)) }
}

/// Stores four-bit codes of scales, the first of two in the low nibble.
func storeScales(_ scales: [Float], inverseUnit: Float, _ block: inout MutableSpan<UInt8>, at offset: Int) {
    for group in scales.indices {
        block[offset + group / 2] |= scaleCode(scales[group], inverseUnit: inverseUnit) << UInt8(group % 2 * 4)
    }
}
