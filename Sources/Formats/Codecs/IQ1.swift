// The one-bit codebook types: groups of 8 elements are a vector of -1, 0 and 1 from a codebook, shifted by an eighth.
//
//     element = (d * (1 + 2 * scale)) * (level ± 0.125)

/// IQ1_S: 256 elements in 50 bytes, eight groups of 32.
///
///     byte  0   d    f16       scale
///           2   qs   32 x u8   low eight bits of the codebook index of each 8 elements
///          34   qh   8 x u16   of each group: four times three high bits of the indices, three bits of scale, and the
///                              sign of the shift
package enum IQ1_S: BlockCodec {
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
}

/// IQ1_M: 256 elements in 56 bytes, eight groups of 32.
///
///     byte  0   qs       32 x u8   low eight bits of the codebook index of each 8 elements
///          32   qh       16 x u8   of each 8 elements a nibble, low first: three high bits of the index, the sign of the
///                                  shift
///          48   scales   4 x u16   four times three bits: the scale of each 16 elements; the top four bits of the four
///                                  words, lowest first, are the F16 scale d
package enum IQ1_M: BlockCodec {
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
}

private func storeTernary(
    _ vector: UInt16, scale: Float, shift: Float, into target: inout MutableSpan<Float>, at start: Int
) {
    for j in 0..<8 { target[start + j] = scale * (Float(Int32(vector >> UInt16(2 * j) & 3) - 1) + shift) }
}
