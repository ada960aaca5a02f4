/// Q5_0: 32 elements in 22 bytes.
///
///     byte 0   d    f16       scale
///          2   qh   u32       bit l is the fifth bit of element l
///          6   qs   16 x u8   low four bits; byte l holds elements l (low nibble) and l + 16
///
///     element = d * (code - 16)
///
/// The scale maps the element of the largest magnitude to code 0, that is to -16.
package enum Q5_0: BlockEncoder, WeightedBlockEncoder {
    package static var type: GGMLType { .q5_0 }

    package static func decodeBlock(_ block: Span<UInt8>, into target: inout MutableSpan<Float>) {
        let d = half(block, at: 0)
        for i in 0..<32 { target[i] = d * Float(Int32(fiveBitCode(block, i, fifthBits: 2)) - 16) }
    }

    package static func encodeBlock(_ source: Span<Float>, into block: inout MutableSpan<UInt8>) {
        let d = extreme(source) / -16
        let id = inverse(d)
        _ = storeHalf(d, &block, at: 0)
        for i in 0..<32 {
            let code = min(31, Int8(truncatingIfNeeded: truncated(source[i] * id + 16.5)))
            storeFiveBitCode(UInt8(truncatingIfNeeded: code), &block, i, fifthBits: 2)
        }
    }

    package static func encodeBlock(
        _ source: Span<Float>, importance: Span<Float>, rowMeanSquare: Float, into block: inout MutableSpan<UInt8>
    ) {
        let weights = elementWeights(source, importance, meanSquare: rowMeanSquare)
        var codes: [UInt8] = []
        _ = storeHalf(fitSymmetric(source, weights: weights.span, limit: 16, codes: &codes), &block, at: 0)
        for i in 0..<32 { storeFiveBitCode(codes[i], &block, i, fifthBits: 2) }
    }
}

/// The 5-bit code of element `i`: four bytes of fifth bits, then sixteen bytes of nibbles.
func fiveBitCode(_ block: Span<UInt8>, _ i: Int, fifthBits offset: Int) -> UInt8 {
    let low = block[offset + 4 + i % 16] >> UInt8(i / 16 * 4) & 15
    return low | (block[offset + i / 8] >> UInt8(i % 8) & 1) << 4
}

/// Adds the 5-bit code of element `i` to a block of zeros; higher bits of `code` do not count.
func storeFiveBitCode(_ code: UInt8, _ block: inout MutableSpan<UInt8>, _ i: Int, fifthBits offset: Int) {
    block[offset + 4 + i % 16] |= (code & 15) << UInt8(i / 16 * 4)
    block[offset + i / 8] |= (code >> 4 & 1) << UInt8(i % 8)
}
