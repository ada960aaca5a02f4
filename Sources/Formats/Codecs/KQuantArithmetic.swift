// Arithmetic that must agree with the reference to the last bit, on every processor and for every input.

/// Rounds to the nearest integer, ties to even, as the reference does: adding 1.5 * 2^23 moves the integer part of a
/// number of magnitude below 2^22 into the low bits of the significand.
///
/// Outside that range the result is whatever those bits say (infinities give -2^22, the default NaN gives 0).
package func nearestInteger(_ value: Float) -> Int32 {
    let shifted = value + 12_582_912
    return Int32(bitPattern: shifted.bitPattern & 0x007f_ffff) - 0x0040_0000
}

/// The nearest integer, limited to a range.
func nearestInteger(_ value: Float, in range: ClosedRange<Int32>) -> Int32 {
    max(range.lowerBound, min(range.upperBound, nearestInteger(value)))
}

/// Two little-endian bytes of a block as an F16 number.
func half(_ block: Span<UInt8>, at offset: Int) -> Float {
    Float(halfBits: UInt16(block[offset]) | UInt16(block[offset + 1]) << 8)
}

/// Stores a number as F16 (to nearest even, too large becomes infinite) and returns what was stored.
func storeHalf(_ value: Float, _ block: inout MutableSpan<UInt8>, at offset: Int) -> Float {
    let bits = value.halfBits
    block[offset] = UInt8(truncatingIfNeeded: bits)
    block[offset + 1] = UInt8(truncatingIfNeeded: bits >> 8)
    return Float(halfBits: bits)
}

extension Float {
    /// The value of IEEE binary16 bits.
    package init(halfBits bits: UInt16) {
        let sign = UInt32(bits & 0x8000) << 16
        let magnitude = UInt32(bits & 0x7fff)
        if magnitude >= 0x7c00 {
            self.init(bitPattern: sign | 0x7f80_0000 | (magnitude & 0x3ff) << 13)
        } else {
            // Exact: the shifted bits read as binary32 are the value times 2^-112, and 2^112 is a power of two.
            let scaled = Float(bitPattern: magnitude << 13) * 0x1p112
            self.init(bitPattern: sign | scaled.bitPattern)
        }
    }

    /// The nearest IEEE binary16 bits, ties to even; NaN becomes the quiet NaN of the same sign.
    package var halfBits: UInt16 {
        let sign = UInt16(truncatingIfNeeded: bitPattern >> 16) & 0x8000
        let magnitude = bitPattern & 0x7fff_ffff
        if magnitude > 0x7f80_0000 { return sign | 0x7e00 }
        if magnitude >= 0x4780_0000 { return sign | 0x7c00 }  // 65536 and above
        if magnitude < 0x3880_0000 {
            // Below 2^-14 the result is a multiple of 2^-24: adding 0.5, whose last bit is worth 2^-24, rounds to one.
            return sign | UInt16(truncatingIfNeeded: (Float(bitPattern: magnitude) + 0.5).bitPattern - 0x3f00_0000)
        }
        // Rebias the exponent by 127 - 15 and round the 13 bits that fall off; a carry goes into the exponent.
        let odd = (magnitude >> 13) & 1
        return sign | UInt16(truncatingIfNeeded: (magnitude - 0x3800_0000 + 0xfff + odd) >> 13)
    }
}
