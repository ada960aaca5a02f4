import Formats

/// Why a model cannot be evaluated on a text, and where: `PATH: sentence`.
public struct EvaluationError: Error, Sendable, Equatable {
    public enum Reason: Sendable, Equatable {
        case emptyText
        /// The byte of the file where the text stops being UTF-8.
        case notUTF8(byteOffset: Int)
        case windowTooShort(context: Int)
        case textTooShort(tokens: Int, context: Int)
        /// `position` counts from the start of the text.
        case tokenOutOfRange(id: Int, position: Int, vocabulary: Int)
        /// The tokenizer or the configuration speaks of more tokens than the embedding has rows.
        case embeddingTooSmall(rows: Int, vocabulary: Int)
        case vocabulariesDiffer(model: Int, reference: Int)
        /// The model's own trouble; windows count from the start of the text.
        case forward(ForwardError)
        /// Saved logits that are not of this text and protocol.
        case savedLogitsDiffer(what: String, found: String, expected: String)
        /// Something about a line of a task file.
        case task(line: Int, why: String)
        /// The model comes without what is needed to make tokens of a text.
        case noTokenizer
    }

    public var reason: Reason
    /// The file the fact is about.
    public var path: String?

    public init(_ reason: Reason, path: String? = nil) {
        self.reason = reason
        self.path = path
    }
}

extension EvaluationError: CustomStringConvertible {
    public var description: String { (path.map { printable($0) + ": " } ?? "") + reason.sentence }
}

extension EvaluationError.Reason {
    fileprivate var sentence: String {
        switch self {
        case .emptyText: "the text is empty"
        case .notUTF8(let byteOffset): "the text is not UTF-8 (at byte \(byteOffset))"
        case .windowTooShort(let context): "a window of \(context) tokens predicts nothing; the smallest is 2"
        case .textTooShort(let tokens, let context): "the text has \(tokens) tokens, a window needs \(context)"
        case .tokenOutOfRange(let id, let position, let vocabulary):
            "token \(position) has id \(id), the model's vocabulary has \(vocabulary)"
        case .embeddingTooSmall(let rows, let vocabulary):
            "the vocabulary has \(vocabulary) tokens, the embedding \(rows) rows"
        case .vocabulariesDiffer(let model, let reference):
            "the model's vocabulary has \(model) tokens, the reference's \(reference)"
        case .forward(let error): error.description
        case .savedLogitsDiffer(let what, let found, let expected):
            "these logits are not of this evaluation: \(what) is \(printable(found)), expected \(printable(expected))"
        case .task(let line, let why): "line \(line): \(printable(why))"
        case .noTokenizer: "the model has no tokenizer; give --tokens"
        }
    }
}

extension ForwardError {
    /// The same, of a batch whose first window is number `first` of the text.
    func inText(firstWindow first: Int) -> ForwardError {
        guard case .notFinite(let layer, let sequence, let position) = self else { return self }
        return .notFinite(layer: layer, sequence: first + sequence, position: position)
    }
}
