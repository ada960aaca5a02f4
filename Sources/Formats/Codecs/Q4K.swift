/// Q4_K: 256 elements in 144 bytes, eight groups of 32.
///
///     byte  0   d, dmin, scales   16 bytes, see KQuantScales.swift
///          16   qs      128 x u8  4-bit codes; byte l of quarter q holds elements 64q + l (low nibble) and 64q + l + 32
///
///     element = (d * scale) * code - dmin * minimum
package enum Q4K: BlockEncoder, WeightedBlockEncoder {
    package static var type: GGMLType { .q4_K }

    package static func decodeBlock(_ block: Span<UInt8>, into target: inout MutableSpan<Float>) {
        let d = half(block, at: 0)
        let dmin = half(block, at: 2)
        for i in 0..<256 {
            let (scale, minimum) = sixBitScaleAndMinimum(block, i / 32)
            let code = block[16 + i / 64 * 32 + i % 32] >> UInt8(i % 64 / 32 * 4) & 15
            target[i] = d * Float(scale) * Float(code) - dmin * Float(minimum)
        }
    }

    package static func encodeBlock(_ source: Span<Float>, into block: inout MutableSpan<UInt8>) {
        let search = AffineSearch(largestCode: 15, firstOffset: -1, lastStep: 20, usesAbsoluteError: false)
        let codes = encodeAffineGroups(source, search, into: &block)
        store(codes, into: &block)
    }

    package static func encodeBlock(
        _ source: Span<Float>, importance: Span<Float>, rowMeanSquare: Float, into block: inout MutableSpan<UInt8>
    ) {
        store(encodeAffineGroups(source, importance: importance, largestCode: 15, into: &block), into: &block)
    }

    private static func store(_ codes: [UInt8], into block: inout MutableSpan<UInt8>) {
        for i in 0..<256 { block[16 + i / 64 * 32 + i % 32] |= codes[i] << UInt8(i % 64 / 32 * 4) }
    }
}
