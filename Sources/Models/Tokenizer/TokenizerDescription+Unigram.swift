import Formats

/// A unigram model of which only `tokenizer.json` is left.
extension TokenizerDescription {
    init(unigram source: HuggingFaceTokenizer) throws(ModelError) {
        let path = "tokenizer.json"
        let unigram = source.tokenizer?["model"]
        var entries: [(String, Int)] = []
        var scores: [Float] = []
        for (id, entry) in (unigram?["vocab"]?.array ?? []).enumerated() {
            guard let pair = entry.array, pair.count == 2, let text = pair[0].string, let score = pair[1].double else {
                throw ModelError(.invalidKey(key: "model.vocab[\(id)]", found: entry.kind, expected: "a token and its score"), path: path)
            }
            entries.append((text, id))
            scores.append(Float(score))
        }
        guard !entries.isEmpty else { throw ModelError(.missingKey(key: "model.vocab"), path: path) }
        var vocabulary = try Vocabulary(entries: entries, path: path)
        try vocabulary.add(source.addedTokens, named: source.namedSpecialTokens())
        self.init(model: .unigram, tokens: vocabulary.tokens, tokenTypes: vocabulary.types)
        for id in scores.count..<tokens.count { scores.append(tokenTypes[id] == .unused ? -10000 : -1000) }
        self.scores = scores
        preTokenizer = "default"
        if unigram?["byte_fallback"]?.bool ?? false { markByteTokens() }
        if let unknown = unigram?["unk_id"], !unknown.isNull {
            let id = try source.tokenID(unknown, key: "model.unk_id", path: path)
            guard tokens.indices.contains(id) else {
                throw ModelError(.invalidKey(key: "model.unk_id", found: "\(id)", expected: "an id in 0..<\(tokens.count)"), path: path)
            }
            tokenTypes[id] = .unknown
        }
        removeExtraWhitespaces = false
        try readUnigramNormalizer(source.normalizer)
        addSpacePrefix = Self.prependsSpace(source.preTokenizer) || Self.prependsSpace(source.normalizer)
    }

    private mutating func readUnigramNormalizer(_ normalizer: JSONValue) throws(ModelError) {
        switch normalizer["type"]?.string {
        case nil: break
        case "Sequence": for step in normalizer["normalizers"]?.array ?? [] { try readUnigramNormalizer(step) }
        case "Precompiled":
            guard let text = normalizer["precompiled_charsmap"]?.string, let bytes = Base64.decoded(text) else {
                throw ModelError(
                    .invalidKey(key: "normalizer.precompiled_charsmap", found: "no base64", expected: "base64"), path: "tokenizer.json")
            }
            precompiledCharsmap = bytes
        case "Replace":
            let pattern = normalizer["pattern"]
            if pattern?["Regex"]?.string == " {2,}" {
                removeExtraWhitespaces = true
            } else if pattern?["String"]?.string != " " || normalizer["content"]?.string != "▁" {
                throw ModelError(.unsupportedTokenizer(what: "its normalizer replaces '\(printable(pattern?.text() ?? ""))'"))
            }
        case "Strip", "Prepend": break
        case let type?:
            throw ModelError(.unsupportedTokenizer(what: "its normalizer '\(printable(type))' has no counterpart in llama.cpp"))
        }
    }

    /// Whether a step of the definition puts "▁" before a text.
    private static func prependsSpace(_ value: JSONValue) -> Bool {
        switch value["type"]?.string {
        case "Sequence": (value["pretokenizers"]?.array ?? value["normalizers"]?.array ?? []).contains(where: prependsSpace)
        case "Prepend": value["prepend"]?.string == "▁"
        case "Metaspace": value["prepend_scheme"]?.string.map { $0 != "never" } ?? value["add_prefix_space"]?.bool ?? true
        default: false
        }
    }
}

/// RFC 4648, with padding.
enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    static func encoded(_ bytes: [UInt8]) -> String {
        var text: [UInt8] = []
        text.reserveCapacity(bytes.count / 3 * 4 + 4)
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            var bits: UInt32 = 0
            for offset in 0..<3 { bits = bits << 8 | (offset < group.count ? UInt32(group[start + offset]) : 0) }
            for place in 0..<4 {
                text.append(place <= group.count ? alphabet[Int(bits >> UInt32(18 - 6 * place) & 63)] : UInt8(ascii: "="))
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// - Returns: `nil` for text that is not base64.
    static func decoded(_ text: String) -> [UInt8]? {
        var digits = Array(text.utf8)
        guard digits.count % 4 == 0 else { return nil }
        var padding = 0
        while padding < 2, digits.last == UInt8(ascii: "=") {
            digits.removeLast()
            padding += 1
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(digits.count / 4 * 3 + 3)
        var bits: UInt32 = 0, count = 0
        for digit in digits {
            let value: UInt8
            switch digit {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = digit - UInt8(ascii: "A")
            case UInt8(ascii: "a")...UInt8(ascii: "z"): value = digit - UInt8(ascii: "a") + 26
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = digit - UInt8(ascii: "0") + 52
            case UInt8(ascii: "+"): value = 62
            case UInt8(ascii: "/"): value = 63
            default: return nil
            }
            bits = bits << 6 | UInt32(value)
            count += 6
            if count >= 8 {
                count -= 8
                bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
            }
        }
        return bytes
    }
}
