/// Q5_K: 256 elements in 176 bytes, eight groups of 32.
///
///     byte  0   d, dmin, scales   16 bytes, see KQuantScales.swift
///          16   qh      32 x u8   high bits of the codes; bit b of byte l belongs to element 32b + l
///          48   qs      128 x u8  low 4 bits; byte l of quarter q holds elements 64q + l (low nibble) and 64q + l + 32
///
///     element = (d * scale) * code - dmin * minimum
package enum Q5K: BlockEncoder, WeightedBlockEncoder {
    package static var type: GGMLType { .q5_K }

    package static func decodeBlock(_ block: Span<UInt8>, into target: inout MutableSpan<Float>) {
        let d = half(block, at: 0)
        let dmin = half(block, at: 2)
        for i in 0..<256 {
            let (scale, minimum) = sixBitScaleAndMinimum(block, i / 32)
            let low = block[48 + i / 64 * 32 + i % 32] >> UInt8(i % 64 / 32 * 4) & 15
            let high = block[16 + i % 32] >> UInt8(i / 32) & 1
            target[i] = d * Float(scale) * Float(low | (high << 4)) - dmin * Float(minimum)
        }
    }

    package static func encodeBlock(_ source: Span<Float>, into block: inout MutableSpan<UInt8>) {
        let search = AffineSearch(largestCode: 31, firstOffset: -0.5, lastStep: 15, usesAbsoluteError: false)
        let codes = encodeAffineGroups(source, search, into: &block)
        store(codes, into: &block)
    }

    package static func encodeBlock(
        _ source: Span<Float>, importance: Span<Float>, rowMeanSquare: Float, into block: inout MutableSpan<UInt8>
    ) {
        store(encodeAffineGroups(source, importance: importance, largestCode: 31, into: &block), into: &block)
    }

    private static func store(_ codes: [UInt8], into block: inout MutableSpan<UInt8>) {
        for i in 0..<256 {
            block[16 + i % 32] |= (codes[i] >> 4) << UInt8(i / 32)
            block[48 + i / 64 * 32 + i % 32] |= (codes[i] & 15) << UInt8(i % 64 / 32 * 4)
        }
    }
}
