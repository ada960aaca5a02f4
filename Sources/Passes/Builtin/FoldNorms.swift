import Formats
import Models

/// `fold-norms`: moves the gain of each norm into the linear weights that read its output.
struct FoldNorms: DeclaredPass {
    static let declaration = Declaration(
        identifier: "fold-norms",
        summary: "Moves the gains of norms into the weights that follow them.",
        contract: """
            Function-preserving: W diag(g) is computed in F32, exact for 16-bit weights and gains, and stored as F32; the \
            norms keep their place with a gain of 1. A tied model is untied first, since its embedding reads no norm. \
            Norms that no linear weight reads directly (inside heads, after a block's output) are left alone.
            """,
        promises: Promises(preservesFunction: true))

    init(options: PassOptions) {}

    init() {}

    func rewrite(_ graph: inout TensorGraph, in context: PassContext) throws {
        try Untie().rewrite(&graph, in: context)
        let model = try graph.described(for: "fold-norms")
        var gains: [Key: OnceFloats] = [:]
        for tensor in graph.tensors {
            guard let match = model.match(name: tensor.info.name) else { continue }
            for fold in model.architecture.folds where fold.norm == match.role {
                let gain = OnceFloats(tensor, offset: match.rule.gainOffset)
                graph.noteFolded(gain, of: tensor.info.name)
                for consumer in fold.consumers { gains[Key(role: consumer, layer: match.layer)] = gain }
            }
        }
        let folded = Set(model.architecture.folds.map(\.norm))
        try graph.mapTensors { tensor in
            guard let match = model.match(name: tensor.info.name) else { return [tensor] }
            if let gain = gains[Key(role: match.role, layer: match.layer)] {
                guard gain.tensor.info.elementCount == tensor.info.columnCount else {
                    throw PipelineError.cannotApply(
                        pass: "fold-norms", why: "'\(gain.tensor.info.name)' and '\(tensor.info.name)' do not fit")
                }
                let info = try TensorInfo(name: tensor.info.name, encoding: .plain(.f32), shape: tensor.info.shape)
                let operation = FoldGain(input: tensor, gain: gain)
                return [LazyTensor(info: info, operation: operation, history: tensor.history).noting("folded \(gain.tensor.info.name)")]
            }
            guard folded.contains(match.role) else { return [tensor] }
            let ones = [Float](repeating: 1 - match.rule.gainOffset, count: tensor.info.elementCount)
            return [try LazyTensor.constant(ones, name: tensor.info.name).encoded(as: tensor.info.encoding).noting("folded away")]
        }
    }

    private struct Key: Hashable {
        let role: TensorRole
        let layer: Int?
    }
}
