/// What stops the forward pass, in facts; `description` makes the sentence.
public enum ForwardError: Error, Sendable, Equatable {
    /// A weight that is NaN or infinite.
    case notFiniteWeight(tensor: String, index: Int)
    /// An activation that is NaN or infinite, after a layer (`nil`: the logits), at a token of a sequence.
    case notFinite(layer: Int?, sequence: Int, position: Int)
    case tokenOutOfRange(id: Int, position: Int, vocabulary: Int)
    case contextTooLong(tokens: Int, context: Int)
    case emptySequence
}

extension ForwardError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .notFiniteWeight(let tensor, let index): "tensor '\(tensor)': element \(index) is not a finite number"
        case .notFinite(let layer?, let sequence, let position):
            "the output of layer \(layer) is not finite at token \(position) of window \(sequence)"
        case .notFinite(nil, let sequence, let position):
            "the logits are not finite at token \(position) of window \(sequence)"
        case .tokenOutOfRange(let id, let position, let vocabulary):
            "token \(position) has id \(id), the model's vocabulary has \(vocabulary)"
        case .contextTooLong(let tokens, let context): "\(tokens) tokens are more than the model's context of \(context)"
        case .emptySequence: "there are no tokens"
        }
    }
}
