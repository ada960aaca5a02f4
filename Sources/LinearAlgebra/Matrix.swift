/// A dense matrix, row-major: element (r, c) stands at `r · columnCount + c`.
///
/// A value: copies share their memory until one of them changes. What loops call element by element is inlinable: other
/// modules would go through tables of functions otherwise.
public struct Matrix<Scalar: BinaryFloatingPoint & Sendable>: Sendable, Equatable {
    public let rowCount: Int
    public let columnCount: Int
    /// All elements, row after row.
    public var elements: [Scalar]

    /// A matrix of zeros.
    @inlinable
    public init(rowCount: Int, columnCount: Int) {
        self.init(rowCount: rowCount, columnCount: columnCount, elements: Array(repeating: 0, count: rowCount * columnCount))
    }

    /// - Parameter elements: row after row, `rowCount · columnCount` of them.
    @inlinable
    public init(rowCount: Int, columnCount: Int, elements: [Scalar]) {
        precondition(rowCount >= 0 && columnCount >= 0 && elements.count == rowCount * columnCount, "a matrix is full")
        self.rowCount = rowCount
        self.columnCount = columnCount
        self.elements = elements
    }

    /// The identity of an order.
    public static func identity(_ order: Int) -> Matrix {
        var matrix = Matrix(rowCount: order, columnCount: order)
        for index in 0..<order { matrix[index, index] = 1 }
        return matrix
    }

    @inlinable
    public subscript(_ row: Int, _ column: Int) -> Scalar {
        get { elements[row * columnCount + column] }
        set { elements[row * columnCount + column] = newValue }
    }

    /// Rows become columns.
    public var transposed: Matrix {
        var result = Matrix(rowCount: columnCount, columnCount: rowCount)
        for row in 0..<rowCount {
            for column in 0..<columnCount { result.elements[column * rowCount + row] = elements[row * columnCount + column] }
        }
        return result
    }
}

// Not one generic function: called from other modules, it would convert number after number through tables of functions.

extension Matrix<Double> {
    /// The same numbers in single precision, rounded to nearest.
    public func converted(to type: Float.Type) -> Matrix<Float> {
        Matrix<Float>(rowCount: rowCount, columnCount: columnCount, elements: elements.map { Float($0) })
    }
}

extension Matrix<Float> {
    /// The same numbers in double precision.
    public func converted(to type: Double.Type) -> Matrix<Double> {
        Matrix<Double>(rowCount: rowCount, columnCount: columnCount, elements: elements.map { Double($0) })
    }
}
