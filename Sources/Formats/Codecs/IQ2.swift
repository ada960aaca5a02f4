// The two-bit codebook types: groups of 8 elements are a vector of magnitudes from a codebook, with a sign each.
//
//     element = ((d * (0.5 + scale)) * 0.25) * level * sign

/// IQ2_XXS: 256 elements in 66 bytes, eight groups of 32.
///
///     byte 0   d    f16        scale
///          2   qs   16 x u32   of each group two words: the four codebook indices, one per byte; then four times seven
///                              bits of signs and four bits of scale
package enum IQ2_XXS: BlockCodec {
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
}

/// IQ2_XS: 256 elements in 74 bytes.
///
///     byte  0   d        f16        scale
///           2   qs       32 x u16   of each 8 elements: nine bits of codebook index, seven bits of signs
///          66   scales   8 x u8     of each 32 elements: low nibble for the first 16, high nibble for the others
package enum IQ2_XS: BlockCodec {
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
}

/// IQ2_S: 256 elements in 82 bytes.
///
///     byte  0   d        f16       scale
///           2   qs       32 x u8   low eight bits of the codebook index of each 8 elements
///          34   signs    32 x u8   bit j: element j of each 8 is negative
///          66   qh       8 x u8    the other two bits of four indices, lowest first
///          74   scales   8 x u8    as in IQ2_XS
package enum IQ2_S: BlockCodec {
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
