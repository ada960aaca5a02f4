import Formats

/// The pre-tokenizers that are known, from `pretokenizers.json`: how Hugging Face defines each and what llama.cpp calls it.
///
/// llama.cpp's converter recognises a pre-tokenizer by hashing the ids of a test text, which needs a running tokenizer and
/// fails for every new vocabulary. Here the definition itself is compared, step by step; only where several names share a
/// definition do tokens of the vocabulary decide which is written, and that changes nothing in how text is cut.
struct PreTokenizer: Sendable {
    /// A vocabulary that has a name of its own, told by the ids of some of its tokens.
    struct Vocabulary: Sendable {
        var name: String
        var tokens: [(text: String, id: Int)]
    }

    /// llama.cpp's name.
    var name: String
    /// Other names for the same definition.
    var aliases: [String]
    /// `pre_tokenizer` of `tokenizer.json`.
    var definition: JSONValue
    /// `normalizer` of `tokenizer.json`, where it is part of the definition or usual.
    var normalizer: JSONValue
    /// Whether a piece that is in the vocabulary becomes that token without merging. `nil`: either.
    var ignoresMerges: Bool?
    /// Whether llama.cpp puts a BOS token first when the metadata does not say.
    var addsBOS: Bool
    /// Whether pieces are in GPT-2's byte alphabet.
    var isByteLevel: Bool
    var vocabularies: [Vocabulary]
    /// The definition in comparable form.
    var steps: [String]

    static let known: Result<[PreTokenizer], ModelError> = Result { () throws(ModelError) in
        try read(PackageResources.pretokenizers_json)
    }

    /// Reads the table.
    static func read(_ bytes: [UInt8]) throws(ModelError) -> [PreTokenizer] {
        func invalid(_ why: String) -> ModelError {
            ModelError(.invalidArchitecture(field: "pretokenizers", why: why), path: "pretokenizers.json")
        }
        let json: JSONValue
        do { json = try JSONValue(parsing: bytes) } catch { throw invalid(error.description) }
        var table: [PreTokenizer] = []
        for entry in json["pretokenizers"]?.array ?? [] {
            guard let name = entry["name"]?.string, let definition = entry["pre_tokenizer"] else {
                throw invalid("an entry without 'name' or 'pre_tokenizer'")
            }
            let isByteLevel = entry["byte_level"]?.bool ?? true
            var vocabularies: [Vocabulary] = []
            for key in entry["vocabularies"]?.object?.keys ?? [] {
                let tokens = entry["vocabularies"]?[key]?.object
                vocabularies.append(
                    Vocabulary(name: key, tokens: (tokens?.keys ?? []).map { ($0, tokens?[$0]?.integer ?? -1) }))
            }
            table.append(
                PreTokenizer(
                    name: name, aliases: (entry["aliases"]?.array ?? []).compactMap(\.string), definition: definition,
                    normalizer: entry["normalizer"] ?? .null, ignoresMerges: entry["ignore_merges"]?.bool,
                    addsBOS: entry["adds_bos"]?.bool ?? false, isByteLevel: isByteLevel, vocabularies: vocabularies,
                    steps: canonicalSteps(of: definition)))
        }
        return table
    }

    /// The definition behind one of llama.cpp's names.
    static func named(_ name: String) throws(ModelError) -> PreTokenizer? {
        try known.get().first { entry in
            entry.name == name || entry.aliases.contains(name) || entry.vocabularies.contains { $0.name == name }
        }
    }

    /// llama.cpp's name for a definition.
    /// - Parameter id: the id of a token, to tell vocabularies apart.
    /// - Throws: `.unsupportedTokenizer` with what was found when no definition is the same.
    static func name(
        preTokenizer: JSONValue, normalizer: JSONValue, ignoresMerges: Bool, isByteLevel: Bool, id: (String) -> Int?
    ) throws(ModelError) -> String {
        let steps = canonicalSteps(of: preTokenizer)
        let candidates = try known.get().filter { $0.steps == steps && $0.isByteLevel == isByteLevel }
        let exact = candidates.first { ($0.ignoresMerges ?? ignoresMerges) == ignoresMerges }
        guard let match = exact ?? candidates.first else {
            let found = steps.isEmpty ? "none" : steps.joined(separator: ", then ")
            throw ModelError(
                .unsupportedTokenizer(
                    what: "its pre-tokenizer is not one that GGUF has a name for (\(printable(found, limit: 600))); "
                        + "if you know which of llama.cpp's it behaves like, name that one explicitly"))
        }
        try checkNormalizer(normalizer, match)
        // The vocabulary that most of its tokens speak for.
        return match.vocabularies.first { vocabulary in vocabulary.tokens.allSatisfy { id($0.text) == $0.id } }?.name ?? match.name
    }

    /// Byte-level pieces are of the text as it came, or of its composed form; llama.cpp knows no other normalization.
    private static func checkNormalizer(_ normalizer: JSONValue, _ match: PreTokenizer) throws(ModelError) {
        if !match.isByteLevel { return }
        let steps = normalizer["type"]?.string == "Sequence" ? normalizer["normalizers"]?.array ?? [] : [normalizer]
        for step in steps where !step.isNull {
            let type = step["type"]?.string ?? "?"
            guard ["NFC", "Lowercase", "StripAccents", "BertNormalizer"].contains(type) else {
                throw ModelError(
                    .unsupportedTokenizer(what: "its normalizer '\(printable(type))' has no counterpart in llama.cpp"))
            }
        }
    }

    /// A definition as a list of steps, with spellings that mean the same made the same.
    static func canonicalSteps(of value: JSONValue) -> [String] {
        switch value["type"]?.string {
        case nil: return []
        case "Sequence": return (value["pretokenizers"]?.array ?? []).flatMap(canonicalSteps)
        case "ByteLevel":
            var step = "ByteLevel"
            if value["use_regex"]?.bool ?? true { step += " with GPT-2's pattern" }
            if value["add_prefix_space"]?.bool ?? true { step += " with a leading space" }
            return [step]
        case "Digits":
            return [(value["individual_digits"]?.bool ?? false) ? "split /\\p{N}/ isolated" : "split /\\p{N}+/ isolated"]
        case "Punctuation": return ["Punctuation \((value["behavior"]?.string ?? "Isolated").lowercased())"]
        case "Split":
            var behavior = (value["behavior"]?.string ?? "").lowercased()
            if value["invert"]?.bool ?? false {
                // To drop what lies between matches is to keep the matches, given that the pattern covers all text.
                behavior = behavior == "removed" ? "isolated" : "\(behavior) inverted"
            }
            if let pattern = value["pattern"]?["Regex"]?.string { return ["split /\(pattern)/ \(behavior)"] }
            return ["split '\(value["pattern"]?["String"]?.string ?? "?")' \(behavior)"]
        default: return [value.text()]
        }
    }
}
