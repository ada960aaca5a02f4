// The types whose elements are four-bit floating-point numbers (E2M1) under a shared scale.

/// Twice the value of each code: sign, two bits of exponent, one of mantissa.
private let doubledE2M1: [Float] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12]

/// The code with the smallest |scale * level - value|, the first of equals.
private func nearestE2M1(_ value: Float, scale: Float) -> UInt8 {
    let levels = doubledE2M1.span
    var best: UInt8 = 0
    var smallest = (levels[0] * scale - value).magnitude
    for code in 1..<16 {
        let error = (levels[code] * scale - value).magnitude
        if error < smallest {
            smallest = error
            best = UInt8(code)
        }
    }
    return best
}

/// MXFP4: 32 elements in 17 bytes (OCP Microscaling).
///
///     byte 0   e    u8        scale 2^(e - 127), an E8M0 number
///          1   qs   16 x u8   E2M1 codes; byte l holds elements l (low nibble) and l + 16
///
///     element = 2^(e - 128) * (2 * E2M1)
package enum MXFP4: BlockEncoder {
    package static var type: GGMLType { .mxfp4 }

    package static func decodeBlock(_ block: Span<UInt8>, into target: inout MutableSpan<Float>) {
        let scale = halfScale(block[0])
        let levels = doubledE2M1.span
        for i in 0..<16 {
            target[i] = scale * levels[Int(block[1 + i] & 15)]
            target[i + 16] = scale * levels[Int(block[1 + i] >> 4)]
        }
    }

    package static func encodeBlock(_ source: Span<Float>, into block: inout MutableSpan<UInt8>) {
        var largest: Float = 0
        for i in source.indices where largest < source[i].magnitude { largest = source[i].magnitude }
        // 4 is the power of two in 6, the largest E2M1 number. An exponent below the least keeps its low eight bits.
        let e = UInt8(truncatingIfNeeded: largest > 0 && largest.isFinite ? flooredLog2(largest) - 2 + 127 : 0)
        let scale = halfScale(e)
        block[0] = e
        for i in 0..<16 {
            block[1 + i] = nearestE2M1(source[i], scale: scale) | nearestE2M1(source[i + 16], scale: scale) << 4
        }
    }

    /// 2^(e - 128), for every e.
    private static func halfScale(_ e: UInt8) -> Float {
        Float(bitPattern: e < 2 ? 0x0020_0000 << UInt32(e) : UInt32(e - 1) << 23)
    }

    /// The floor of log₂ rounded to `Float`, as the reference computes it: of a number so close below a power of two
    /// that its logarithm rounds to a whole number, the power above.
    ///
    ///     log₂(2^k * (1 - δ)) ≈ k - δ / ln 2
    private static func flooredLog2(_ value: Float) -> Int {
        let above = Int(value.exponent) + 1
        let δ = 1 - Double(value.significand) / 2
        let logarithm = Float(Double(above) - δ * 1.442_695_040_888_963_4)
        return logarithm == Float(above) ? above : above - 1
    }
}

/// NVFP4: 64 elements in 36 bytes, four groups of 16.
///
///     byte 0   d    4 x u8    scale of each group, an E4M3 number without sign (0x7F stands for 0)
///          4   qs   32 x u8   E2M1 codes; byte l of group g holds elements 16g + l (low nibble) and 16g + l + 8
///
///     element = (d / 2) * (2 * E2M1)
package enum NVFP4: BlockEncoder {
    package static var type: GGMLType { .nvfp4 }

    package static func decodeBlock(_ block: Span<UInt8>, into target: inout MutableSpan<Float>) {
        let levels = doubledE2M1.span
        for group in 0..<4 {
            let scale = halfScale(block[group])
            for i in 0..<8 {
                let codes = block[4 + group * 8 + i]
                target[group * 16 + i] = scale * levels[Int(codes & 15)]
                target[group * 16 + i + 8] = scale * levels[Int(codes >> 4)]
            }
        }
    }

    package static func encodeBlock(_ source: Span<Float>, into block: inout MutableSpan<UInt8>) {
        for group in 0..<4 {
            var largest: Float = 0
            for i in group * 16..<group * 16 + 16 where largest < source[i].magnitude { largest = source[i].magnitude }
            // 6 is the largest E2M1 number.
            block[group] = nearestScale(largest / 6)
            let scale = halfScale(block[group])
            for i in 0..<8 {
                let low = nearestE2M1(source[group * 16 + i], scale: scale)
                let high = nearestE2M1(source[group * 16 + i + 8], scale: scale)
                block[4 + group * 8 + i] = low | high << 4
            }
        }
    }

    /// Half the value of a scale; its highest bit does not count.
    private static func halfScale(_ bits: UInt8) -> Float {
        bits == 0x7f ? 0 : SmallFloat.f8e4m3.values[Int(bits & 0x7f)].orIfNaN(480) / 2
    }

    /// The scale of a number: its upper mantissa bits, rounded up when the next bit is set. Too small gives 0; 256 and
    /// above all give the largest scale, 448.
    private static func nearestScale(_ value: Float) -> UInt8 {
        guard value > 0 else { return 0 }
        if value >= 256 { return 0x7e }
        if value < 0x1p-6 { return UInt8(min(7, Int32(value * 512 + 0.5))) }
        // Rebias the exponent by 127 - 7; a carry from rounding goes into it.
        let scale = ((value.bitPattern >> 19) + 1) >> 1 - 120 << 3
        return scale >= 15 << 3 ? 0x7e : UInt8(scale)
    }
}

extension Float {
    fileprivate func orIfNaN(_ other: Float) -> Float { isNaN ? other : self }
}
