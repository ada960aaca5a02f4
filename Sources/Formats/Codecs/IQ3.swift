// The three-bit codebook types: groups of 4 elements are a vector of magnitudes from a codebook, with a sign each.

/// IQ3_XXS: 256 elements in 98 bytes, eight groups of 32.
///
///     byte  0   d      f16       scale
///           2   qs     64 x u8   codebook index of each 4 elements
///          66   gas    8 x u32   of each group: four times seven bits of signs (for 8 elements) and four bits of scale
///
///     element = ((d * (0.5 + scale)) * 0.5) * level * sign
package enum IQ3_XXS: BlockCodec {
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
package enum IQ3_S: BlockCodec {
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
}
