import CKernels
import LinearAlgebra

/// What became of a strip of rows.
struct RoundedStrip: Sendable {
    struct Part: Sendable {
        var superScales, superOffsets: [Float]
        var subScales, subOffsets, lows: [Int16]
    }

    /// Row after row, columns as in the matrix.
    var levels: [Int16]
    var parts: [Part]
    var loss: Double
}

/// The rounding of one strip of rows; see `round(_:to:factor:dynamicGroups:threadCount:)`.
///
/// Weights are held column after column in the order of rounding, rows padded with zeros to whole vectors, so that
/// row r of column c is lane r of the vectors at `c · height`.
struct StripWork {
    let layouts: [PartLayout]
    let factor: HessianFactor
    /// U, empty if errors are not compensated.
    private let upper: [Float]
    private var compensates: Bool { !upper.isEmpty }
    let dynamicGroups: Bool
    let rowCount: Int
    /// Rows and padding.
    let height: Int
    let columnCount: Int
    var weights: [Float]
    var levels: [Int16]
    private var errors: [Float]
    private var loss: [Float]
    private var lossTotal = 0.0
    var fitted: [FittedPart]
    let blockWidth = 128

    /// The scales of a part, by group and row.
    struct FittedPart {
        var blocks: [BlockScales?]
        var scales, offsets, lows, highs: [Float]
    }

    init(_ matrix: Matrix<Float>, rows: Range<Int>, layouts: [PartLayout], factor: HessianFactor, dynamicGroups: Bool) {
        self.layouts = layouts
        self.factor = factor
        upper = factor.upper?.elements ?? []
        self.dynamicGroups = dynamicGroups
        let n = matrix.columnCount
        let height = (rows.count + 15) / 16 * 16
        (rowCount, self.height, columnCount) = (rows.count, height, n)
        weights = Array(repeating: 0, count: height * n)
        for (index, row) in rows.enumerated() {
            for position in 0..<n { weights[position * height + index] = matrix.elements[row * n + factor.order[position]] }
        }
        levels = Array(repeating: 0, count: height * n)
        errors = Array(repeating: 0, count: height * blockWidth)
        loss = Array(repeating: 0, count: height)
        fitted = layouts.map { layout in
            let zeros = [Float](repeating: 0, count: layout.groupCount * height)
            return FittedPart(
                blocks: Array(repeating: nil, count: layout.blockCount), scales: zeros, offsets: zeros, lows: zeros, highs: zeros)
        }
    }

    /// - Parameter sweeps: of coordinate descent afterwards; they need the factor's matrix.
    mutating func run(sweeps: Int) -> RoundedStrip {
        let targets = sweeps > 0 ? weights : []
        if !dynamicGroups {
            // Blocks are of neighbouring columns, wherever the order puts these.
            let positions = inversePermutation(factor.order)
            for part in layouts.indices {
                for block in 0..<layouts[part].blockCount { fit(part: part, block: block) { positions[$0] } }
            }
        }
        var start = 0
        while start < columnCount {
            let end = blockEnd(from: start)
            roundBlock(start..<end)
            compensate(start..<end)
            start = end
        }
        if sweeps > 0, compensates, let matrix = factor.matrix { descend(from: targets, hessian: matrix.elements, sweeps: sweeps) }
        return result()
    }

    /// The group of a position in its part.
    func group(of position: Int, in part: Int) -> Int {
        ((dynamicGroups ? position : factor.order[position]) - layouts[part].columns.lowerBound) / layouts[part].groupWidth
    }

    /// A block ends after 128 columns, with its part, or where scales must be fixed from columns beyond its end.
    private func blockEnd(from start: Int) -> Int {
        let layout = layouts[partIndex(start)]
        let end = min(start + blockWidth, layout.columns.upperBound)
        guard dynamicGroups else { return end }
        let first = layout.columns.lowerBound
        let lastFit = first + (end - 1 - first) / layout.blockWidth * layout.blockWidth
        return lastFit > start && lastFit + layout.blockWidth > end && end < layout.columns.upperBound ? lastFit : end
    }

    private func partIndex(_ column: Int) -> Int { layouts.firstIndex { $0.columns.contains(column) } ?? 0 }

    /// Fixes the scales of a block from its columns as they are now; `position` maps a column of it to where it is held.
    private mutating func fit(part: Int, block: Int, position: (Int) -> Int) {
        let layout = layouts[part]
        let first = layout.columns.lowerBound + block * layout.blockWidth
        let columns = first..<min(first + layout.blockWidth, layout.columns.upperBound)
        var (strip, importance) = ([Float](), [Float]())
        strip.reserveCapacity(columns.count * height)
        for column in columns {
            let place = position(column)
            strip.append(contentsOf: weights[place * height..<(place + 1) * height])
            importance.append(factor.importance[factor.order[place]])
        }
        let scales = layout.grid.fit(WeightStrip(rowCount: height, columnCount: columns.count, weights: strip, importance: importance))
        for group in 0..<scales.groupCount {
            let target = (block * layout.groupsPerBlock + group) * height
            for row in 0..<height {
                let source = group * height + row
                fitted[part].scales[target + row] = scales.superScales[row] * Float(scales.subScales[source])
                fitted[part].offsets[target + row] = -(scales.superOffsets[row] * Float(scales.subOffsets[source]))
                fitted[part].lows[target + row] = scales.lows[source]
                fitted[part].highs[target + row] = scales.highs[source]
            }
        }
        fitted[part].blocks[block] = scales
    }

    /// Rounds the columns of a block, whose weights the blocks before have been compensated in.
    private mutating func roundBlock(_ block: Range<Int>) {
        let part = partIndex(block.lowerBound)
        let layout = layouts[part]
        let first = layout.columns.lowerBound
        // The group of each column, by its place in the block.
        let groups = block.map { Int32(group(of: $0, in: part)) }
        let codebook = layout.grid.codebook ?? []
        var start = block.lowerBound
        while start < block.upperBound {
            var end = block.upperBound
            if dynamicGroups {
                let index = (start - first) / layout.blockWidth
                end = min(end, first + (index + 1) * layout.blockWidth)
                // The columns of this block of scales must be up to date before it is fixed.
                if compensates, start > block.lowerBound {
                    // Columns of the block, whose corner of U begins at its first column.
                    unsafe resq_compensate_columns(
                        &weights, errors, upper, columnCount, block.lowerBound, start - block.lowerBound, end - block.lowerBound, height)
                }
                if fitted[part].blocks[index] == nil { fit(part: part, block: index) { $0 } }
            }
            // The strip's arrays hold all columns, `errors` those of a block, the scales all groups of the part.
            unsafe resq_round_columns(
                &weights, &errors, &levels, &loss, upper, compensates ? 1 : 0, columnCount, block.lowerBound,
                start - block.lowerBound, end - block.lowerBound, height, fitted[part].scales, fitted[part].offsets,
                fitted[part].lows, fitted[part].highs, codebook, codebook.isEmpty ? 0 : 1, groups)
            start = end
        }
        for row in 0..<rowCount { lossTotal += Double(loss[row]) }
        for row in 0..<height { loss[row] = 0 }
    }

    /// Moves the errors of a block into all columns behind it:  W[:, j] ← W[:, j] - Σ_k E[:, k] U[k, j].
    private mutating func compensate(_ block: Range<Int>) {
        let (end, n, height) = (block.upperBound, columnCount, height)
        guard compensates, end < n else { return }
        unsafe weights.withUnsafeMutableBufferPointer { weights in
            unsafe errors.withUnsafeBufferPointer { errors in
                unsafe upper.withUnsafeBufferPointer { upper in
                    // Rows of the block and columns behind it of U, `[n, n]`; as many columns of weights.
                    unsafe gemm(
                        transposeA: true, transposeB: false, m: n - end, n: height, k: block.count, alpha: -1,
                        a: upper.baseAddress! + block.lowerBound * n + end, aStride: n, b: errors.baseAddress!, bStride: height, beta: 1,
                        c: weights.baseAddress! + end * height, cStride: height)
                }
            }
        }
    }

    private func result() -> RoundedStrip {
        var ordered = [Int16](repeating: 0, count: rowCount * columnCount)
        for (position, column) in factor.order.enumerated() {
            for row in 0..<rowCount { ordered[row * columnCount + column] = levels[position * height + row] }
        }
        let parts = zip(layouts, fitted).map { layout, fitted in
            let blocks = fitted.blocks.compactMap { $0 }
            var part = RoundedStrip.Part(superScales: [], superOffsets: [], subScales: [], subOffsets: [], lows: [])
            for row in 0..<rowCount {
                for block in blocks {
                    part.superScales.append(block.superScales[row])
                    part.superOffsets.append(block.superOffsets[row])
                    for group in 0..<block.groupCount {
                        part.subScales.append(block.subScales[group * height + row])
                        part.subOffsets.append(block.subOffsets[group * height + row])
                        part.lows.append(Int16(block.lows[group * height + row]))
                    }
                }
            }
            return part
        }
        return RoundedStrip(levels: ordered, parts: parts, loss: lossTotal)
    }
}
