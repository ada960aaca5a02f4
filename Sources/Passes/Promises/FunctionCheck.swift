import Formats
import LinearAlgebra
import Models

/// Whether a pass keeps what a model computes, judged by the logits of random tokens.
///
///     difference = rms(logits after - logits before)
///     allowed    = 4 · rms(logits of after, its made weights off by ± ε - logits after)
///
/// ε is half a step of the type that a weight is stored in, and at least 16 halves of a step of F32, since sums of thousands of
/// terms in another order differ by about as much. A pass that does nothing but rounding stays below; one that changes a weight by
/// a hundredth does not.
struct FunctionCheck: Sendable {
    let pass: String
    let before: TensorGraph
    let after: TensorGraph
    /// The tensors of `after` that the pass made.
    let made: Set<String>

    /// - Throws: `PipelineError.changesFunction`; what keeps either graph from running.
    func perform(threadCount: Int) throws {
        if let rounded = after.tensors.first(where: { made.contains($0.info.name) && FunctionCheck.step(of: $0.info.encoding) == nil }) {
            throw PipelineError.cannotApply(
                pass: pass, why: "it promises to keep what the model computes and stores '\(rounded.info.name)' as \(rounded.info.encoding.name), "
                    + "which is left to 'quantize'")
        }
        var shaken = after
        try shaken.mapTensors { tensor in
            guard made.contains(tensor.info.name), let step = FunctionCheck.step(of: tensor.info.encoding), step > 0 else { return [tensor] }
            let columnCount = tensor.info.columnCount
            return [
                try tensor.changed("off by half a step", to: .plain(.f32)) { rows, values in
                    for index in values.indices {
                        // The highest bit of a product with a large odd number is as good as random.
                        let isUp = UInt64(rows.lowerBound * columnCount + index + 1) &* 0x9E37_79B9_7F4A_7C15 >= 1 << 63
                        values[index] *= isUp ? 1 + step : 1 - step
                    }
                }
            ]
        }
        let difference = try FunctionCheck.difference(after, before, threadCount: threadCount)
        let allowed = 4 * (try FunctionCheck.difference(shaken, after, threadCount: threadCount))
        guard difference <= allowed else { throw PipelineError.changesFunction(pass: pass, difference: difference, allowed: allowed) }
    }

    /// ε of a type, relative to the number; 0 for integers, `nil` for types that round coarser than the pass may.
    private static func step(of encoding: Encoding) -> Float? {
        guard case .plain(let type) = encoding else { return nil }
        switch type {
        case .f64, .f32: return 0x1p-20
        case .f16: return 0x1p-12
        case .bf16: return 0x1p-9
        default: return type.isFloatingPoint ? nil : 0
        }
    }

    /// Root mean square of the difference of two models' logits for random tokens.
    private static func difference(_ a: TensorGraph, _ b: TensorGraph, threadCount: Int) throws -> Double {
        let networks = try [a, b].map { try $0.network(weightBudget: 0, threadCount: threadCount, roundsActivations: false) }
        let numbers = networks[0].model.hyperparameters
        let context = min(16, numbers[.context] ?? 16)
        var generator = SeededGenerator(seed: 0)
        let ids = (0..<2 * context).map { _ in Int(generator.next() % UInt64(numbers.vocabulary)) }
        let evaluation = try Evaluation(
            of: networks[0], named: "after", against: .network(networks[1], name: "before"), text: TokenText(ids: ids, name: "random tokens"),
            context: context, protocol: .huggingFace)
        let squares = try evaluation.scores(ofWindows: 0..<2).flatMap(\.self).compactMap { $0.comparison?.squareDifference }
        return (squares.reduce(0, +) / Double(squares.count)).squareRoot()
    }
}
