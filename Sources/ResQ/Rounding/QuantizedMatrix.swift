import LinearAlgebra

/// A weight rounded to grids: one level per weight, and scales by block and group.
public struct QuantizedMatrix: Sendable {
    public let rowCount: Int
    public let columnCount: Int
    /// Row after row; the meaning of a level is its part's grid's.
    public let levels: [Int16]
    public let parts: [QuantizedPart]
    /// Σ over all weights of the squared error that GPTQ could not compensate, in the metric of the damped Hessian:
    /// tr(E (H + δ I) Eᵀ) with E = W - Ŵ. Zero when rounded to nearest.
    public let loss: Double
    public let warnings: [RoundingWarning]

    /// The values, as a decoder of the codes computes them.
    public func dequantized() -> Matrix<Float> {
        var values = Matrix<Float>(rowCount: rowCount, columnCount: columnCount)
        for part in parts {
            let codebook = part.grid.codebook
            for row in 0..<rowCount {
                for column in part.columns {
                    let group = part.group(of: column)
                    let level = levels[row * columnCount + column]
                    let (scale, offset) = (part.scale(row: row, group: group), part.offset(row: row, group: group))
                    values.elements[row * columnCount + column] =
                        if let codebook { scale * codebook[Int(level)] } else { scale * Float(level) + offset }
                }
            }
        }
        return values
    }
}

/// The scales of neighbouring columns of one grid.
public struct QuantizedPart: Sendable {
    public let columns: Range<Int>
    public let grid: any Grid
    /// Columns that share a scale; the last group may be smaller.
    public let groupWidth: Int
    /// Groups of one block, which share the super-numbers.
    public let groupsPerBlock: Int
    public let groupCount: Int
    public let blockCount: Int
    /// By row and block.
    public let superScales: [Float]
    public let superOffsets: [Float]
    /// By row and group.
    public let subScales: [Int16]
    public let subOffsets: [Int16]
    /// The lowest level of each row and group; an asymmetric integer grid's zero point is its negative.
    public let lows: [Int16]
    /// The group of each column of the part, when act-order with dynamic groups scattered them.
    public let scatteredGroups: [Int32]?

    /// The group of a column of the matrix.
    public func group(of column: Int) -> Int {
        let index = column - columns.lowerBound
        return scatteredGroups.map { Int($0[index]) } ?? index / groupWidth
    }

    public func scale(row: Int, group: Int) -> Float {
        superScales[row * blockCount + group / groupsPerBlock] * Float(subScales[row * groupCount + group])
    }

    public func offset(row: Int, group: Int) -> Float {
        -(superOffsets[row * blockCount + group / groupsPerBlock] * Float(subOffsets[row * groupCount + group]))
    }
}

/// What an error costs under a second moment of the inputs.
///
///     tr(E H Eᵀ) = Σ over rows e of  e H eᵀ        (with H = mean xᵀx: the mean squared error of the outputs)
///
/// - Parameters:
///   - error: E, `[rows, n]`.
///   - hessian: H, symmetric, `[n, n]`.
public func outputError(_ error: Matrix<Double>, hessian: Matrix<Double>) -> Double {
    let product = Matrix.product(error, hessian)
    return zip(product.elements, error.elements).reduce(0) { $0 + $1.0 * $1.1 }
}
