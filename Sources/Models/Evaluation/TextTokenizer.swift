import Formats

/// What evaluation needs of a tokenizer.
public protocol TextTokenizer: Sendable {
    /// Tokens of the vocabulary itself; added ones may lie past it.
    var vocabularyCount: Int { get }
    var bos: Int? { get }
    var eos: Int? { get }
    /// Whether a text begins with BOS.
    var addsBOS: Bool { get }
    /// The ids of a text, without BOS and EOS.
    /// - Parameter parsesSpecial: whether the markers of special tokens in the text become those tokens.
    func ids(of text: String, parsesSpecial: Bool) throws -> [Int]
    /// Bytes of the text that tokens stand for, one after another; none for those that only steer the model.
    func byteCount(of ids: [Int]) -> Int
}

extension TextTokenizer {
    /// The ids of a text as a model is to read it, BOS before it where the model wants one.
    public func tokens(of text: String, parsesSpecial: Bool) throws -> [Int] {
        (addsBOS ? bos.map { [$0] } ?? [] : []) + (try ids(of: text, parsesSpecial: parsesSpecial))
    }
}

extension Network {
    /// - Throws: `EvaluationError.embeddingTooSmall` for a tokenizer with more tokens than the embedding has rows.
    public func check(_ tokenizer: any TextTokenizer, named name: String) throws(EvaluationError) {
        guard let rows = weights.info(of: embeddingName)?.rowCount, rows < tokenizer.vocabularyCount else { return }
        throw EvaluationError(.embeddingTooSmall(rows: rows, vocabulary: tokenizer.vocabularyCount), path: name)
    }
}

extension Evaluation {
    /// Bytes of text that the judged tokens stand for.
    public func judgedByteCount(_ tokenizer: any TextTokenizer) -> Int {
        windows.reduce(0) { sum, window in
            // A decoder may treat the start of a text in its own way, so the tokens before the judged ones are not left out.
            sum + tokenizer.byteCount(of: Array(window[...judgedRows.upperBound]))
                - tokenizer.byteCount(of: Array(window[...judgedRows.lowerBound]))
        }
    }
}

extension TokenText {
    /// Text files as a protocol reads them.
    ///
    /// Files are joined by an empty line. llama.cpp's tool takes one line break off the end and sees markers of special
    /// tokens as text; transformers does neither.
    public init(
        files: [String], protocol protocolName: EvaluationProtocol, tokenizer: any TextTokenizer
    ) throws {
        var text = try TokenText.read(files)
        if protocolName == .llamaCpp, text.utf8.last == UInt8(ascii: "\n") {
            text = String(decoding: text.utf8.dropLast(), as: UTF8.self)
        }
        self.init(
            ids: try tokenizer.tokens(of: text, parsesSpecial: protocolName == .huggingFace), name: files.joined(separator: ", "))
    }
}
