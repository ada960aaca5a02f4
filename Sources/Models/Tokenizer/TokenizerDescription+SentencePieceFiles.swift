import Formats

/// SentencePiece vocabularies as `tokenizer.json` and `tokenizer.model`.
extension TokenizerDescription {
    /// BPE with the merges that the scores amount to.
    func sentencePieceBPE() throws(ModelError) -> JSONObject {
        let addsPrefix = addSpacePrefix ?? true
        let texts = sentencePieceTexts
        let scores = scores ?? []
        // Equal scores: the smaller id is the more frequent token.
        var order = [Int](repeating: 0, count: tokens.count)
        for (place, id) in tokens.indices.sorted(by: { (-scores[$0], $0) < (-scores[$1], $1) }).enumerated() { order[id] = place }
        let merges = derivedMerges(order: order)
        var vocabulary = JSONObject()
        for id in texts.indices where !isPadding(id) { vocabulary[texts[id]] = .integer(id) }
        let replace: JSONValue = ["type": "Replace", "pattern": ["String": " "], "content": "▁"]
        let normalizer: JSONValue = addsPrefix ? ["type": "Sequence", "normalizers": [["type": "Prepend", "prepend": "▁"], replace]] : replace
        let unknown = unknownToken.map { JSONValue.string(texts[$0]) }
        return tokenizerJSON(
            addedTokens: addedTokens(texts: texts, isByteLevel: false), normalizer: normalizer, preTokenizer: nil,
            decoder: Self.byteFallbackDecoder(strips: addsPrefix),
            model: [
                "type": "BPE", "dropout": nil, "unk_token": unknown ?? nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil,
                "fuse_unk": true, "byte_fallback": .bool(tokenTypes.contains(.byte)), "ignore_merges": false,
                "vocab": .object(vocabulary), "merges": .array(merges.indices.map { .string(merges[$0]) }),
            ])
    }

    /// The token for what the vocabulary does not hold.
    var unknownToken: Int? { id(of: .unk) ?? tokenTypes.firstIndex(of: .unknown) }

    /// The texts of tokens in files of Hugging Face.
    var sentencePieceTexts: StringTable { addSpacePrefix ?? true ? tokens : escapedUserDefined() }

    /// Texts with the spaces of user-defined tokens as "▁", except where another token reads so.
    private func escapedUserDefined() -> StringTable {
        let index = StringIndex(tokens)
        let escaped = escaped(tokens)
        return StringTable(tokens.indices.map { id in index.find(escaped[id]) == nil ? escaped[id] : tokens[id] })
    }

    func unigram() throws(ModelError) -> JSONObject {
        var normalizers: [JSONValue] = []
        if !precompiledCharsmap.isEmpty {
            normalizers.append(["type": "Precompiled", "precompiled_charsmap": .string(Base64.encoded(precompiledCharsmap))])
        }
        if removeExtraWhitespaces ?? false {
            normalizers.append(["type": "Strip", "strip_left": true, "strip_right": true])
            normalizers.append(["type": "Replace", "pattern": ["Regex": " {2,}"], "content": " "])
        }
        let metaspace: JSONValue = [
            "type": "Metaspace", "replacement": "▁", "prepend_scheme": .string(addSpacePrefix ?? true ? "always" : "never"), "split": true,
        ]
        let scores = scores ?? []
        let vocabulary = (0..<lastToken).map { id in JSONValue.array([.string(tokens[id]), .number(Double(scores[id]))]) }
        return tokenizerJSON(
            addedTokens: addedTokens(texts: tokens, isByteLevel: false),
            normalizer: normalizers.isEmpty ? nil : ["type": "Sequence", "normalizers": .array(normalizers)], preTokenizer: metaspace,
            decoder: metaspace,
            model: [
                "type": "Unigram", "unk_id": unknownToken.map(JSONValue.integer) ?? nil, "vocab": .array(vocabulary),
                "byte_fallback": .bool(tokenTypes.contains(.byte)),
            ])
    }

    /// One past the last token that is not padding.
    private var lastToken: Int { (tokens.indices.last { !isPadding($0) } ?? -1) + 1 }

    /// `tokenizer.model` with this vocabulary, for tools that read no other file.
    func sentencePieceModel() -> [UInt8] {
        var proto = SentencePieceModel()
        proto.kind = model == .unigram ? .unigram : .bpe
        let texts = escaped(tokens)
        for id in 0..<lastToken {
            proto.pieces.append(texts[id])
            proto.scores.append(scores?[id] ?? 0)
            proto.types.append(id == unknownToken ? .unknown : tokenTypes[id] == .unknown ? .unused : tokenTypes[id])
        }
        proto.usesByteFallback = tokenTypes.contains(.byte)
        proto.unkID = unknownToken ?? 0
        proto.bosID = id(of: .bos) ?? -1
        proto.eosID = id(of: .eos) ?? -1
        proto.padID = id(of: .pad) ?? -1
        proto.addsDummyPrefix = addSpacePrefix ?? true
        proto.removesExtraWhitespaces = removeExtraWhitespaces ?? false
        proto.precompiledCharsmap = precompiledCharsmap
        return proto.encoded()
    }
}
