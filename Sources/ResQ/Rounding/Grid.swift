/// The numbers that weights can be rounded to.
///
/// A row of weights is cut into blocks, a block into groups. Each group has its own evenly spaced values, or scaled
/// entries of a codebook:
///
///     value = scale · level + offset,   level an integer in low ... high          scale = superScale · subScale
///     value = scale · codebook[level]                                             offset = -(superOffset · subOffset)
///
/// super- numbers belong to a block and are stored as floats, sub- numbers to a group and are stored as small integers;
/// grids without a second level have subScale 1. Scales are fixed first, from the weights of a block (`fit`); then each
/// weight is rounded against them, in whatever order and after whatever compensation the rounding method wants. All
/// products are in Float in the order written, as decoders compute them, so that codes stored in a file decode to
/// exactly the values that were rounded to.
public protocol Grid: Sendable {
    /// Columns whose scales are fixed together; nil: all columns of the part.
    var blockWidth: Int? { get }
    /// Columns with one scale; nil: the whole block. Divides `blockWidth`.
    var groupWidth: Int? { get }
    /// Whether the last block may be shorter than the others.
    var allowsShortBlock: Bool { get }
    /// 16 ascending numbers, if values are scaled entries of it.
    var codebook: [Float]? { get }
    /// Fixes the scales of one block.
    func fit(_ block: WeightStrip) -> BlockScales
    /// A scale as a file holds it, for grids with one for each group.
    func storedScale(_ scale: Float) -> Float
}

/// One block of the columns of some rows, column after column: element (row, column) at `column · rowCount + row`.
public struct WeightStrip: Sendable {
    /// A multiple of 16; rows beyond the matrix are zero.
    public let rowCount: Int
    public let columnCount: Int
    public let weights: [Float]
    /// What an error of each column costs: positive.
    public let importance: [Float]

    public init(rowCount: Int, columnCount: Int, weights: [Float], importance: [Float]) {
        precondition(rowCount % 16 == 0 && weights.count == rowCount * columnCount && importance.count == columnCount, "the strip is full")
        (self.rowCount, self.columnCount) = (rowCount, columnCount)
        (self.weights, self.importance) = (weights, importance)
    }
}

/// The scales of one block of some rows; see `Grid`.
public struct BlockScales: Sendable {
    public let rowCount: Int
    public let groupCount: Int
    /// By row.
    public var superScales: [Float]
    public var superOffsets: [Float]
    /// By group and row, at `group · rowCount + row`.
    public var subScales: [Int16]
    public var subOffsets: [Int16]
    public var lows: [Float]
    public var highs: [Float]

    /// All scales zero and all levels from `low` to `high`.
    public init(rowCount: Int, groupCount: Int, low: Float, high: Float) {
        (self.rowCount, self.groupCount) = (rowCount, groupCount)
        superScales = Array(repeating: 0, count: rowCount)
        superOffsets = superScales
        subScales = Array(repeating: 1, count: rowCount * groupCount)
        subOffsets = subScales
        lows = Array(repeating: low, count: rowCount * groupCount)
        highs = Array(repeating: high, count: rowCount * groupCount)
    }
}

/// Neighbouring columns that are rounded to one grid.
public struct GridPart: Sendable {
    public let columns: Range<Int>
    public let grid: any Grid

    public init(columns: Range<Int>, grid: any Grid) {
        self.columns = columns
        self.grid = grid
    }
}
