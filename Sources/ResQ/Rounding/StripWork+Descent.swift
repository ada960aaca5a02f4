import CKernels
import LinearAlgebra

/// What GPTQ left, improved in turns; W are the weights and Ŵ = s v the values, v a level or an entry of a codebook.
///
///     G = H (Ŵ - W), half the gradient of tr((Ŵ - W)ᵀ H (Ŵ - W)), H damped
///     scales of a group:  s ← s - vᵀ G_g / vᵀ H_gg v           levels:  ŵ_c ← nearest value to ŵ_c - G_c / H_cc
///
/// GPTQ rounds a column once, before it knows what becomes of those behind it, and fixes scales without looking at other
/// columns. A sweep lets each scale and then each level move to its minimum while all others stand still, so that the error
/// can only fall. Only scales that a file holds one by one are moved. Source: coordinate descent as in CDQuant
/// (arXiv 2406.17542) and QuantEase (arXiv 2309.01885); the step of the scales follows from the same quadratic.
///
/// H Ŵ is kept part by part, so that the one scale of a whole part needs no product with H: it multiplies its part's H Ŵ.
/// Other changes are gathered over a block of columns and go into H Ŵ in one product.
extension StripWork {
    /// What the values of a strip attain of what they should, `[n, height]` each.
    private struct Products {
        let hessian: [Float]
        /// H W.
        var wanted: [Float]
        /// H Ŵ of each part's columns.
        var attained: [[Float]]
    }

    /// - Parameters:
    ///   - targets: W, as the strip was before rounding.
    ///   - hessian: H + δ I by position, `[n, n]`.
    mutating func descend(from targets: [Float], hessian: [Float], sweeps: Int) {
        let zeros = [Float](repeating: 0, count: columnCount * height)
        var products = Products(hessian: hessian, wanted: zeros, attained: layouts.map { _ in zeros })
        add(targets, of: 0..<columnCount, to: &products.wanted, hessian)
        for (part, layout) in layouts.enumerated() {
            add(values(of: layout.columns), of: layout.columns, to: &products.attained[part], hessian)
        }
        for _ in 0..<sweeps {
            for part in layouts.indices { sweep(part, &products) }
        }
    }

    private mutating func sweep(_ part: Int, _ products: inout Products) {
        let layout = layouts[part]
        let isOneGroup = layout.groupCount == 1 && !fitted[part].offsets.contains { $0 != 0 }
        let movesScales = layout.groupsPerBlock == 1
        if movesScales, isOneGroup { scaleWhole(part, &products) }
        // Blocks of whole groups where each group's scale moves before its levels do.
        let movesGroups = movesScales && !isOneGroup
        let group = movesGroups ? layout.groupWidth : blockWidth
        let step = max(group, blockWidth / group * group)
        for first in stride(from: layout.columns.lowerBound, to: layout.columns.upperBound, by: step) {
            let block = first..<min(first + step, layout.columns.upperBound)
            let before = values(of: block)
            var gradient = gradient(of: block, products)
            for first in stride(from: block.lowerBound, to: block.upperBound, by: group) {
                let columns = first..<min(first + group, block.upperBound)
                if movesGroups { moveScale(part, columns, in: block, &gradient, products.hessian) }
                for first in stride(from: columns.lowerBound, to: columns.upperBound, by: blockWidth) {
                    moveLevels(part, first..<min(first + blockWidth, columns.upperBound), in: block, &gradient, products.hessian)
                }
            }
            var change = values(of: block)
            add(before, 0..<before.count, times: -1, to: &change)
            add(change, of: block, to: &products.attained[part], products.hessian)
        }
    }

    private func values(of columns: Range<Int>) -> [Float] { Array(weights[columns.lowerBound * height..<columns.upperBound * height]) }

    /// G of some columns, `[columns, height]`.
    private func gradient(of columns: Range<Int>, _ products: Products) -> [Float] {
        let range = columns.lowerBound * height..<columns.upperBound * height
        var sum = Array(products.attained[0][range])
        for other in products.attained.dropFirst() { add(other, range, times: 1, to: &sum) }
        add(products.wanted, range, times: -1, to: &sum)
        return sum
    }

    /// sum ← sum + factor · x[range]
    private func add(_ x: [Float], _ range: Range<Int>, times factor: Float, to sum: inout [Float]) {
        precondition(range.upperBound <= x.count && range.count == sum.count, "the columns are there")
        unsafe x.withUnsafeBufferPointer { x in
            // Whole columns of `height`, a multiple of 16.
            unsafe resq_add_multiple(&sum, x.baseAddress! + range.lowerBound, factor, range.count)
        }
    }

    /// G ← G + H[rows, columns] Δ, rows being all when `nil`.
    private func add(_ change: [Float], of columns: Range<Int>, to gradient: inout [Float], rows: Range<Int>? = nil, _ hessian: [Float]) {
        let (n, height, rows) = (columnCount, height, rows ?? 0..<columnCount)
        guard !rows.isEmpty else { return }
        precondition(change.count == columns.count * height && gradient.count == rows.count * height, "a number for every row and column")
        unsafe gradient.withUnsafeMutableBufferPointer { gradient in
            unsafe change.withUnsafeBufferPointer { change in
                unsafe hessian.withUnsafeBufferPointer { hessian in
                    // H is symmetric: its rows of the columns, transposed. `[n, n]`, `[columns, height]` and `[rows, height]` are all there.
                    unsafe gemm(
                        transposeA: true, transposeB: false, m: rows.count, n: height, k: columns.count, alpha: 1,
                        a: hessian.baseAddress! + columns.lowerBound * n + rows.lowerBound, aStride: n, b: change.baseAddress!,
                        bStride: height, beta: 1, c: gradient.baseAddress!, cStride: height)
                }
            }
        }
    }

    /// What levels stand for before scale and offset.
    private func units(_ part: Int, of columns: Range<Int>) -> [Float] {
        let levels = levels[columns.lowerBound * height..<columns.upperBound * height]
        if let codebook = layouts[part].grid.codebook { return levels.map { codebook[Int($0)] } }
        return levels.map { Float($0) }
    }

    /// Sums over columns of products of two arrays `[columns, height]`, for each row.
    private func sums(_ a: [Float], _ b: [Float]) -> [Float] {
        precondition(a.count == b.count, "as many columns")
        var sums = [Float](repeating: 0, count: height)
        unsafe resq_row_products(a, b, a.count / height, height, &sums)
        return sums
    }

    /// Moves a group's scale in each row where that lowers the error.
    /// - Parameters:
    ///   - slopes: vᵀ G of each row.
    ///   - curvatures: vᵀ H v.
    /// - Returns: each row's scale now, as a multiple of the one before; `nil` when none moved.
    private mutating func moveScales(_ part: Int, group: Int, slopes: [Float], curvatures: [Float]) -> [Float]? {
        var factors: [Float]?
        for row in 0..<rowCount where curvatures[row] > 0 {
            let now = fitted[part].scales[group * height + row]
            let next = layouts[part].grid.storedScale(now - slopes[row] / curvatures[row])
            let step = next - now
            guard now != 0, next != 0, step != 0, 2 * step * slopes[row] + step * step * curvatures[row] < 0 else { continue }
            factors = factors ?? [Float](repeating: 1, count: height)
            factors?[row] = next / now
            fitted[part].scales[group * height + row] = next
            fitted[part].blocks[group]?.superScales[row] = next
        }
        return factors
    }

    /// The values of some columns of a group, from its scales and their levels, as a decoder computes them.
    private mutating func setValues(_ part: Int, group: Int, of columns: Range<Int>, units: [Float]) {
        let scales = Array(fitted[part].scales[group * height..<(group + 1) * height])
        let offsets = Array(fitted[part].offsets[group * height..<(group + 1) * height])
        var values = units
        unsafe values.withUnsafeMutableBufferPointer { values in
            guard let start = values.baseAddress else { return }
            // `[columns, height]`, a scale and an offset for each row.
            unsafe resq_multiply_rows(start, scales, columns.count, height)
            for column in 0..<columns.count { unsafe resq_add_multiple(start + column * height, offsets, 1, height) }
        }
        weights.replaceSubrange(columns.lowerBound * height..<columns.upperBound * height, with: values)
    }

    /// Moves the one scale of a part without offsets: H Ŵ of the part is a multiple of what it was.
    private mutating func scaleWhole(_ part: Int, _ products: inout Products) {
        let columns = layouts[part].columns
        let units = units(part, of: columns)
        let slopes = sums(units, gradient(of: columns, products))
        var curvatures = sums(units, Array(products.attained[part][columns.lowerBound * height..<columns.upperBound * height]))
        for row in 0..<height where fitted[part].scales[row] != 0 { curvatures[row] /= fitted[part].scales[row] }
        guard let factors = moveScales(part, group: 0, slopes: slopes, curvatures: curvatures) else { return }
        setValues(part, group: 0, of: columns, units: units)
        // `[n, height]`, and a factor for each of `height` rows.
        unsafe resq_multiply_rows(&products.attained[part], factors, columnCount, height)
    }

    /// Moves the scale of a group, whose columns are some of a block with a gradient of its own.
    private mutating func moveScale(_ part: Int, _ columns: Range<Int>, in block: Range<Int>, _ gradient: inout [Float], _ hessian: [Float]) {
        let group = group(of: columns.lowerBound, in: part)
        let units = units(part, of: columns)
        var curved = [Float](repeating: 0, count: units.count)
        add(units, of: columns, to: &curved, rows: columns, hessian)
        let place = (columns.lowerBound - block.lowerBound) * height
        let slopes = sums(units, Array(gradient[place..<place + units.count]))
        guard moveScales(part, group: group, slopes: slopes, curvatures: sums(units, curved)) != nil else { return }
        let before = values(of: columns)
        setValues(part, group: group, of: columns, units: units)
        var change = values(of: columns)
        add(before, 0..<before.count, times: -1, to: &change)
        add(change, of: columns, to: &gradient, rows: block, hessian)
    }

    /// Moves the levels of some columns of a block, and brings the block's gradient up to date for those behind them.
    private mutating func moveLevels(_ part: Int, _ columns: Range<Int>, in block: Range<Int>, _ gradient: inout [Float], _ hessian: [Float]) {
        let codebook = layouts[part].grid.codebook ?? []
        let groups = columns.map { Int32(group(of: $0, in: part)) }
        var change = [Float](repeating: 0, count: columns.count * height)
        let place = (columns.lowerBound - block.lowerBound) * height
        let slopes = Array(gradient[place..<place + change.count])
        // Columns of the strip, and their slopes; the scales are those of all groups of the part.
        unsafe resq_descend_columns(
            &weights, &change, &levels, slopes, hessian, columnCount, columns.lowerBound, columns.count, height, fitted[part].scales,
            fitted[part].offsets, fitted[part].lows, fitted[part].highs, codebook, codebook.isEmpty ? 0 : 1, groups)
        if columns.upperBound < block.upperBound { add(change, of: columns, to: &gradient, rows: block, hessian) }
    }
}
