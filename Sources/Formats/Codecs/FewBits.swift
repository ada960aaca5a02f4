// The types of one and of two bits with a plain scale.

/// Q1_0: 128 elements in 18 bytes.
///
///     byte 0   d    f16       scale
///          2   qs   16 x u8   bit l of byte b is element 8b + l
///
///     element = d where the bit is set, else -d
///
/// The scale is the mean magnitude.
package enum Q1_0: BlockEncoder {
    package static var type: GGMLType { .q1_0 }

    package static func decodeBlock(_ block: Span<UInt8>, into target: inout MutableSpan<Float>) {
        let d = half(block, at: 0)
        for i in 0..<128 { target[i] = block[2 + i / 8] >> UInt8(i % 8) & 1 == 1 ? d : -d }
    }

    package static func encodeBlock(_ source: Span<Float>, into block: inout MutableSpan<UInt8>) {
        var sum: Float = 0
        for i in 0..<128 { sum += source[i].magnitude }
        _ = storeHalf(sum / 128, &block, at: 0)
        for i in 0..<128 where source[i] >= 0 { block[2 + i / 8] |= 1 << UInt8(i % 8) }
    }
}

/// Q2_0: 64 elements in 18 bytes.
///
///     byte 0   d    f16       scale
///          2   qs   16 x u8   2-bit codes; byte b holds elements 4b to 4b + 3, lowest bits first
///
///     element = d * (code - 1)
///
/// The scale is the largest magnitude, so that the encoder never gives code 3.
package enum Q2_0: BlockEncoder {
    package static var type: GGMLType { .q2_0 }

    package static func decodeBlock(_ block: Span<UInt8>, into target: inout MutableSpan<Float>) {
        let d = half(block, at: 0)
        for i in 0..<64 { target[i] = d * Float(Int32(block[2 + i / 4] >> UInt8(i % 4 * 2) & 3) - 1) }
    }

    package static func encodeBlock(_ source: Span<Float>, into block: inout MutableSpan<UInt8>) {
        let d = extreme(source).magnitude
        let id = inverse(d)
        _ = storeHalf(d, &block, at: 0)
        for i in 0..<64 {
            let code = max(0, min(3, roundedAway(source[i] * id) &+ 1))
            block[2 + i / 4] |= UInt8(code) << UInt8(i % 4 * 2)
        }
    }
}
