import Formats

/// A running tokenizer: text to token ids and back, as the `tokenizers` package does it.
///
/// A text goes through five stages: added tokens are cut out; what lies between is normalized; it is cut into pieces; the model
/// makes tokens of each piece; and tokens for the start and end of a text are added. A value is immutable and can be shared.
public struct Tokenizer: Sendable {
    let addedTokens: AddedTokens
    let normalizer: TextNormalizer
    let preTokenization: PreTokenization
    let model: TokenModel
    let postProcessing: PostProcessing
    private let decoding: TokenDecoding
    private let addedByID: [Int: AddedTokens.Token]

    /// What single tokens are for, and the chat templates.
    public internal(set) var special = SpecialTokens()

    /// One more than the highest id of a token.
    public let vocabularySize: Int

    /// - Parameters:
    ///   - json: the contents of `tokenizer.json`.
    ///   - path: the file's name, for messages.
    /// - Throws: `.invalidKey`, `.missingKey` or `.unsupportedTokenizer`, naming the key.
    public init(json: JSONValue, path: String? = "tokenizer.json") throws(ModelError) {
        guard json.object != nil else { throw ModelError(.invalidKey(key: "tokenizer", found: json.kind, expected: "an object"), path: path) }
        let root = TokenizerPart(json, key: "", path: path)
        normalizer = try TextNormalizer(root["normalizer"])
        addedTokens = try AddedTokens(root["added_tokens"], normalizer: normalizer)
        preTokenization = try PreTokenization(root["pre_tokenizer"])
        model = try TokenModel(root.required("model"), isByteLevel: preTokenization.endsInBytes)
        postProcessing = try PostProcessing(root["post_processor"])
        decoding = try TokenDecoding(root["decoder"])
        var byID: [Int: AddedTokens.Token] = [:]
        for token in addedTokens.tokens {
            // An added token may repeat one of the vocabulary, but not give its id another text.
            let vocabulary = model.vocabulary
            if let other = vocabulary.find(token.content), Int(other) != token.id {
                throw ModelError(
                    .invalidKey(
                        key: "added_tokens, id of '\(printable(token.content))'", found: "\(token.id)",
                        expected: "\(other), its id in the vocabulary"), path: path)
            }
            if let other = byID.updateValue(token, forKey: token.id) {
                throw ModelError(
                    .invalidKey(
                        key: "added_tokens, id of '\(printable(token.content))'",
                        found: "\(token.id), which is the id of '\(printable(other.content))'", expected: "an id of its own"), path: path)
            }
        }
        addedByID = byID
        vocabularySize = max(model.vocabulary.count, (byID.keys.max() ?? -1) + 1)
        for id in postProcessing.before + postProcessing.after where id >= vocabularySize {
            throw ModelError(
                .invalidKey(key: "post_processor, token id", found: "\(id)", expected: "0..<\(vocabularySize)"), path: path)
        }
    }

    /// The tokens of a text.
    /// - Parameters:
    ///   - addsSpecialTokens: whether the tokens for start and end of a text are added where the tokenizer has them.
    ///   - parsesSpecial: whether special tokens written out in the text become what they name.
    public func encode(_ text: String, addsSpecialTokens: Bool = true, parsesSpecial: Bool = true) throws(ModelError) -> [Int] {
        try encode(utf8: text.utf8Span.span, addsSpecialTokens: addsSpecialTokens, parsesSpecial: parsesSpecial)
    }

    /// The tokens of a text that comes as bytes.
    /// - Throws: `.invalidText` with the place of the first byte that is not UTF-8.
    public func encode(
        _ bytes: Span<UInt8>, addsSpecialTokens: Bool = true, parsesSpecial: Bool = true
    ) throws(ModelError) -> [Int] {
        do {
            _ = try UTF8Span(validating: bytes)
        } catch {
            throw ModelError(.invalidText(byteOffset: error.byteOffsets.lowerBound))
        }
        return try encode(utf8: bytes, addsSpecialTokens: addsSpecialTokens, parsesSpecial: parsesSpecial)
    }

    private func encode(utf8: Span<UInt8>, addsSpecialTokens: Bool, parsesSpecial: Bool) throws(ModelError) -> [Int] {
        var encoder = TextEncoder(self, textByteCount: utf8.count)
        try encoder.encode(utf8, parsesSpecial: parsesSpecial)
        guard addsSpecialTokens, !postProcessing.before.isEmpty || !postProcessing.after.isEmpty else { return encoder.ids }
        return postProcessing.before + encoder.ids + postProcessing.after
    }

    /// A token as the vocabulary writes it; `nil` for an id without one.
    public func piece(_ id: Int) -> String? {
        if let token = addedByID[id] { return token.content }
        let texts = model.vocabulary.texts
        guard texts.indices.contains(id), !texts.range(at: id).isEmpty else { return nil }
        return texts[id]
    }

    /// The id of a token by its text.
    public func id(of piece: String) -> Int? {
        if let token = addedTokens.tokens.first(where: { ExactString($0.content) == ExactString(piece) }) { return token.id }
        return model.vocabulary.find(piece).map { Int($0) }
    }

    /// Whether a token is one that only marks (start, end, turn) and is no text.
    public func isSpecial(_ id: Int) -> Bool { addedByID[id]?.isSpecial ?? false }

    /// The text of tokens. Bytes that are not UTF-8 become U+FFFD; ids without a token are left out.
    /// - Parameter skipsSpecial: whether special tokens are left out.
    public func decode(_ ids: some Sequence<Int>, skipsSpecial: Bool = true) -> String {
        String(decoding: decodedBytes(ids, skipsSpecial: skipsSpecial), as: UTF8.self)
    }

    func decodedBytes(_ ids: some Sequence<Int>, skipsSpecial: Bool) -> [UInt8] {
        let texts = model.vocabulary.texts
        var tokens: [[UInt8]] = []
        for id in ids {
            if let token = addedByID[id] {
                if !skipsSpecial || !token.isSpecial { tokens.append(Array(token.content.utf8)) }
            } else if texts.indices.contains(id), !texts.range(at: id).isEmpty {
                tokens.append(Array(texts.utf8[texts.range(at: id)]))
            }
        }
        return decoding.decoded(tokens)
    }
}
