import LinearAlgebra

/// What keeps the method from being applied to the numbers given.
public enum ResQError: Error, Equatable, Sendable {
    /// A bit width outside 2 to 8.
    case bitsOutOfRange(Int)
    /// A fraction outside (0, 1), or fractions that leave nothing for the middle.
    case fractionOutOfRange(Double)
    /// A subspace without dimensions: `fraction` of `width` is less than one.
    case emptySubspace(width: Int, fraction: Double)
    /// A subspace with an odd number of dimensions, whose 4-bit codes would not fill bytes.
    case oddSubspace(width: Int, fraction: Double, dimensions: Int)
    /// The parts of a matrix do not cover its columns one after another.
    case partsDoNotCover(columnCount: Int)
    /// A grid whose blocks have a fixed width, and columns that do not fill them.
    case incompleteBlock(columnCount: Int, blockWidth: Int)
    /// A weight or activation is infinite or NaN.
    case notFinite(row: Int, column: Int)
    /// A weight is larger than the largest scale that is stored.
    case tooLarge(row: Int, column: Int)
    /// A matrix has the wrong shape for what it is used for.
    case wrongShape(expected: [Int], found: [Int])
    /// A decomposition failed.
    case linearAlgebra(LinearAlgebraError)
}

extension ResQError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .bitsOutOfRange(let bits): "\(bits) bits: must be 2 to 8"
        case .fractionOutOfRange(let fraction): "a fraction of \(fraction) leaves no valid subspaces: fractions are above 0 and leave a rest"
        case .emptySubspace(let width, let fraction): "a fraction of \(fraction) of \(width) dimensions is an empty subspace"
        case .oddSubspace(let width, let fraction, let dimensions):
            "a fraction of \(fraction) of \(width) dimensions leaves a subspace of \(dimensions), an odd number"
        case .partsDoNotCover(let count): "the parts of different precision do not cover the \(count) columns one after another"
        case .incompleteBlock(let count, let width): "\(count) columns are not whole blocks of \(width)"
        case .notFinite(let row, let column): "the number at row \(row), column \(column) is infinite or NaN"
        case .tooLarge(let row, let column): "the number at row \(row), column \(column) is too large for the scales of its type"
        case .wrongShape(let expected, let found): "a matrix of shape \(found) where \(expected) is needed"
        case .linearAlgebra(let error): "\(error)"
        }
    }
}
