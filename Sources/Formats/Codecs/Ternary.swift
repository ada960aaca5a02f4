// The ternary types: elements -d, 0 and d, stored as trits 0, 1 and 2.

/// TQ1_0: 256 elements in 54 bytes, five trits to a byte.
///
///     byte  0   qs   48 x u8   byte l < 32 holds elements l, l + 32, ... l + 128;
///                              byte 32 + l holds elements 160 + l, 176 + l, ... 224 + l
///          48   qh   4 x u8    byte l holds elements 240 + l, 244 + l, 248 + l, 252 + l, and a zero
///          52   d    f16       scale
///
///     element = d * (trit - 1)
///
/// A byte is its trits read as a fraction 0.t₀t₁t₂t₃t₄ in base 3, times 256, rounded up: multiplying by 3 brings the next
/// trit out at the top.
package enum TQ1_0: BlockEncoder {
    package static var type: GGMLType { .tq1_0 }

    /// The byte of an element, and how many trits stand before it.
    private static func place(_ element: Int) -> (byte: Int, trit: Int) {
        switch element {
        case ..<160: (element % 32, element / 32)
        case ..<240: (32 + element % 16, (element - 160) / 16)
        default: (48 + element % 4, (element - 240) / 4)
        }
    }

    package static func decodeBlock(_ block: Span<UInt8>, into target: inout MutableSpan<Float>) {
        let d = half(block, at: 52)
        let powers: InlineArray<5, UInt8> = [1, 3, 9, 27, 81]
        for i in 0..<256 {
            let (byte, trit) = place(i)
            let fraction = block[byte] &* powers[trit]
            target[i] = d * Float((Int32(fraction) * 3) >> 8 - 1)
        }
    }

    package static func encodeBlock(_ source: Span<Float>, into block: inout MutableSpan<UInt8>) {
        let d = largestMagnitude(source)
        let id = inverse(d)
        _ = storeHalf(d, &block, at: 52)
        // Bytes count up to 242 in base 3 first.
        for i in 0..<256 {
            let (byte, _) = place(i)
            block[byte] = block[byte] &* 3 &+ trit(source[i] * id)
        }
        for byte in 48..<52 { block[byte] = block[byte] &* 3 }
        for byte in 0..<52 { block[byte] = UInt8(truncatingIfNeeded: (UInt16(block[byte]) * 256 + 242) / 243) }
    }
}

/// TQ2_0: 256 elements in 66 bytes.
///
///     byte  0   qs   64 x u8   2-bit trits; byte l of half h holds elements 128h + l, + 32, + 64, + 96, lowest bits first
///          64   d    f16       scale
///
///     element = d * (trit - 1)
package enum TQ2_0: BlockEncoder {
    package static var type: GGMLType { .tq2_0 }

    package static func decodeBlock(_ block: Span<UInt8>, into target: inout MutableSpan<Float>) {
        let d = half(block, at: 64)
        for i in 0..<256 {
            let code = block[i / 128 * 32 + i % 32] >> UInt8(i % 128 / 32 * 2) & 3
            target[i] = d * Float(Int32(code) - 1)
        }
    }

    package static func encodeBlock(_ source: Span<Float>, into block: inout MutableSpan<UInt8>) {
        let d = largestMagnitude(source)
        let id = inverse(d)
        _ = storeHalf(d, &block, at: 64)
        for i in 0..<256 {
            block[i / 128 * 32 + i % 32] |= (trit(source[i] * id) & 3) << UInt8(i % 128 / 32 * 2)
        }
    }
}

/// The trit of an element divided by the scale; 1, the zero, where that is not a finite number.
private func trit(_ value: Float) -> UInt8 {
    let rounded = value.rounded(.toNearestOrAwayFromZero)
    return rounded.magnitude < 0x1p31 ? UInt8(truncatingIfNeeded: Int32(rounded) &+ 1) : 1
}
