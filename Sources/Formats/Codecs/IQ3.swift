// The three-bit codebook types: groups of 4 elements are a vector of magnitudes from a codebook, with a sign each.

/// IQ3_XXS: 256 elements in 98 bytes, eight groups of 32.
///
///     byte  0   d      f16       scale
///           2   qs     64 x u8   codebook index of each 4 elements
///          66   gas    8 x u32   of each group: four times seven bits of signs (for 8 elements) and four bits of scale
///
///     element = ((d * (0.5 + scale)) * 0.5) * level * sign
package enum IQ3_XXS: BlockEncoder, WeightedBlockEncoder {
    package static var type: GGMLType { .iq3_xxs }

    package static func decodeBlock(_ block: Span<UInt8>, into target: inout MutableSpan<Float>) {
        let d = half(block, at: 0)
        let codebook = iq3xxsCodebook.span
        for l in 0..<64 {
            let word = word32(block, at: 66 + l / 8 * 4)
            let scale = d * (0.5 + Float(word >> 28)) * 0.5
            let signs = evenSigns(word >> UInt32(l % 8 / 2 * 7)) >> UInt8(l % 2 * 4)
            let vector = codebook[Int(block[2 + l])]
            for j in 0..<4 {
                let code = vector >> UInt16(3 * j) & 7
                let level: Float = code == 7 ? 62 : Float(8 * code + 4)
                target[l * 4 + j] = scale * level * (signs >> UInt8(j) & 1 == 1 ? -1 : 1)
            }
        }
    }

    package static func encodeBlock(_ source: Span<Float>, into block: inout MutableSpan<UInt8>) {
        encode(source, weights: source.indices.map { source[$0] * source[$0] }, into: &block)
    }

    package static func encodeBlock(
        _ source: Span<Float>, importance: Span<Float>, rowMeanSquare: Float, into block: inout MutableSpan<UInt8>
    ) {
        let weights = elementWeights(source, importance, meanSquare: 2 * sumOfSquares(source) / 256)
        encode(source, weights: weights, into: &block)
    }

    private static func encode(_ source: Span<Float>, weights: [Float], into block: inout MutableSpan<UInt8>) {
        var scales = [Float](repeating: 0, count: 8)
        for group in 0..<8 {
            let part = 32 * group..<32 * group + 32
            let weights = weights.span.extracting(part)
            var (x, signs) = splitSigns(source.extracting(part), weights: weights, even: true)
            let largest = largest(x.span)
            if largest < 1e-8 { continue }
            let fit = CodebookSearch.iq3xxs.fit(x.span, weights: weights, largest: largest, first: largest / 15)
            if fit.scale < 0 { signs = signs.map { ~$0 & 127 } }
            scales[group] = fit.scale.magnitude
            for l in 0..<8 { block[2 + 8 * group + l] = UInt8(Codebook.iq3xxs.place(fit.vectors[l])) }
            for l in 0..<4 { addBits(UInt32(signs[l]) << UInt32(7 * l), &block, at: 66 + 4 * group) }
        }

        let largestScale = largest(scales.span)
        if largestScale == 0 {
            for i in 2..<98 { block[i] = 0 }
            return
        }
        let d = largestScale / 31
        _ = storeHalf(d * 1.0125, &block, at: 0)
        for group in 0..<8 {
            addBits(UInt32(scaleCode(scales[group], inverseUnit: 1 / d)) << 28, &block, at: 66 + 4 * group)
        }
    }
}

/// IQ3_S: 256 elements in 110 bytes, eight groups of 32.
///
///     byte   0   d        f16       scale
///            2   qs       64 x u8   low eight bits of the codebook index of each 4 elements
///           66   qh       8 x u8    bit l of a group's byte: the ninth bit of its index l
///           74   signs    32 x u8   bit j: element j of each 8 is negative
///          106   scales   4 x u8    of each two groups, low nibble first
///
///     element = (d * (1 + 2 * scale)) * level * sign
package enum IQ3_S: BlockEncoder, WeightedBlockEncoder {
    package static var type: GGMLType { .iq3_s }

    package static func decodeBlock(_ block: Span<UInt8>, into target: inout MutableSpan<Float>) {
        let d = half(block, at: 0)
        let codebook = iq3sCodebook.span
        for l in 0..<64 {
            let group = l / 8
            let scale = d * Float(1 + 2 * (block[106 + group / 2] >> UInt8(group % 2 * 4) & 15))
            let high = Int(block[66 + group] >> UInt8(l % 8) & 1)
            let signs = block[74 + l / 2] >> UInt8(l % 2 * 4)
            let vector = codebook[Int(block[2 + l]) | high << 8]
            for j in 0..<4 {
                let level = Float(2 * (vector >> UInt16(3 * j) & 7) + 1)
                target[l * 4 + j] = scale * level * (signs >> UInt8(j) & 1 == 1 ? -1 : 1)
            }
        }
    }

    package static func encodeBlock(_ source: Span<Float>, into block: inout MutableSpan<UInt8>) {
        encode(source, weights: source.indices.map { source[$0] * source[$0] }, into: &block)
    }

    package static func encodeBlock(
        _ source: Span<Float>, importance: Span<Float>, rowMeanSquare: Float, into block: inout MutableSpan<UInt8>
    ) {
        let weights = elementWeights(source, importance, meanSquare: 2 * sumOfSquares(source) / 256)
        encode(source, weights: weights, into: &block)
    }

    private static func encode(_ source: Span<Float>, weights: [Float], into block: inout MutableSpan<UInt8>) {
        var scales = [Float](repeating: 0, count: 8)
        // The reference does not step over the indices and signs of a group of zeros: those of the groups behind it move
        // up, while scales and high bits stay in their places. Its bytes are what counts here.
        var slot = 0
        for group in 0..<8 {
            let part = 32 * group..<32 * group + 32
            let weights = weights.span.extracting(part)
            var (x, signs) = splitSigns(source.extracting(part), weights: weights, even: false)
            let largest = largest(x.span)
            if largest == 0 { continue }
            let fit = CodebookSearch.iq3s.fit(x.span, weights: weights, largest: largest, first: largest / 15)
            if fit.scale < 0 { signs = signs.map { ~$0 } }
            scales[group] = fit.scale.magnitude
            for l in 0..<8 {
                let place = Codebook.iq3s.place(fit.vectors[l])
                block[2 + 8 * slot + l] = UInt8(truncatingIfNeeded: place)
                block[66 + group] |= UInt8(place >> 8) << UInt8(l)
            }
            for l in 0..<4 { block[74 + 4 * slot + l] = signs[l] }
            slot += 1
        }

        let largestScale = largest(scales.span)
        if largestScale == 0 { return }
        let d = largestScale / 31
        _ = storeHalf(d * 1.033, &block, at: 0)
        storeScales(scales, inverseUnit: 1 / d, &block, at: 106)
    }
}
