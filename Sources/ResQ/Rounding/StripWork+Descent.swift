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
extension StripWork {
    /// - Parameters:
    ///   - targets: W, as the strip was before rounding.
    ///   - hessian: H + δ I by position, `[n, n]`.
    mutating func descend(from targets: [Float], hessian: [Float], sweeps: Int) {
        let n = columnCount
        var gradient = [Float](repeating: 0, count: n * height)
        var change = targets
        for index in change.indices { change[index] = weights[index] - targets[index] }
        add(change, of: 0..<n, to: &gradient, hessian)
        for _ in 0..<sweeps {
            for part in layouts.indices {
                let columns = layouts[part].columns
                let width = min(layouts[part].groupWidth, columns.count)
                let movesScales = layouts[part].groupsPerBlock == 1
                if movesScales, width > blockWidth { moveScale(part: part, columns, &gradient, hessian) }
                let step = width > blockWidth ? blockWidth : width
                for first in stride(from: columns.lowerBound, to: columns.upperBound, by: step) {
                    let block = first..<min(first + step, columns.upperBound)
                    if movesScales, width <= blockWidth { moveScale(part: part, block, &gradient, hessian) }
                    moveLevels(part: part, block, &gradient, hessian)
                }
            }
        }
    }

    /// G ← G + H[:, columns] Δ.
    private func add(_ change: [Float], of columns: Range<Int>, to gradient: inout [Float], _ hessian: [Float]) {
        let (n, height) = (columnCount, height)
        unsafe gradient.withUnsafeMutableBufferPointer { gradient in
            unsafe change.withUnsafeBufferPointer { change in
                unsafe hessian.withUnsafeBufferPointer { hessian in
                    // H is symmetric: its rows of these columns, transposed. `[n, n]`, `[columns, height]` and `[n, height]` are all there.
                    unsafe gemm(
                        transposeA: true, transposeB: false, m: n, n: height, k: columns.count, alpha: 1,
                        a: hessian.baseAddress! + columns.lowerBound * n, aStride: n, b: change.baseAddress!, bStride: height, beta: 1,
                        c: gradient.baseAddress!, cStride: height)
                }
            }
        }
    }

    /// Moves the one scale of some columns, in each row where that lowers the error.
    private mutating func moveScale(part: Int, _ columns: Range<Int>, _ gradient: inout [Float], _ hessian: [Float]) {
        let (layout, n) = (layouts[part], columnCount)
        let group = group(of: columns.lowerBound, in: part)
        let start = columns.lowerBound * height
        var units = [Float](repeating: 0, count: columns.count * height)
        if let codebook = layout.grid.codebook {
            for index in units.indices { units[index] = codebook[Int(levels[start + index])] }
        } else {
            for index in units.indices { units[index] = Float(levels[start + index]) }
        }
        var curved = [Float](repeating: 0, count: columns.count * height)
        unsafe curved.withUnsafeMutableBufferPointer { curved in
            unsafe units.withUnsafeBufferPointer { units in
                unsafe hessian.withUnsafeBufferPointer { hessian in
                    // The square of H of these columns, `[columns, columns]`, and `[columns, height]`.
                    unsafe gemm(
                        transposeA: true, transposeB: false, m: columns.count, n: height, k: columns.count, alpha: 1,
                        a: hessian.baseAddress! + columns.lowerBound * (n + 1), aStride: n, b: units.baseAddress!, bStride: height, beta: 0,
                        c: curved.baseAddress!, cStride: height)
                }
            }
        }
        var (slopes, curvatures) = ([Float](repeating: 0, count: height), [Float](repeating: 0, count: height))
        for first in stride(from: 0, to: units.count, by: height) {
            for row in 0..<height {
                let unit = units[first + row]
                slopes[row] += unit * gradient[start + first + row]
                curvatures[row] += unit * curved[first + row]
            }
        }
        var moves = false
        for row in 0..<rowCount where curvatures[row] > 0 {
            let now = fitted[part].scales[group * height + row]
            let next = layout.grid.storedScale(now - slopes[row] / curvatures[row])
            let step = next - now
            guard next != 0, step != 0, 2 * step * slopes[row] + step * step * curvatures[row] < 0 else { continue }
            moves = true
            fitted[part].scales[group * height + row] = next
            fitted[part].blocks[group]?.superScales[row] = next
        }
        guard moves else { return }
        let scales = Array(fitted[part].scales[group * height..<(group + 1) * height])
        let offsets = Array(fitted[part].offsets[group * height..<(group + 1) * height])
        for first in stride(from: 0, to: units.count, by: height) {
            for row in 0..<height {
                // As a decoder computes it, so that no difference adds up; a scale that stands changes nothing.
                let value = scales[row] * units[first + row] + offsets[row]
                units[first + row] = value - weights[start + first + row]
                weights[start + first + row] = value
            }
        }
        add(units, of: columns, to: &gradient, hessian)
    }

    private mutating func moveLevels(part: Int, _ block: Range<Int>, _ gradient: inout [Float], _ hessian: [Float]) {
        let codebook = layouts[part].grid.codebook ?? []
        let groups = block.map { Int32(group(of: $0, in: part)) }
        var change = [Float](repeating: 0, count: block.count * height)
        // Columns of the strip; the scales are those of all groups of the part.
        unsafe resq_descend_columns(
            &weights, &change, &levels, gradient, hessian, columnCount, block.lowerBound, block.count, height, fitted[part].scales,
            fitted[part].offsets, fitted[part].lows, fitted[part].highs, codebook, codebook.isEmpty ? 0 : 1, groups)
        add(change, of: block, to: &gradient, hessian)
    }
}
