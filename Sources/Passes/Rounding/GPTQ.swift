import Formats
import LinearAlgebra
import ResQ

/// `gptq`: each error compensated under the second moments of the inputs.
///
/// `quantize` has the options and hands these weights to `BlockTypeRounding`, which shares factors between weights and knows
/// split tensors and residuals; `round` is the same for one weight, with the options' defaults.
struct GPTQ: RoundingMethod, Declared {
    static let declaration = Declaration(
        identifier: "gptq", summary: "Layer after layer, each error compensated under the second moments of what the weight reads.")

    init(options: PassOptions) {}

    var summary: String { "gptq" }
    var isCalibrated: Bool { true }

    func rounds(to type: GGMLType) -> Bool { BlockTypeRounding.isTarget(type) }

    func round(_ rows: RowsToRound) throws -> TensorBytes {
        guard let grid = BlockGrid(rows.type) else { throw FormatError(.unsupported(what: "gptq to \(rows.type.name)"), tensor: rows.tensor) }
        let columnCount = rows.weights.columnCount
        let factor = try rows.moments.map { try HessianFactor($0, damping: Damping(fraction: 0.01)) }
            ?? HessianFactor(roundingToNearest: Array(repeating: 1, count: columnCount))
        return try ResQ.round(
            rows.weights, to: [GridPart(columns: 0..<columnCount, grid: grid)], factor: factor, dynamicGroups: true, sweeps: 0, threadCount: 1
        ).blocks(of: rows.type, threadCount: 1)
    }
}
