// The search of the types of two and three bits with codebooks: x ≈ scale * (2 * level + 1) * sign, where the levels of
// each 8 (or 4) elements are a vector of the codebook.

/// How a codebook type finds the scale of a group and the vectors for it.
///
/// For each of some scalings, every element is rounded to the nearest level, and vectors that the codebook lacks give way to
/// the nearest that it has. The scaling with the largest (Σwxq)² / Σwq², q = 2 * level + 1, wins, and its scale is
/// Σwxq / Σwq². With that scale, vectors are looked for once more, and the scale follows them.
struct CodebookSearch: Sendable {
    /// Which vectors are looked for again.
    enum Refinement { case offCodebook, allIfOneIsOff, all }

    let codebook: Codebook
    let steps: ClosedRange<Int>
    let stepSize: Float
    let refinement: Refinement

    static let iq2xxs = CodebookSearch(codebook: .iq2xxs, steps: -6...6, stepSize: 0.1, refinement: .all)
    static let iq2xs = CodebookSearch(codebook: .iq2xs, steps: -9...9, stepSize: 0.1, refinement: .offCodebook)
    static let iq2s = CodebookSearch(codebook: .iq2s, steps: -9...9, stepSize: 0.1, refinement: .offCodebook)
    static let iq3xxs = CodebookSearch(codebook: .iq3xxs, steps: -15...15, stepSize: 0.2, refinement: .offCodebook)
    static let iq3s = CodebookSearch(codebook: .iq3s, steps: -9...9, stepSize: 0.2, refinement: .allIfOneIsOff)

    /// - Parameters:
    ///   - x: magnitudes; see `splitSigns`.
    ///   - largest: the number that maps to the largest level where the step is 0.
    ///   - first: the scale to start from.
    /// - Returns: the scale, and the packed vectors.
    func fit(_ x: Span<Float>, weights: Span<Float>, largest: Float, first: Float) -> (scale: Float, vectors: [UInt16]) {
        let roots = weights.indices.map { weights[$0].squareRoot() }
        let groups = x.count / codebook.dimension
        let top = Float(2 * codebook.levelCount - 1)
        var scale = first
        var vectors = [UInt16](repeating: 0, count: groups)
        // Without a winner all vectors are that of the lowest levels, which every codebook has.
        var isOff = [Bool](repeating: refinement == .allIfOneIsOff, count: groups)
        var quality: Float = 0
        var trial = vectors
        for step in steps {
            let inverse = (top + Float(step) * stepSize) / largest
            let rounded = (0..<groups).map { self.rounded(x, $0, inverse: inverse) }
            for group in 0..<groups { trial[group] = nearest(rounded[group], x, roots.span, group, scale: 1 / inverse) }
            let (qx, q2) = sums(x, weights, trial)
            if q2 > 0 && qx * qx > quality * q2 {
                scale = qx / q2
                quality = scale * qx
                vectors = trial
                for group in 0..<groups { isOff[group] = !codebook.contains(rounded[group]) }
            }
        }

        let again =
            switch refinement {
            case .offCodebook: isOff
            case .allIfOneIsOff: isOff.map { _ in isOff.contains(true) }
            case .all: isOff.map { _ in true }
            }
        if again.contains(true) && scale > 0 {
            let inverse = 1 / scale
            for group in 0..<groups where again[group] {
                vectors[group] = nearest(rounded(x, group, inverse: inverse), x, roots.span, group, scale: scale)
            }
            let (qx, q2) = sums(x, weights, vectors)
            if q2 > 0 { scale = qx / q2 }
        }
        return (scale, vectors)
    }

    /// The packed nearest levels of the elements of a group.
    private func rounded(_ x: Span<Float>, _ group: Int, inverse: Float) -> UInt16 {
        var vector: UInt16 = 0
        for i in 0..<codebook.dimension {
            let value = 0.5 * (inverse * x[group * codebook.dimension + i] - 1)
            let level = nearestInteger(value, in: 0...Int32(codebook.levelCount - 1))
            vector |= UInt16(level) << UInt16(i * codebook.bitWidth)
        }
        return vector
    }

    private func nearest(_ vector: UInt16, _ x: Span<Float>, _ roots: Span<Float>, _ group: Int, scale: Float) -> UInt16 {
        let part = group * codebook.dimension..<(group + 1) * codebook.dimension
        return codebook.nearest(to: vector, x.extracting(part), weights: roots.extracting(part), scale: scale) {
            Float(2 * $0 + 1)
        }
    }

    /// Σwxq and Σwq².
    private func sums(_ x: Span<Float>, _ weights: Span<Float>, _ vectors: [UInt16]) -> (qx: Float, q2: Float) {
        var qx: Float = 0
        var q2: Float = 0
        for i in x.indices {
            let q = Float(2 * codebook.level(vectors[i / codebook.dimension], i % codebook.dimension) + 1)
            qx += weights[i] * x[i] * q
            q2 += weights[i] * q * q
        }
        return (qx, q2)
    }
}

/// Magnitudes, and a byte of signs for every eight elements.
///
/// Where only an even number of minus signs can be stored, the least important of the eight elements takes the wrong sign
/// if need be: its "magnitude" is then negative. Seven signs are returned in that case; see `evenSigns`.
func splitSigns(_ x: Span<Float>, weights: Span<Float>, even: Bool) -> (magnitudes: [Float], signs: [UInt8]) {
    var magnitudes = [Float](repeating: 0, count: x.count)
    var signs = [UInt8](repeating: 0, count: x.count / 8)
    for group in signs.indices {
        let start = group * 8
        for i in 0..<8 {
            let isNegative = !(x[start + i] >= 0)
            magnitudes[start + i] = isNegative ? -x[start + i] : x[start + i]
            if isNegative { signs[group] |= 1 << UInt8(i) }
        }
        guard even else { continue }
        if signs[group].nonzeroBitCount % 2 == 1 {
            var least = 0
            var smallest = weights[start] * x[start] * x[start]
            for i in 1..<8 {
                let importance = weights[start + i] * x[start + i] * x[start + i]
                if importance < smallest {
                    smallest = importance
                    least = i
                }
            }
            magnitudes[start + least] = -magnitudes[start + least]
            signs[group] ^= 1 << UInt8(least)
        }
        signs[group] &= 127
    }
    return (magnitudes, signs)
}

/// The largest element, itself rather than its magnitude.
func largest(_ x: Span<Float>) -> Float {
    var largest = x[0]
    for i in 1..<x.count { largest = largest > x[i] ? largest : x[i] }
    return largest
}

/// The four-bit code of a scale: the nearest k to scale = unit * (2k + 1).
func scaleCode(_ scale: Float, inverseUnit: Float, largest: Int32 = 15) -> UInt8 {
    UInt8(nearestInteger(0.5 * (inverseUnit * scale - 1), in: 0...largest))
}
