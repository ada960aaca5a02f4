import CKernels

/// Evenly spaced integers with a float scale: int2 to int8, symmetric or with a zero point.
///
///     symmetric:   w ≈ s q,        q in -2^(b-1) ... 2^(b-1) - 1,   s = p · max|w| / (2^(b-1) - 1)
///     asymmetric:  w ≈ s (u - z),  u in 0 ... 2^b - 1,   s = p (max - min) / (2^b - 1),  z = round(-p min / s),  min ≤ 0 ≤ max
///
/// p = 1, or the best of a clip search: of the p tried, the one whose values have the least Σ h |w - ŵ|^ν, the first of
/// equals. Source: GPTQ's quantizer (arXiv 2210.17323) as QuaRot and ResQ use it, with ν = 2.4, p = 1, 0.99, …, 0.21.
/// Asymmetric levels are q = u - z, so that `low` is -z. `zero point` z lies in 0 ... 2^b - 1, since 0 is in the range.
public struct IntegerGrid: Grid {
    /// Which weights share a scale.
    public enum Granularity: Sendable, Equatable {
        /// All columns of a row: per output channel.
        case row
        /// So many neighbouring columns of a row; the last group may be smaller.
        case group(Int)
        /// All weights: the largest magnitude (symmetric) or extremes of the whole matrix.
        case tensor(least: Float, most: Float)
    }

    /// How the scale is searched.
    public enum ClipSearch: Sendable, Equatable {
        /// p = 1.
        case none
        /// The paper's: ν = 2.4, all columns alike.
        case paper
        /// ν = 2, columns weighted by importance.
        case weighted
    }

    public let bits: Int
    public let isSymmetric: Bool
    public let granularity: Granularity
    public let clipSearch: ClipSearch
    public let scaleType: ScaleType

    /// - Throws: `bitsOutOfRange`.
    public init(
        bits: Int, isSymmetric: Bool = true, granularity: Granularity = .row, clipSearch: ClipSearch = .paper,
        scaleType: ScaleType = .float32
    ) throws(ResQError) {
        guard (2...8).contains(bits) else { throw .bitsOutOfRange(bits) }
        if case .group(let width) = granularity { precondition(width > 0, "a group has columns") }
        self.bits = bits
        self.isSymmetric = isSymmetric
        self.granularity = granularity
        self.clipSearch = clipSearch
        self.scaleType = scaleType
    }

    public var blockWidth: Int? { if case .group(let width) = granularity { width } else { nil } }
    public var groupWidth: Int? { nil }
    public var allowsShortBlock: Bool { true }
    public var codebook: [Float]? { nil }

    /// p, in the order tried.
    private var shrinks: [Float] { clipSearch == .none ? [1] : (0..<80).map { 1 - Float($0) / 100 } }

    public func storedScale(_ scale: Float) -> Float { scaleType.rounded(scale) }

    public func fit(_ block: WeightStrip) -> BlockScales {
        let largest = Float(1 << (bits - 1) - 1)
        let most = Float(1 << bits - 1)
        var scales = BlockScales(rowCount: block.rowCount, groupCount: 1, low: -largest - 1, high: largest)
        let (weights, columns, rows) = (block.weights, block.columnCount, block.rowCount)
        if case .tensor(let least, let most) = granularity {
            return fixed(scales, least: least, most: most)
        }
        let importance = clipSearch == .weighted ? block.importance : Array(repeating: 1, count: columns)
        let norm = clipSearch == .weighted ? RESQ_SQUARE : RESQ_POWER_2_4
        // The strip is full: columns · rows weights, an importance per column; the results have a number per row.
        if isSymmetric {
            let factors = shrinks.map { $0 / largest }
            unsafe resq_search_scale(
                weights, columns, rows, importance, factors, factors.count, -largest - 1, largest, nil, 0, 0, norm, &scales.superScales)
            for row in 0..<rows { scales.superScales[row] = scaleType.rounded(scales.superScales[row]) }
        } else {
            var zeros = [Float](repeating: 0, count: rows)
            let shrinks = shrinks
            unsafe resq_search_range(
                weights, columns, rows, importance, shrinks, shrinks.count, most, norm, &scales.superScales, &zeros)
            for row in 0..<rows {
                scales.superScales[row] = scaleType.rounded(scales.superScales[row])
                (scales.lows[row], scales.highs[row]) = (-zeros[row], most - zeros[row])
            }
        }
        return scales
    }

    /// One scale for all rows.
    private func fixed(_ start: BlockScales, least: Float, most: Float) -> BlockScales {
        var scales = start
        let (least, most) = (min(least, 0), max(most, 0))
        for row in 0..<scales.rowCount {
            if isSymmetric {
                scales.superScales[row] = scaleType.rounded(max(-least, most) / scales.highs[row])
            } else {
                let codes = Float(1 << bits - 1)
                let scale = (most - least) / codes
                let zero = scale > 0 ? (-least / scale).rounded(.toNearestOrEven) : 0
                scales.superScales[row] = scaleType.rounded(scale)
                (scales.lows[row], scales.highs[row]) = (-zero, codes - zero)
            }
        }
        return scales
    }
}
