/// x ≈ scale * code with codes 0 ... largestCode, for numbers that are not negative.
///
/// Nine scalings around the one that maps the largest number to the largest code are tried; the one with the smallest
/// Σw(x - scale * code)² wins. From its codes the descent of `fitSymmetricByDescent` starts. Returns Σwxl / Σwl².
///
/// Numbers may be negative all the same, where a minimum of the caller was. Then codes wrap round, as the eight bits do in
/// which the reference keeps them: -1 is 255, and the descent goes on from that.
func fitUnsigned(
    _ x: Span<Float>, weights: Span<Float>, largestCode: Int32
) -> (unit: Float, codes: [UInt8]) {
    var codes = [UInt8](repeating: 0, count: x.count)
    var largest: Float = 0
    for i in x.indices { largest = largest > x[i] ? largest : x[i] }
    if largest < smallestGroupMagnitude { return (0, codes) }

    func code(_ value: Float) -> Int32 { min(largestCode, nearestInteger(value)) }
    func wrapped(_ code: Int32) -> UInt8 { UInt8(truncatingIfNeeded: code) }

    var inverse = Float(largestCode) / largest
    let scale = 1 / inverse
    var smallestError: Float = 0
    for i in x.indices {
        let difference = x[i] - scale * Float(wrapped(nearestInteger(inverse * x[i])))
        smallestError += weights[i] * difference * difference
    }
    for step in -4...4 where step != 0 {
        let trial = (0.1 * Float(step) + Float(largestCode)) / largest
        let trialScale = 1 / trial
        var error: Float = 0
        for i in x.indices {
            let difference = x[i] - trialScale * Float(code(trial * x[i]))
            error += weights[i] * difference * difference
        }
        if error < smallestError {
            smallestError = error
            inverse = trial
        }
    }

    var lx: Float = 0
    var l2: Float = 0
    for i in x.indices {
        let level = code(inverse * x[i])
        codes[i] = wrapped(level)
        lx += weights[i] * x[i] * Float(level)
        l2 += weights[i] * Float(level) * Float(level)
    }
    for _ in 0..<5 {
        var changed = false
        for i in x.indices {
            let (w, l) = (weights[i], Float(codes[i]))
            var lxWithout = lx - w * x[i] * l
            var l2Without = l2 - w * l * l
            guard lxWithout > 0 && l2Without > 0 else { continue }
            let level = code(x[i] * l2Without / lxWithout)
            guard level != Int32(codes[i]) else { continue }
            lxWithout += w * x[i] * Float(level)
            l2Without += w * Float(level) * Float(level)
            if lxWithout * lxWithout * l2 > lx * lx * l2Without {
                codes[i] = wrapped(level)
                (lx, l2) = (lxWithout, l2Without)
                changed = true
            }
        }
        if !changed { break }
    }
    return (l2 > 0 ? lx / l2 : 0, codes)
}
