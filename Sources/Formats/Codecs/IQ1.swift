// The one-bit codebook types: groups of 8 elements are a vector of -1, 0 and 1 from a codebook, shifted by an eighth.
//
//     element = (d * (1 + 2 * scale)) * (level ± 0.125)

/// IQ1_S: 256 elements in 50 bytes, eight groups of 32.
///
///     byte  0   d    f16       scale
///           2   qs   32 x u8   low eight bits of the codebook index of each 8 elements
///          34   qh   8 x u16   of each group: four times three high bits of the indices, three bits of scale, and the
///                              sign of the shift
package enum IQ1_S: WeightedBlockEncoder {
    package static var type: GGMLType { .iq1_s }

    package static func decodeBlock(_ block: Span<UInt8>, into target: inout MutableSpan<Float>) {
        let d = half(block, at: 0)
        let codebook = iq1Codebook.span
        for group in 0..<8 {
            let word = word16(block, at: 34 + group * 2)
            let scale = d * Float(2 * (word >> 12 & 7) + 1)
            let shift: Float = word & 0x8000 == 0 ? 0.125 : -0.125
            for l in 0..<4 {
                let index = Int(block[2 + group * 4 + l]) | Int(word >> UInt16(3 * l) & 7) << 8
                storeTernary(codebook[index], scale: scale, shift: shift, into: &target, at: group * 32 + l * 8)
            }
        }
    }

    package static func encodeBlock(
        _ source: Span<Float>, importance: Span<Float>, rowMeanSquare: Float, into block: inout MutableSpan<UInt8>
    ) {
        let meanSquare = 2 * sumOfSquares(source) / 256
        var scales = [Float](repeating: 0, count: 8)
        var minuses = [Bool](repeating: false, count: 8)
        for group in 0..<8 {
            let x = source.extracting(32 * group..<32 * group + 32)
            let weights = elementWeights(x, importance.extracting(32 * group..<32 * group + 32), meanSquare: meanSquare)
            if largestMagnitude(x) < 1e-12 { continue }
            guard let fit = fitTernary(x, weights: weights.span) else { continue }
            var high: UInt16 = 0
            for l in 0..<4 {
                let place = Codebook.iq1.place(fit.vectors[l])
                block[2 + group * 4 + l] = UInt8(truncatingIfNeeded: place)
                high |= UInt16(place >> 8) << UInt16(3 * l)
            }
            block[34 + group * 2] = UInt8(truncatingIfNeeded: high)
            block[35 + group * 2] = UInt8(high >> 8)
            (scales[group], minuses[group]) = (fit.scale, fit.isMinus[0])
        }

        let largestScale = largest(scales.span)
        if largestScale == 0 { return }
        let d = largestScale / 15
        _ = storeHalf(d * 1.125, &block, at: 0)
        for group in 0..<8 {
            let code = scaleCode(scales[group], inverseUnit: 1 / d, largest: 7) | (minuses[group] ? 8 : 0)
            block[35 + group * 2] |= code << 4
        }
    }
}

/// IQ1_M: 256 elements in 56 bytes, eight groups of 32.
///
///     byte  0   qs       32 x u8   low eight bits of the codebook index of each 8 elements
///          32   qh       16 x u8   of each 8 elements a nibble, low first: three high bits of the index, the sign of the
///                                  shift
///          48   scales   4 x u16   four times three bits: the scale of each 16 elements; the top four bits of the four
///                                  words, lowest first, are the F16 scale d
package enum IQ1_M: BlockEncoder, WeightedBlockEncoder {
    package static var type: GGMLType { .iq1_m }

    /// The bits of d.
    static func scaleBits(_ block: Span<UInt8>) -> UInt16 {
        var bits: UInt16 = 0
        for word in 0..<4 { bits |= (word16(block, at: 48 + 2 * word) >> 12) << UInt16(4 * word) }
        return bits
    }

    package static func decodeBlock(_ block: Span<UInt8>, into target: inout MutableSpan<Float>) {
        let d = Float(halfBits: scaleBits(block))
        let codebook = iq1Codebook.span
        for l in 0..<32 {
            let word = word16(block, at: 48 + l / 8 * 2)
            let scale = d * Float(2 * (word >> UInt16(l % 8 / 2 * 3) & 7) + 1)
            let nibble = block[32 + l / 2] >> UInt8(l % 2 * 4) & 15
            let index = Int(block[l]) | Int(nibble & 7) << 8
            let shift: Float = nibble & 8 == 0 ? 0.125 : -0.125
            storeTernary(codebook[index], scale: scale, shift: shift, into: &target, at: l * 8)
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
        var scales = [Float](repeating: 0, count: 16)
        var minuses = [[Bool]](repeating: [false, false], count: 16)
        for group in 0..<16 {
            let part = 16 * group..<16 * group + 16
            if largestMagnitude(source.extracting(part)) < 1e-7 { continue }
            guard let fit = fitTernaryHalves(source.extracting(part), weights: weights.span.extracting(part)) else { continue }
            for l in 0..<2 {
                let place = Codebook.iq1.place(fit.vectors[l])
                block[2 * group + l] = UInt8(truncatingIfNeeded: place)
                block[32 + group] |= UInt8(place >> 8) << UInt8(4 * l)
            }
            (scales[group], minuses[group]) = (fit.scale, fit.isMinus)
        }

        let largestScale = largest(scales.span)
        if largestScale == 0 { return }
        // The unit is fitted once more, to the codes of the scales.
        var d = largestScale / 15
        let inverse = 1 / d
        var qx: Float = 0
        var q2: Float = 0
        for group in 0..<16 {
            let code = scaleCode(scales[group], inverseUnit: inverse, largest: 7)
            let word = UInt16(code) << UInt16(3 * (group % 4))
            block[48 + group / 4 * 2] |= UInt8(truncatingIfNeeded: word)
            block[49 + group / 4 * 2] |= UInt8(word >> 8)
            for l in 0..<2 {
                let index = Int(block[2 * group + l]) | Int(block[32 + group] >> UInt8(4 * l) & 7) << 8
                if minuses[group][l] { block[32 + group] |= 8 << UInt8(4 * l) }
                for j in 0..<8 {
                    let i = 16 * group + 8 * l + j
                    let level = Int(iq1Codebook[index] >> UInt16(2 * j) & 3)
                    let q = shiftedLevel(level, isMinus: minuses[group][l]) * Float(2 * code + 1)
                    qx += weights[i] * q * source[i]
                    q2 += weights[i] * q * q
                }
            }
        }
        if q2 > 0 { d = qx / q2 }
        let bits = (d * 1.1125).halfBits
        for word in 0..<4 { block[49 + 2 * word] |= UInt8(bits >> UInt16(4 * word) & 15) << 4 }
    }
}

private func storeTernary(
    _ vector: UInt16, scale: Float, shift: Float, into target: inout MutableSpan<Float>, at start: Int
) {
    for j in 0..<8 { target[start + j] = scale * (Float(Int32(vector >> UInt16(2 * j) & 3) - 1) + shift) }
}
