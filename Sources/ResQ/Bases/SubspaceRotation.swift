import LinearAlgebra

/// What mixes the coordinates inside a subspace, so that none stands out.
public enum RotationKind: String, Sendable, CaseIterable {
    /// Nothing.
    case identity
    /// A random orthogonal matrix: ResQ's choice.
    case random
    /// A Hadamard matrix, normalised.
    case hadamard
    /// A Hadamard matrix whose rows have random signs, so that coordinates are flipped before they are mixed: QuaRot's
    /// choice.
    case randomHadamard = "random-hadamard"
}

/// One rotation per subspace.
///
///     R = blockdiag(R_low, R_middle, R_high)
///
/// A principal basis P is completed to U = P R by `composed(after:)`: rotating inside a subspace leaves its span, and so
/// its share of the energy, as they are. Source: ResQ (arXiv 2412.14363), section 4.
///
/// - Parameters:
///   - subspaces: in order, from 0.
///   - generator: of the random kinds; blocks draw from it in order. Also of a Hadamard transform's random factor, where
///     an odd size needs one.
/// - Throws: `linearAlgebra` for subspaces too large.
public func subspaceRotation(
    _ subspaces: [Subspace], kind: RotationKind, from generator: inout SeededGenerator
) throws(ResQError) -> BlockRotation {
    var blocks: [Matrix<Double>] = []
    for part in subspaces {
        do {
            switch kind {
            case .identity: blocks.append(.identity(part.range.count))
            case .random: blocks.append(try randomOrthogonal(order: part.range.count, from: &generator))
            case .hadamard, .randomHadamard:
                var matrix = try HadamardTransform(order: part.range.count, seed: generator.next()).matrix
                if kind == .randomHadamard {
                    for row in 0..<matrix.rowCount where generator.next() >> 63 == 1 {
                        for column in 0..<matrix.columnCount { matrix[row, column].negate() }
                    }
                }
                blocks.append(matrix)
            }
        } catch {
            throw .linearAlgebra(error)
        }
    }
    return BlockRotation(blocks: blocks)
}
