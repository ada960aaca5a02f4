import LinearAlgebra
import ResQ

/// How a model's rotations are made.
///
///     U = P R,   R = blockdiag(R_low, R_middle, R_high)
///
/// P is a basis whose last directions are the principal ones, R mixes the coordinates inside each subspace. Source: ResQ
/// (arXiv 2412.14363), section 4.
struct RotationSettings: Sendable {
    /// Where P comes from.
    enum Basis: Sendable, Equatable {
        /// The axes as they are.
        case identity
        /// A Hadamard matrix.
        case hadamard
        /// A random orthogonal matrix.
        case random
        /// The principal directions of what the layers see in the recipe's calibration.
        case principal(weighsWeights: Bool)
        /// A safetensors file: bases, or calibration statistics whose principal directions are taken.
        case file(String)
    }

    var basis: Basis
    var kind: RotationKind
    /// Shares of the dimensions that are kept at lower and at higher precision; 0 for none.
    var lowFraction: Double
    var highFraction: Double
    /// Whether each layer has a basis of its own for the residual stream.
    var isPerLayer = false
    var seed: UInt64

    /// The widths of the subspaces of a space, in order: low, middle, high, without those that have no share.
    /// - Throws: `PipelineError.cannotApply` for fractions that leave an empty or odd subspace.
    func widths(of space: String, width: Int, pass: String) throws(PipelineError) -> [Int] {
        do throws(ResQError) {
            return try split().subspaces(width: width).map(\.range.count)
        } catch {
            throw .cannotApply(pass: pass, why: "\(space): \(error)")
        }
    }

    private func split() throws(ResQError) -> SubspaceSplit {
        // Bits do not matter to a rotation.
        try SubspaceSplit(
            low: lowFraction > 0 ? .init(fraction: lowFraction, bits: 4) : nil, middleBits: 4,
            high: highFraction > 0 ? .init(fraction: highFraction, bits: 4) : nil)
    }

    /// R for a space. One draw serves all spaces of one width and purpose.
    func inner(width: Int, stream: Stream) throws(ResQError) -> BlockRotation {
        var generator = generator(stream)
        return try subspaceRotation(try split().subspaces(width: width), kind: kind, from: &generator)
    }

    /// What a random matrix is drawn for: each purpose has numbers of its own.
    enum Stream: Sendable {
        case residualRotation, headRotation, residualBasis
        case valueBasis(layer: Int, head: Int)
        case keyBasis(layer: Int)

        fileprivate var number: UInt64 {
            switch self {
            case .residualRotation: 0
            case .headRotation: 1
            case .residualBasis: 2
            case .valueBasis(let layer, let head): 3 + 2 * (UInt64(layer) << 20 + UInt64(head))
            case .keyBasis(let layer): 4 + 2 * (UInt64(layer) << 20)
            }
        }
    }

    func generator(_ stream: Stream) -> SeededGenerator {
        SeededGenerator(seed: seed &+ stream.number &* 0x9E37_79B9_7F4A_7C15)
    }

    /// One phrase that tells these settings from any other; the contents of a file are known by its hash.
    var summary: String {
        let name = switch basis {
        case .identity: "identity"
        case .hadamard: "hadamard"
        case .random: "random"
        case .principal: "pca"
        case .file(let path): path
        }
        let low = lowFraction > 0 ? "low \(lowFraction), " : ""
        return "basis \(name)\(isPerLayer ? " of each layer" : ""), \(kind.rawValue) inside, \(low)high \(highFraction), seed \(seed)"
    }
}
