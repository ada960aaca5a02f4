import Formats

/// What a tokenizer is, free of any file format: the vocabulary and how text becomes tokens of it.
///
/// Token texts are those of GGUF: byte-level vocabularies in GPT-2's byte alphabet, SentencePiece vocabularies with "▁" for
/// a space; user-defined and control tokens as they stand in the text.
public struct TokenizerDescription: Sendable {
    /// How pieces of text become tokens.
    public enum Model: String, Sendable {
        /// Byte-pair encoding over GPT-2's byte alphabet, merges ranked.
        case byteLevelBPE = "gpt2"
        /// SentencePiece's BPE: of all adjacent pairs, the one whose token scores highest is merged first.
        case sentencePieceBPE = "llama"
        /// SentencePiece's unigram model: the segmentation with the highest sum of scores.
        case unigram = "t5"
        /// Ranked merges over characters, with spaces as "▁" and bytes as fallback.
        case characterBPE = "gemma4"
    }

    /// The numbers that GGUF gives the kinds of token.
    public enum TokenType: Int32, Sendable {
        case normal = 1, unknown = 2, control = 3, userDefined = 4, unused = 5, byte = 6
    }

    /// What a special token is for, by the word that Hugging Face uses (`bos_token`).
    public enum Role: String, Sendable, CaseIterable {
        case bos, eos, unk, sep, pad, cls, mask, eot, eom
    }

    public var model: Model
    /// How text is cut before merging, by llama.cpp's name (`tokenizer.ggml.pre`). `nil` when the source did not say.
    public var preTokenizer: String?
    /// Token texts by id. Ids that the vocabulary leaves out read `[PADid]` and are `.unused`.
    public var tokens: StringTable
    public var tokenTypes: [TokenType]
    /// One per token, for models that use scores.
    public var scores: [Float]?
    /// "left right", most important first.
    public var merges: StringTable
    /// Ids of special tokens, in the order in which they are written.
    public var specialTokens: [(role: Role, id: Int)] = []
    /// Whether a token (`bos`, `eos`, `sep`) is added to every text, where the source says so.
    public var addedAutomatically: [(role: Role, isAdded: Bool)] = []
    /// Whether a text that does not start with a space gets one.
    public var addSpacePrefix: Bool?
    public var removeExtraWhitespaces: Bool?
    /// SentencePiece's compiled normalization rules.
    public var precompiledCharsmap: [UInt8] = []
    public var lowercase: Bool?
    public var stripAccents: Bool?
    /// Chat templates by name, in order; the main one is called "default".
    public var chatTemplates: [(name: String, template: String)] = []
    /// Files of the source that go to a Hugging Face directory as they are (`tokenizer.model`).
    package var originalFiles: [String: TensorBytes] = [:]
    /// `general.architecture` of a GGUF source.
    package var architecture: String?
    /// Whether `add_space_prefix` is the first key: the reference writes it so for some architectures.
    package var spacePrefixIsLeading = false
    /// Keys that the reference adds last for some architectures.
    package var trailingKeys: [String] = []

    package init(model: Model, tokens: StringTable, tokenTypes: [TokenType], merges: StringTable = StringTable()) {
        self.model = model
        self.tokens = tokens
        self.tokenTypes = tokenTypes
        self.merges = merges
    }

    /// The id of the token for a purpose.
    public func id(of role: Role) -> Int? { specialTokens.first { $0.role == role }?.id }

    /// Whether the source says that a token is added to every text.
    public func isAdded(_ role: Role) -> Bool? { addedAutomatically.first { $0.role == role }?.isAdded }

    /// Sets a special token unless it is set.
    mutating func setIfMissing(_ role: Role, _ id: Int) {
        if self.id(of: role) == nil { specialTokens.append((role, id)) }
    }

    mutating func setAdded(_ role: Role, _ isAdded: Bool) {
        if let index = addedAutomatically.firstIndex(where: { $0.role == role }) {
            addedAutomatically[index].isAdded = isAdded
        } else {
            addedAutomatically.append((role, isAdded))
        }
    }

    /// - Throws: `.unsupportedTokenizer` when two ids have the same text: loaders abort on that.
    func checkUnique() throws(ModelError) {
        var clash: (Int, Int)?
        _ = StringIndex(tokens) { first, second in clash = clash ?? (first, second) }
        if let (first, second) = clash {
            throw ModelError(.unsupportedTokenizer(what: "the tokens \(first) and \(second) are both '\(printable(tokens[first]))'"))
        }
    }
}
