import Formats

/// The tokenizer files of a Hugging Face directory, parsed as far as every kind of tokenizer needs it.
struct HuggingFaceTokenizer {
    /// A token that is cut out of the text before the model sees it.
    struct AddedToken {
        var id: Int
        var content: String
        var isSpecial: Bool
        /// Whether it is looked for in the normalized text rather than in the text as it came.
        var isNormalized: Bool
    }

    let files: HuggingFaceFiles
    /// `tokenizer.json`.
    let tokenizer: JSONValue?
    /// `tokenizer_config.json`.
    let config: JSONValue?
    /// Added tokens of `tokenizer.json`, then those that only `tokenizer_config.json` and `added_tokens.json` know.
    private(set) var addedTokens: [AddedToken] = []

    init(_ files: HuggingFaceFiles) throws(ModelError) {
        self.files = files
        tokenizer = try Self.parse("tokenizer.json", of: files)
        config = try Self.parse("tokenizer_config.json", of: files)
        try readAddedTokens()
    }

    /// `model_type` of `config.json`, or of its text part.
    var modelType: String { (files.config["text_config"]?["model_type"] ?? files.config["model_type"])?.string ?? "" }

    /// `vocab_size` of `config.json`.
    var vocabularySize: Int? { (files.config["vocab_size"] ?? files.config["text_config"]?["vocab_size"])?.integer }

    static func parse(_ name: String, of files: HuggingFaceFiles) throws(ModelError) -> JSONValue? {
        guard let bytes = files.files[name] else { return nil }
        let value: JSONValue
        do {
            value = try JSONValue(parsing: bytes)
        } catch {
            throw ModelError(.invalidKey(key: name, found: error.description, expected: "a JSON document"), path: name)
        }
        guard value.object != nil else {
            throw ModelError(.invalidKey(key: name, found: value.kind, expected: "an object"), path: name)
        }
        return value
    }

    private mutating func readAddedTokens() throws(ModelError) {
        var known: Set<ExactString> = []
        for (index, entry) in (tokenizer?["added_tokens"]?.array ?? []).enumerated() {
            let key = "added_tokens[\(index)]"
            guard let content = entry["content"]?.string else {
                throw ModelError(.missingKey(key: "\(key).content"), path: "tokenizer.json")
            }
            guard known.insert(ExactString(content)).inserted else {
                throw ModelError(
                    .invalidKey(key: key, found: "'\(printable(content))' a second time", expected: "each token once"),
                    path: "tokenizer.json")
            }
            try addedTokens.append(
                AddedToken(
                    id: tokenID(entry["id"], key: "\(key).id", path: "tokenizer.json"), content: content,
                    isSpecial: entry["special"]?.bool ?? false, isNormalized: entry["normalized"]?.bool ?? true))
        }
        let path = "tokenizer_config.json"
        for (id, entry) in try decoderEntries() {
            guard let content = entry["content"]?.string else {
                throw ModelError(.missingKey(key: "added_tokens_decoder.\(id).content"), path: path)
            }
            guard known.insert(ExactString(content)).inserted else { continue }
            let isSpecial = entry["special"]?.bool ?? false
            addedTokens.append(
                AddedToken(id: id, content: content, isSpecial: isSpecial, isNormalized: entry["normalized"]?.bool ?? !isSpecial))
        }
        for (content, id) in try addedTokensFile() where known.insert(ExactString(content)).inserted {
            addedTokens.append(AddedToken(id: id, content: content, isSpecial: false, isNormalized: true))
        }
    }

    /// The entries of `added_tokens_decoder` in `tokenizer_config.json`, in the order of the file.
    func decoderEntries() throws(ModelError) -> [(id: Int, entry: JSONValue)] {
        guard let decoder = config?["added_tokens_decoder"]?.object else { return [] }
        var entries: [(Int, JSONValue)] = []
        for key in decoder.keys {
            guard let id = Int(key), id >= 0, id < Int(Int32.max) else {
                throw ModelError(
                    .invalidKey(key: "added_tokens_decoder", found: "the key '\(printable(key))'", expected: "token ids"),
                    path: "tokenizer_config.json")
            }
            entries.append((id, decoder[key] ?? .null))
        }
        return entries
    }

    /// The entries of `added_tokens.json`, in the order of the file.
    func addedTokensFile() throws(ModelError) -> [(content: String, id: Int)] {
        guard let object = try Self.parse("added_tokens.json", of: files)?.object else { return [] }
        var entries: [(String, Int)] = []
        for key in object.keys { entries.append((key, try tokenID(object[key], key: printable(key), path: "added_tokens.json"))) }
        return entries
    }

    /// A number that can be a token's id.
    func tokenID(_ value: JSONValue?, key: @autoclosure () -> String, path: String) throws(ModelError) -> Int {
        guard let id = value?.integer, id >= 0, id < Int(Int32.max) else {
            throw ModelError(.invalidKey(key: key(), found: value?.kind ?? "nothing", expected: "a token id"), path: path)
        }
        return id
    }

    /// The text of `bos_token` and its like: a string, or an object with `content`.
    func specialToken(_ role: TokenizerDescription.Role) -> String? { Self.content(of: config?["\(role.rawValue)_token"]) }

    static func content(of value: JSONValue?) -> String? { value?.string ?? value?["content"]?.string }

    /// Whether the text is named as a special token anywhere in `tokenizer_config.json` or `special_tokens_map.json`.
    func namedSpecialTokens() throws(ModelError) -> Set<ExactString> {
        var sources = [config]
        if config?["added_tokens_decoder"] == nil { sources.append(try Self.parse("special_tokens_map.json", of: files)) }
        var names: Set<ExactString> = []
        for case let source? in sources {
            for role in ["bos", "eos", "unk", "sep", "pad", "cls", "mask"] {
                if let content = Self.content(of: source["\(role)_token"]) { names.insert(ExactString(content)) }
            }
            for entry in source["additional_special_tokens"]?.array ?? [] {
                if let content = Self.content(of: entry) { names.insert(ExactString(content)) }
            }
        }
        return names
    }
}

extension JSONValue {
    /// What kind of value this is, for messages.
    var kind: String {
        switch self {
        case .null: "null"
        case .bool(let value): "\(value)"
        case .integer(let value): "\(value)"
        case .unsigned(let value): "\(value)"
        case .number(let value): "\(value)"
        case .string(let value): "'\(printable(value))'"
        case .array(let elements): "an array of \(elements.count)"
        case .object(let object): "an object of \(object.count)"
        }
    }
}

/// Whether a token that is not marked as special reads like one; the reference makes these control tokens.
func looksSpecial(_ token: String) -> Bool {
    let utf8 = token.utf8
    func isWrapped(_ start: String, _ end: String) -> Bool {
        utf8.starts(with: start.utf8) && utf8.reversed().starts(with: end.utf8.reversed())
    }
    return ["<pad>", "<mask>", "<2mass>", "[@BOS@]"].contains { $0.utf8.elementsEqual(utf8) }
        || isWrapped("<|", "|>") || isWrapped("<｜", "｜>") || isWrapped("<unused", ">")
}
