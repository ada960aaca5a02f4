import Formats
import LinearAlgebra
import Models
import ResQ

/// GPTQ onto the block types of ggml and onto split tensors, for the weights of a whole model.
struct BlockTypeRounding: Sendable {
    /// The block type of each weight that is rounded with its Hessian.
    let types: [String: GGMLType]
    /// The layout of each weight that becomes a split tensor.
    let splits: [String: SplitLayout]
    let damping: Double
    /// The same for an embedding that is the head too, at least: its errors enter the first layer as well, in all directions alike.
    static let tiedDamping = 0.1
    let actOrder: Bool
    /// Sweeps of coordinate descent after GPTQ.
    let sweeps: Int
    /// How the scales of integers are searched.
    let scaleSearch: IntegerGrid.ClipSearch
    /// How many of the calibration's sequences are used; all when `nil`.
    let sequences: Int?
    /// The weights that another method rounds.
    let methods: [String: any RoundingMethod]
    /// How a residual is kept beside weights, if one is.
    var residual: ResidualRounding?
    /// The rank of it for each weight that gets one.
    var ranks: [String: Int] = [:]

    /// The embedding of a model that has no other head, when it is rounded.
    var tiedEmbedding: String?

    /// Whether GPTQ can round to a type.
    static func isTarget(_ type: GGMLType) -> Bool { BlockGrid(type) != nil && BlockNumbers.canAssemble(type) }

    /// Rounds one weight of a layer with the second moments of its input.
    /// - Parameter moments: `nil`, or of no rows, when no token reached it: then it is rounded to nearest.
    /// - Returns: `nil` for a weight that stays as it is.
    func round(
        _ name: String, _ weight: Weight, _ moments: GramAccumulator?, factors: FactorCache, threadCount: Int
    ) throws -> SequentialRounding.Rounded? {
        if let layout = splits[name] { return try roundSplit(layout, weight, moments, factors: factors, threadCount: threadCount) }
        guard let type = types[name] else { return nil }
        if let method = methods[name] {
            let matrix = Matrix(rowCount: weight.rowCount, columnCount: weight.columnCount, elements: weight.array)
            let isSeen = moments.map { $0.rowCount > 0 } ?? false
            let rows = RowsToRound(tensor: name, weights: matrix, type: type, moments: isSeen ? moments?.mean : nil)
            let bytes = try method.round(rows)
            guard bytes.count == rows.byteCount else {
                throw PipelineError.brokenPromise(tensor: name, operation: method.summary, promised: rows.byteCount, delivered: bytes.count)
            }
            return SequentialRounding.Rounded(
                bytes: bytes, weight: try Weight(decoding: bytes, as: Encoding(type), like: weight), residual: nil, remarks: [])
        }
        let damping = name == tiedEmbedding ? max(damping, Self.tiedDamping) : damping
        let (factor, remarks) = try hessian(of: moments, columnCount: weight.columnCount, damping: damping) { moments, damping in
            try factors.factor(of: moments, damping: damping, actOrder: actOrder, keepsMatrix: sweeps > 0)
        }
        guard let grid = BlockGrid(type) else { return nil }
        let matrix = Matrix<Float>(rowCount: weight.rowCount, columnCount: weight.columnCount, elements: weight.array)
        let base = { (target: Matrix<Float>) throws(ResQError) -> QuantizedMatrix in
            // Blocks of a file hold neighbouring columns, so that act-order needs scales that are fixed at the start.
            try ResQ.round(
                target, to: [GridPart(columns: 0..<weight.columnCount, grid: grid)], factor: factor, dynamicGroups: !actOrder,
                sweeps: sweeps, threadCount: threadCount)
        }
        if let residual, let rank = ranks[name], let moments, moments.rowCount > 0 {
            let (base, factors, values) = try residual.round(
                matrix, rank: rank, moments: moments.mean, factor: factor, threadCount: threadCount, base: base)
            let effective = Weight(name: weight.name, rowCount: weight.rowCount, columnCount: weight.columnCount, floats: values.elements.span)
            return SequentialRounding.Rounded(
                bytes: base.blocks(of: type, threadCount: threadCount), weight: effective, residual: factors, remarks: remarks)
        }
        let bytes = try base(matrix).blocks(of: type, threadCount: threadCount)
        return SequentialRounding.Rounded(
            bytes: bytes, weight: try Weight(decoding: bytes, as: .block(type), like: weight), residual: nil, remarks: remarks)
    }

    /// The factor of an input's Hessian, with what the user should know of it; that of rounding to nearest where no token
    /// of the calibration came by.
    func hessian(
        of moments: GramAccumulator?, columnCount: Int, damping: Double, factor: (GramAccumulator, Damping) throws -> HessianFactor
    ) throws -> (factor: HessianFactor, remarks: [String]) {
        guard let moments, moments.rowCount > 0 else {
            return (
                HessianFactor(roundingToNearest: Array(repeating: 1, count: columnCount)),
                ["no token of the calibration reached it: rounded to nearest"]
            )
        }
        let factor = try factor(moments, Damping(fraction: damping))
        return (factor, factor.warnings.map(\.description))
    }
}

/// The Hessian factor of the last input: weights that share an input share it.
final class FactorCache {
    private var last: (rowCount: Int, squareSums: [Double], parts: [Range<Int>]?, factor: HessianFactor)?

    func factor(
        of moments: GramAccumulator, damping: Damping, parts: [Range<Int>]? = nil, actOrder: Bool, keepsMatrix: Bool
    ) throws -> HessianFactor {
        let squareSums = moments.squareSums
        if let last, last.rowCount == moments.rowCount, last.squareSums == squareSums, last.parts == parts { return last.factor }
        let factor = try HessianFactor(moments.mean, damping: damping, parts: parts, actOrder: actOrder, keepsMatrix: keepsMatrix)
        last = (moments.rowCount, squareSums, parts, factor)
        return factor
    }
}

extension BlockGrid {
    /// The grid of a block type; `nil` for types that are not rounded to.
    init?(_ type: GGMLType) {
        switch type {
        case .q4_0: self = .q4_0
        case .q4_1: self = .q4_1
        case .q5_0: self = .q5_0
        case .q5_1: self = .q5_1
        case .q8_0: self = .q8_0
        case .q2_K: self = .q2_K
        case .q3_K: self = .q3_K
        case .q4_K: self = .q4_K
        case .q5_K: self = .q5_K
        case .q6_K: self = .q6_K
        case .iq4_nl: self = .iq4_nl
        case .iq4_xs: self = .iq4_xs
        default: return nil
        }
    }
}
