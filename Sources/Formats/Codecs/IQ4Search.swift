// What IQ4_NL and IQ4_XS share: sixteen unevenly spaced levels, and the search for the scale of 32 elements.

/// The value of each 4-bit code.
let iq4Levels: [Float] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]

/// The code of the nearest level; of two equally near ones the higher. NaN gives the last.
///
/// The distances to two neighbouring levels are exact close to the middle between them, so comparing distances and
/// comparing with the middle (which is exact as well) decide alike.
func nearestIQ4Code(_ value: Float) -> UInt8 {
    var code: UInt8 = 0
    for level in 1..<16 where !(value < (iq4Levels[level - 1] + iq4Levels[level]) / 2) { code += 1 }
    return code
}

/// x ≈ scale * level: the scale that maps the largest element to the lowest level, and fifteen more around it, are tried;
/// the one with the largest (Σwxq)² / Σwq² wins. Returns Σwxq / Σwq². Without weights w = x².
func fitIQ4Scale(_ x: Span<Float>, weights: Span<Float>? = nil) -> Float {
    let (largest, magnitude) = largestElement(x)
    if magnitude < smallestGroupMagnitude { return 0 }

    func sums(_ inverse: Float) -> (qx: Float, q2: Float) {
        var qx: Float = 0
        var q2: Float = 0
        for i in x.indices {
            let q = iq4Levels[Int(nearestIQ4Code(inverse * x[i]))]
            let w = if let weights { weights[i] } else { x[i] * x[i] }
            qx += w * q * x[i]
            q2 += w * q * q
        }
        return (qx, q2)
    }

    var (qx, q2) = sums(1 / (-largest / iq4Levels[0]))
    var scale = q2 > 0 ? qx / q2 : 0
    var quality = scale * qx
    for step in -7...7 {
        (qx, q2) = sums((Float(step) + iq4Levels[0]) / largest)
        if q2 > 0 && qx * qx > quality * q2 {
            scale = qx / q2
            quality = scale * qx
        }
    }
    return scale
}

/// Writes the codes of 32 elements as 16 bytes: element l in the low nibble of byte l, element l + 16 in the high.
func storeIQ4Codes(_ x: Span<Float>, inverseScale: Float, _ block: inout MutableSpan<UInt8>, at offset: Int) {
    for i in 0..<16 {
        let (low, high) = (nearestIQ4Code(inverseScale * x[i]), nearestIQ4Code(inverseScale * x[i + 16]))
        block[offset + i] = low | (high << 4)
    }
}
