// The search of the one-bit codebook types: x ≈ scale * (level ± 0.125) with levels -1, 0, 1.
//
// With three levels, sorting the elements leaves only the two places where the level changes to try, and each trial is a
// few prefix sums; of all pairs of places (and of both shifts) the one with the largest (Σwxq)² / Σwq² wins, and the scale
// is Σwxq / Σwq². Vectors that the codebook lacks then give way to the nearest ones, and the scale follows.

/// What a search found: the packed vectors of each 8 elements, and for each (or for all) whether the shift is -0.125.
struct TernaryFit {
    var scale: Float
    var vectors: [UInt16]
    var isMinus: [Bool]
}

/// -1, 0 or 1 (given as 0, 1 or 2) with the shift.
func shiftedLevel(_ level: Int, isMinus: Bool) -> Float { Float(level - 1) + (isMinus ? -0.125 : 0.125) }

/// 32 elements with one shift; `nil` when no trial has a quality.
func fitTernary(_ x: Span<Float>, weights: Span<Float>) -> TernaryFit? {
    let count = x.count
    let order = sortedIndices(x)
    var sumX: [Float] = [0]
    var sumW: [Float] = [0]
    for i in order {
        sumX.append(sumX[sumX.count - 1] + weights[i] * x[i])
        sumW.append(sumW[sumW.count - 1] + weights[i])
    }
    var best: (scale: Float, first: Int, second: Int, isMinus: Bool)?
    var quality = -Float.greatestFiniteMagnitude
    for first in 0...count {
        for second in first...count {
            for isMinus in [false, true] {
                let q = (0..<3).map { shiftedLevel($0, isMinus: isMinus) }
                let qx = (sumX[first] - sumX[0]) * q[0] + (sumX[second] - sumX[first]) * q[1]
                    + (sumX[count] - sumX[second]) * q[2]
                let q2 = (sumW[first] - sumW[0]) * q[0] * q[0] + (sumW[second] - sumW[first]) * q[1] * q[1]
                    + (sumW[count] - sumW[second]) * q[2] * q[2]
                if q2 > 0 && qx * qx > quality * q2 {
                    best = (qx / q2, first, second, isMinus)
                    quality = qx / q2 * qx
                }
            }
        }
    }
    guard let best else { return nil }
    let levels = levels(order, best.first, best.second, negated: best.scale < 0)
    let fit = TernaryFit(
        scale: best.scale.magnitude, vectors: levels,
        isMinus: [Bool](repeating: best.isMinus != (best.scale < 0), count: count / 8))
    return fit.onCodebook(x, weights)
}

/// 16 elements, each half with its own shift; `nil` when no trial has a quality.
///
/// The sums are written with the differences between the levels, which are one: Σwxq = T q₂ - S₁ - S₂ for prefix sums S₁
/// and S₂ and the total T, and the same with squares. That is how the reference does it, and the last bits depend on it.
func fitTernaryHalves(_ x: Span<Float>, weights: Span<Float>) -> TernaryFit? {
    let order = sortedIndices(x)
    let zeros = [Float](repeating: 0, count: x.count + 1)
    var sumX = [zeros, zeros]
    var sumW = [zeros, zeros]
    for (j, i) in order.enumerated() {
        let half = i / 8
        for h in 0..<2 {
            sumX[h][j + 1] = h == half ? sumX[h][j] + weights[i] * x[i] : sumX[h][j]
            sumW[h][j + 1] = h == half ? sumW[h][j] + weights[i] : sumW[h][j]
        }
    }
    var best: (scale: Float, first: Int, second: Int, shifts: Int)?
    var quality = -Float.greatestFiniteMagnitude
    for first in 0...x.count {
        for second in first...x.count {
            // [half][shift]
            var qx: [[Float]] = [[0, 0], [0, 0]]
            var q2 = qx
            for half in 0..<2 {
                for shift in 0..<2 {
                    let q = (0..<3).map { shiftedLevel($0, isMinus: shift == 1) }
                    qx[half][shift] = sumX[half][x.count] * q[2] - (sumX[half][first] + sumX[half][second])
                    q2[half][shift] = sumW[half][x.count] * q[2] * q[2]
                        + sumW[half][first] * (q[0] * q[0] - q[1] * q[1])
                        + sumW[half][second] * (q[1] * q[1] - q[2] * q[2])
                }
            }
            for shifts in 0..<4 {
                let lx = qx[0][shifts / 2] + qx[1][shifts % 2]
                let l2 = q2[0][shifts / 2] + q2[1][shifts % 2]
                if l2 > 0 && lx * lx > quality * l2 {
                    best = (lx / l2, first, second, shifts)
                    quality = lx / l2 * lx
                }
            }
        }
    }
    guard let best else { return nil }
    let shifts = best.scale < 0 ? 3 - best.shifts : best.shifts
    let fit = TernaryFit(
        scale: best.scale.magnitude, vectors: levels(order, best.first, best.second, negated: best.scale < 0),
        isMinus: [shifts / 2 == 1, shifts % 2 == 1])
    return fit.onCodebook(x, weights)
}

/// Indices in the order of the elements, those of equal ones in their own.
private func sortedIndices(_ x: Span<Float>) -> [Int] {
    x.indices.sorted { x[$0] != x[$1] ? x[$0] < x[$1] : $0 < $1 }
}

/// Packed levels: 0 before the first place in the order, 1 before the second, then 2; or the other way round.
private func levels(_ order: [Int], _ first: Int, _ second: Int, negated: Bool) -> [UInt16] {
    var vectors = [UInt16](repeating: 0, count: order.count / 8)
    for (j, i) in order.enumerated() {
        let level: UInt16 = j < first ? 0 : j < second ? 1 : 2
        vectors[i / 8] |= (negated ? 2 - level : level) << UInt16(i % 8 * 2)
    }
    return vectors
}

extension TernaryFit {
    /// The same with vectors that the codebook has.
    fileprivate func onCodebook(_ x: Span<Float>, _ weights: Span<Float>) -> TernaryFit {
        var fit = self
        for group in vectors.indices {
            let part = 8 * group..<8 * group + 8
            fit.vectors[group] = Codebook.iq1.nearest(
                to: vectors[group], x.extracting(part), weights: weights.extracting(part), scale: scale
            ) { shiftedLevel($0, isMinus: isMinus[group]) }
        }
        if fit.vectors == vectors { return fit }
        var qx: Float = 0
        var q2: Float = 0
        for i in x.indices {
            let q = shiftedLevel(Codebook.iq1.level(fit.vectors[i / 8], i % 8), isMinus: isMinus[i / 8])
            qx += weights[i] * q * x[i]
            q2 += weights[i] * q * q
        }
        if qx > 0 && q2 > 0 { fit.scale = qx / q2 }
        return fit
    }
}
