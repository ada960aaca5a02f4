import CKernels

/// The grids of ggml's block types, as numbers: which values a block can hold, not how it is stored.
///
///     Q4_0, Q5_0, Q8_0    32 columns       d q
///     Q4_1, Q5_1          32 columns       d u + m
///     IQ4_NL              32 columns       d codebook[u]
///     Q3_K, Q6_K          16 of 256        d sc q                 sc in -32 ... 31, -128 ... 127
///     Q2_K                16 of 256        d sc u - dmin mn       sc, mn in 0 ... 15
///     Q4_K, Q5_K          32 of 256        d sc u - dmin mn       sc, mn in 0 ... 63
///     IQ4_XS              32 of 256        d sc codebook[u]       sc in -32 ... 31
///
/// d, m and dmin are binary16. In `BlockScales` d is the super-scale and sc the sub-scale, dmin the super-offset and mn
/// the sub-offset; m is -(super-offset · 1). Levels: q as written, u from 0. Layouts and products as in ggml.
///
/// Scales are found by trying several, each with the least-squares scale (and offset) for its levels, and judged by
/// Σ importance · (w - ŵ)². A block's 6-bit scales are then rounded against several d, the best by the same measure.
public enum BlockGrid: String, Grid, CaseIterable {
    case q4_0, q4_1, q5_0, q5_1, q8_0, q2_K, q3_K, q4_K, q5_K, q6_K, iq4_nl, iq4_xs

    public var blockWidth: Int? {
        switch self {
        case .q4_0, .q4_1, .q5_0, .q5_1, .q8_0, .iq4_nl: 32
        case .q2_K, .q3_K, .q4_K, .q5_K, .q6_K, .iq4_xs: 256
        }
    }

    public var groupWidth: Int? {
        switch self {
        case .q2_K, .q3_K, .q6_K: 16
        case .q4_0, .q4_1, .q5_0, .q5_1, .q8_0, .iq4_nl, .q4_K, .q5_K, .iq4_xs: 32
        }
    }

    public var allowsShortBlock: Bool { false }

    public var codebook: [Float]? {
        switch self {
        case .iq4_nl, .iq4_xs: [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]
        default: nil
        }
    }

    /// Least and largest level.
    private var levels: (low: Float, high: Float) {
        switch self {
        case .q4_0: (-8, 7)
        case .q5_0: (-16, 15)
        case .q8_0: (-127, 127)
        case .q3_K: (-4, 3)
        case .q6_K: (-32, 31)
        case .q4_1, .q4_K, .iq4_nl, .iq4_xs: (0, 15)
        case .q5_1, .q5_K: (0, 31)
        case .q2_K: (0, 3)
        }
    }

    /// Whether values have an offset.
    private var isAffine: Bool {
        switch self {
        case .q4_1, .q5_1, .q2_K, .q4_K, .q5_K: true
        default: false
        }
    }

    /// Least and largest sub-scale; nil without a second level.
    private var subScales: (low: Float, high: Float)? {
        switch self {
        case .q2_K: (0, 15)
        case .q4_K, .q5_K: (0, 63)
        case .q3_K, .iq4_xs: (-32, 31)
        case .q6_K: (-128, 127)
        default: nil
        }
    }

    public func storedScale(_ scale: Float) -> Float { ScaleType.float16.rounded(scale) }

    public func fit(_ block: WeightStrip) -> BlockScales {
        let groupCount = block.columnCount / (groupWidth ?? block.columnCount)
        let rows = block.rowCount
        var fits: [GroupFit] = []
        for group in 0..<groupCount { fits.append(fit(block, group: group)) }
        var scales = BlockScales(rowCount: rows, groupCount: groupCount, low: levels.low, high: levels.high)
        if let subScales {
            for row in 0..<rows {
                let (d, codes) = Self.twoLevels(fits.map { $0.scales[row] }, weights: fits.map { $0.squares[row] }, range: subScales)
                scales.superScales[row] = d
                for group in 0..<groupCount { scales.subScales[group * rows + row] = codes[group] }
                if isAffine {
                    let (m, codes) = Self.twoLevels(
                        fits.map { -$0.offsets[row] }, weights: fits.map { _ in 1 }, range: subScales)
                    scales.superOffsets[row] = m
                    for group in 0..<groupCount { scales.subOffsets[group * rows + row] = codes[group] }
                }
            }
        } else {
            for row in 0..<rows {
                scales.superScales[row] = ScaleType.float16.rounded(fits[0].scales[row])
                if isAffine { scales.superOffsets[row] = -ScaleType.float16.rounded(fits[0].offsets[row]) }
            }
        }
        return scales
    }

    /// Scale and offset of one group for each row, not yet rounded, and what an error of the scale costs.
    private struct GroupFit {
        var scales: [Float]
        var offsets: [Float]
        var squares: [Float]
    }

    private func fit(_ block: WeightStrip, group: Int) -> GroupFit {
        let (rows, width) = (block.rowCount, groupWidth ?? block.columnCount)
        let weights = Array(block.weights[group * width * rows..<(group + 1) * width * rows])
        let importance = Array(block.importance[group * width..<(group + 1) * width])
        var scales = [Float](repeating: 0, count: rows)
        var offsets = scales
        // The strip is full: columns · rows weights, an importance per column; the results have a number per row.
        if isAffine {
            // Values above the smallest are spread over a little less or more than all codes.
            let widenings = (0..<21).map { -1 + 0.1 * Float($0) }
            unsafe resq_search_affine(
                weights, width, rows, importance, widenings, widenings.count, levels.high, subScales == nil ? 0 : 1, &scales, &offsets)
        } else {
            // The element of largest magnitude goes to one end of the grid or the other, or somewhat beyond it.
            let ends = codebook.map { [$0[0], $0[15]] } ?? [levels.low, levels.high]
            let factors = ends.flatMap { end in (0..<15).map { 1 / (end * (1.04 - 0.03 * Float($0))) } }
            unsafe resq_search_scale(
                weights, width, rows, importance, factors, factors.count, levels.low, levels.high, codebook, 1, 1, RESQ_SQUARE, &scales)
        }
        // For equal relative errors of the levels, the cost of a change of scale grows as the weighted Σ level² ∝ Σ w² / s².
        var squares = [Float](repeating: 0, count: rows)
        for column in 0..<width {
            for row in 0..<rows {
                let weight = weights[column * rows + row]
                squares[row] += importance[column] * weight * weight
            }
        }
        for row in 0..<rows { squares[row] = scales[row] == 0 ? 0 : squares[row] / (scales[row] * scales[row]) }
        return GroupFit(scales: scales, offsets: offsets, squares: squares)
    }

    /// Numbers as d · integer: the d in binary16, of several that map the largest magnitude to one end or near it, with the
    /// least Σ weight (x - d · code)².
    static func twoLevels(_ numbers: [Float], weights: [Float], range: (low: Float, high: Float)) -> (d: Float, codes: [Int16]) {
        let largest = numbers.max { abs($0) < abs($1) } ?? 0
        guard largest != 0, numbers.allSatisfy(\.isFinite) else { return (0, Array(repeating: 0, count: numbers.count)) }
        var (best, bestCodes, least) = (Float(0), [Int16](repeating: 0, count: numbers.count), Float.infinity)
        for end in range.low < 0 ? [range.low, range.high] : [range.high] {
            for step in 0..<9 {
                let d = ScaleType.float16.rounded(largest / (end * (1 - 0.0125 * Float(step))))
                guard d != 0 else { continue }
                var (codes, total) = ([Int16](), Float(0))
                for (number, weight) in zip(numbers, weights) {
                    let code = min(max((number / d).rounded(.toNearestOrEven), range.low), range.high)
                    let error = number - d * code
                    total += weight * error * error
                    codes.append(Int16(code))
                }
                if total < least { (best, bestCodes, least) = (d, codes, total) }
            }
        }
        return (best, bestCodes)
    }
}
