import Formats

/// How a tensor comes about: what was done to it, and by what it is computed.
public struct TensorExplanation: Sendable {
    /// The tensor, under the name it has in the output.
    public var info: TensorInfo
    /// The passes and rules that shaped it, first to last, one phrase each; empty when nothing did.
    public var history: [String]
    /// The operations that compute it, those that come first at the top, each `depth` steps away from the tensor.
    public var operations: [Operation]

    public struct Operation: Sendable {
        public var depth: Int
        public var summary: String
        /// What comes out of it.
        public var info: TensorInfo
    }

    init(_ tensor: LazyTensor) {
        info = tensor.info
        history = tensor.history
        operations = []
        collect(tensor, depth: 0)
    }

    private mutating func collect(_ tensor: LazyTensor, depth: Int) {
        for input in tensor.operation.inputs { collect(input, depth: depth + 1) }
        var summary = tensor.operation.summary
        if let slice = tensor.operation as? SourceSlice {
            summary += " '\(slice.source.manifest.tensors[slice.index].name)' of the input"
        }
        operations.append(Operation(depth: depth, summary: summary, info: tensor.info))
    }
}
