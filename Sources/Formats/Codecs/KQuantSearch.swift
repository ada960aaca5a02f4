// The searches for the scale of a group of 16 or 32 elements, in the reference's order of operations.
// Sums run from the first element to the last, products associate to the left, and nothing is fused. Each appends the
// group's codes to `codes`.

/// Groups whose largest magnitude is below this are stored as zeros.
let smallestGroupMagnitude: Float = 1e-15

/// The element of the largest magnitude (the first of equals) and that magnitude.
func largestElement(_ x: Span<Float>) -> (element: Float, magnitude: Float) {
    var element: Float = 0
    var magnitude: Float = 0
    for index in x.indices where abs(x[index]) > magnitude {
        magnitude = abs(x[index])
        element = x[index]
    }
    return (element, magnitude)
}

/// x ≈ scale * code - minimum with codes 0 ... largestCode and minimum >= 0.
///
/// A first guess maps [min, max] onto the codes. Then `stepCount + 1` further scalings are tried, each followed by the
/// weighted least-squares scale and offset for the codes it gives:
///
///     D      = Σw Σwl² - (Σwl)²
///     scale  = (Σw Σwlx - Σwx Σwl) / D
///     offset = (Σwl² Σwx - Σwl Σwlx) / D          (if positive: 0, and scale = Σwlx / Σwl²)
///
/// The pair with the smallest Σ w |error| or Σ w error² wins. A win moves `offset`, from which later steps start.
struct AffineSearch {
    var largestCode: Int32
    var firstOffset: Float
    var stepSize: Float = 0.1
    var lastStep: Int
    var usesAbsoluteError: Bool = false

    /// The search that goes with an importance matrix, finer than the one without.
    static func weighted(largestCode: Int32) -> AffineSearch {
        AffineSearch(largestCode: largestCode, firstOffset: -0.9, stepSize: 0.05, lastStep: 36)
    }

    func fit(
        _ x: Span<Float>, weights: Span<Float>, codes: inout [UInt8]
    ) -> (scale: Float, minimum: Float) {
        var offset = x[0]
        var largest = x[0]
        var sumW = weights[0]
        var sumWX = sumW * x[0]
        for i in 1..<x.count {
            if x[i] < offset { offset = x[i] }
            if x[i] > largest { largest = x[i] }
            sumW += weights[i]
            sumWX += weights[i] * x[i]
        }
        if offset > 0 { offset = 0 }
        if largest == offset {
            codes.append(contentsOf: repeatElement(0, count: x.count))
            return (0, -offset)
        }

        var inverse = Float(largestCode) / (largest - offset)
        var scale = 1 / inverse
        var trial = [UInt8](repeating: 0, count: x.count)
        var best = trial
        for i in x.indices { best[i] = code(inverse * (x[i] - offset)) }
        var smallestError = error(x, weights, best.span, scale: scale, offset: offset)

        for step in 0...lastStep {
            inverse = (firstOffset + stepSize * Float(step) + Float(largestCode)) / (largest - offset)
            var sumWL: Float = 0
            var sumWLL: Float = 0
            var sumWLX: Float = 0
            for i in x.indices {
                trial[i] = code(inverse * (x[i] - offset))
                let l = Float(trial[i])
                let wl = weights[i] * l
                sumWL += wl
                sumWLL += wl * l
                sumWLX += wl * x[i]
            }
            let determinant = sumW * sumWLL - sumWL * sumWL
            guard determinant > 0 else { continue }
            var trialScale = (sumW * sumWLX - sumWX * sumWL) / determinant
            var trialOffset = (sumWLL * sumWX - sumWL * sumWLX) / determinant
            if trialOffset > 0 {
                trialOffset = 0
                trialScale = sumWLX / sumWLL
            }
            let trialError = error(x, weights, trial.span, scale: trialScale, offset: trialOffset)
            if trialError < smallestError {
                best = trial
                (smallestError, scale, offset) = (trialError, trialScale, trialOffset)
            }
        }
        codes += best
        return (scale, -offset)
    }

    private func code(_ value: Float) -> UInt8 { UInt8(nearestInteger(value, in: 0...largestCode)) }

    private func error(
        _ x: Span<Float>, _ weights: Span<Float>, _ codes: Span<UInt8>, scale: Float, offset: Float
    ) -> Float {
        var sum: Float = 0
        for i in x.indices {
            let difference = scale * Float(codes[i]) + offset - x[i]
            sum += weights[i] * (usesAbsoluteError ? abs(difference) : difference * difference)
        }
        return sum
    }
}

/// x ≈ scale * (code - limit) with codes 0 ..< 2 * limit: nineteen scalings around the one that maps the largest element
/// to -limit are tried, and the one with the largest (Σwxl)² / Σwl² wins. Returns the scale Σwxl / Σwl². Without weights
/// w = x².
func fitSymmetric(_ x: Span<Float>, weights: Span<Float>? = nil, limit: Int32, codes: inout [UInt8]) -> Float {
    let (largest, magnitude) = largestElement(x)
    if magnitude < smallestGroupMagnitude {
        codes.append(contentsOf: repeatElement(0, count: x.count))
        return 0
    }

    func sums(_ inverse: Float) -> (lx: Float, l2: Float) {
        var lx: Float = 0
        var l2: Float = 0
        for i in x.indices {
            let l = Float(nearestInteger(inverse * x[i], in: -limit...limit - 1))
            let w = if let weights { weights[i] } else { x[i] * x[i] }
            lx += w * x[i] * l
            l2 += w * l * l
        }
        return (lx, l2)
    }

    var best = -Float(limit) / largest
    var (lx, l2) = sums(best)
    var scale = l2 != 0 ? lx / l2 : 0
    var quality = scale * lx
    for step in -9...9 where step != 0 {
        let inverse = -(Float(limit) + 0.1 * Float(step)) / largest
        (lx, l2) = sums(inverse)
        if l2 > 0 && lx * lx > quality * l2 {
            best = inverse
            scale = lx / l2
            quality = scale * lx
        }
    }
    for i in x.indices { codes.append(UInt8(nearestInteger(best * x[i], in: -limit...limit - 1) + limit)) }
    return scale
}

/// x ≈ scale * (code - limit) with codes 0 ..< 2 * limit, by coordinate descent: starting from the codes that map the
/// largest element to -limit, each code in turn moves to the best one for the scale that the others ask for, whenever
/// that makes (Σwxl)² / Σwl², w = x², larger; at most five rounds. Returns the scale Σwxl / Σwl².
func fitSymmetricByDescent(_ x: Span<Float>, limit: Int32, codes: inout [UInt8]) -> Float {
    let (largest, magnitude) = largestElement(x)
    if magnitude < smallestGroupMagnitude {
        codes.append(contentsOf: repeatElement(0, count: x.count))
        return 0
    }
    let inverse = -Float(limit) / largest
    var levels = [Int32](repeating: 0, count: x.count)
    var lx: Float = 0
    var l2: Float = 0
    for i in x.indices {
        levels[i] = nearestInteger(inverse * x[i], in: -limit...limit - 1)
        let l = Float(levels[i])
        let w = x[i] * x[i]
        lx += w * x[i] * l
        l2 += w * l * l
    }
    for _ in 0..<5 {
        var changed = false
        for i in x.indices {
            let l = Float(levels[i])
            let w = x[i] * x[i]
            var lxWithout = lx - w * x[i] * l
            guard lxWithout > 0 else { continue }
            var l2Without = l2 - w * l * l
            let level = nearestInteger(x[i] * l2Without / lxWithout, in: -limit...limit - 1)
            guard level != levels[i] else { continue }
            let newL = Float(level)
            lxWithout += w * x[i] * newL
            l2Without += w * newL * newL
            if l2Without > 0 && lxWithout * lxWithout * l2 > lx * lx * l2Without {
                levels[i] = level
                (lx, l2) = (lxWithout, l2Without)
                changed = true
            }
        }
        if !changed { break }
    }
    for i in x.indices { codes.append(UInt8(levels[i] + limit)) }
    return l2 > 0 ? lx / l2 : 0
}
