import Formats

extension TokenizerDescription {
    /// The tokenizer files of a Hugging Face directory, by name.
    ///
    /// `tokenizer.json`, `tokenizer_config.json` with the chat template, `special_tokens_map.json`; for SentencePiece
    /// vocabularies `tokenizer.model` too, the source's own when it had one.
    /// - Throws: `.unsupportedTokenizer` when Hugging Face has no counterpart that is known here.
    public func huggingFaceFiles() throws(ModelError) -> [String: [UInt8]] {
        var files = [
            "tokenizer.json": try tokenizerJSON().bytes(pretty: false),
            "tokenizer_config.json": JSONValue.object(tokenizerConfig()).bytes(pretty: true) + [0x0A],
            "special_tokens_map.json": JSONValue.object(specialTokensMap()).bytes(pretty: true) + [0x0A],
        ]
        for (name, bytes) in originalFiles { files[name] = bytes.array }
        if model == .sentencePieceBPE || model == .unigram, originalFiles.isEmpty { files["tokenizer.model"] = sentencePieceModel() }
        return files
    }

    // MARK: tokenizer.json

    /// The contents of `tokenizer.json`.
    /// - Throws: `.unsupportedTokenizer` when Hugging Face has no counterpart that is known here.
    func tokenizerJSON() throws(ModelError) -> JSONValue {
        switch model {
        case .byteLevelBPE: .object(try rankedBPE())
        case .characterBPE: .object(try rankedBPE(as: "gemma4"))
        case .sentencePieceBPE: .object(try sentencePieceBPE())
        case .unigram: .object(try unigram())
        }
    }

    /// The parts of `tokenizer.json` in their usual order.
    func tokenizerJSON(
        addedTokens: JSONValue, normalizer: JSONValue, preTokenizer: JSONValue, decoder: JSONValue, model: JSONValue
    ) -> JSONObject {
        [
            "version": "1.0", "truncation": nil, "padding": nil, "added_tokens": addedTokens, "normalizer": normalizer,
            "pre_tokenizer": preTokenizer, "post_processor": postProcessor(), "decoder": decoder, "model": model,
        ]
    }

    /// BPE with ranked merges, cut by a pre-tokenizer of the table.
    private func rankedBPE(as name: String? = nil) throws(ModelError) -> JSONObject {
        let name = name ?? preTokenizer ?? "default"
        guard let pre = try PreTokenizer.named(name) else {
            throw ModelError(
                .unsupportedTokenizer(what: "no definition is known for the pre-tokenizer '\(printable(name))'"))
        }
        let texts = pre.isByteLevel ? tokens : escaped(tokens)
        try checkMerges(merges, texts, path: nil, key: TokenizerKey.merges)
        var vocabulary = JSONObject()
        for id in texts.indices where !isPadding(id) { vocabulary[texts[id]] = .integer(id) }
        let byteFallback = !pre.isByteLevel
        let unknown: JSONValue = byteFallback ? id(of: .unk).map { .string(texts[$0]) } ?? nil : nil
        return tokenizerJSON(
            addedTokens: addedTokens(texts: texts, isByteLevel: pre.isByteLevel), normalizer: normalizer(pre),
            preTokenizer: pre.definition, decoder: pre.isByteLevel ? Self.byteLevelDecoder : Self.byteFallbackDecoder(strips: false),
            model: [
                "type": "BPE", "dropout": nil, "unk_token": unknown, "continuing_subword_prefix": nil, "end_of_word_suffix": nil,
                "fuse_unk": .bool(byteFallback), "byte_fallback": .bool(byteFallback), "ignore_merges": .bool(pre.ignoresMerges ?? false),
                "vocab": .object(vocabulary), "merges": .array(merges.indices.map { .string(merges[$0]) }),
            ])
    }

    private func normalizer(_ pre: PreTokenizer) -> JSONValue {
        var steps: [JSONValue] = pre.normalizer.isNull ? [] : [pre.normalizer]
        if lowercase == true { steps.append(["type": "Lowercase"]) }
        if stripAccents == true { steps.append(["type": "StripAccents"]) }
        return steps.count < 2 ? steps.first ?? nil : ["type": "Sequence", "normalizers": .array(steps)]
    }

    static let byteLevelDecoder: JSONValue = [
        "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true,
    ]

    /// The decoder of SentencePiece vocabularies: "▁" is a space, byte tokens are bytes.
    /// - Parameter strips: whether the first space is one that encoding put there.
    static func byteFallbackDecoder(strips: Bool) -> JSONValue {
        var steps: [JSONValue] = [
            ["type": "Replace", "pattern": ["String": "▁"], "content": " "], ["type": "ByteFallback"], ["type": "Fuse"],
        ]
        if strips { steps.append(["type": "Strip", "content": " ", "start": 1, "stop": 0]) }
        return ["type": "Sequence", "decoders": .array(steps)]
    }

    /// Whether a token only fills the embedding up; Hugging Face leaves such ids out.
    func isPadding(_ id: Int) -> Bool {
        (tokenTypes[id] == .unused || tokenTypes[id] == .unknown) && tokens.isEqual(at: id, to: "[PAD\(id)]")
    }

    /// Texts with spaces as "▁", as vocabularies without a byte alphabet have them.
    func escaped(_ table: StringTable) -> StringTable {
        guard table.utf8.contains(UInt8(ascii: " ")) else { return table }
        return StringTable(
            table.indices.map { index in
                let text = table[index]
                guard text.utf8.contains(UInt8(ascii: " ")) else { return text }
                return text.unicodeScalars.reduce(into: "") { $0.unicodeScalars.append($1 == " " ? "\u{2581}" : $1) }
            })
    }

    /// Control and user-defined tokens, and the unknown token, with the flags that bring them back as they are.
    func addedTokens(texts: StringTable, isByteLevel: Bool) -> JSONValue {
        var entries: [JSONValue] = []
        let named = Set(specialTokens.map(\.id) + [unknownToken ?? -1])
        for id in texts.indices {
            let type = tokenTypes[id]
            guard type == .control || type == .userDefined || named.contains(id) else { continue }
            let text = texts[id]
            // Raw tokens are decoded on the way back, so those that would change are looked for in normalized text.
            let isNormalized = isByteLevel ? ByteAlphabet.decoded(text) != text : type == .userDefined && text.unicodeScalars.contains("\u{2581}")
            entries.append([
                "id": .integer(id), "content": .string(text), "single_word": false, "lstrip": false,
                "rstrip": .bool(swallowsSpaces(id)), "normalized": .bool(isNormalized), "special": .bool(type != .userDefined),
            ])
        }
        return .array(entries)
    }

    /// Whether spaces after a token belong to it: llama.cpp knows this of Phi-3, and GGUF has no key for it.
    private func swallowsSpaces(_ id: Int) -> Bool {
        guard architecture == "phi3", model == .sentencePieceBPE else { return false }
        let exceptions = ["<unk>", "<s>", "<|endoftext|>"]
        return tokens.isEqual(at: id, to: "</s>") || (tokenTypes[id] == .control && !exceptions.contains { tokens.isEqual(at: id, to: $0) })
    }

    /// Whether a token is put before or after every text, by the metadata or else by llama.cpp's default for this kind.
    func addsToken(_ role: Role) -> Bool {
        if let isAdded = isAdded(role) { return isAdded }
        switch (model, role) {
        case (.sentencePieceBPE, .bos), (.unigram, .eos): return true
        case (.byteLevelBPE, .bos): return (try? PreTokenizer.named(preTokenizer ?? ""))?.addsBOS ?? false
        default: return false
        }
    }

    /// The template that puts the first and the last token around texts.
    private func postProcessor() -> JSONValue {
        let bos = addsToken(.bos) ? id(of: .bos) : nil, eos = addsToken(.eos) ? id(of: .eos) : nil
        guard bos != nil || eos != nil else { return nil }
        var special = JSONObject()
        func token(_ id: Int?, _ type: Int) -> [JSONValue] {
            guard let id else { return [] }
            let text = JSONValue.string(tokens[id])
            special[tokens[id]] = ["id": text, "ids": [.integer(id)], "tokens": [text]]
            return [["SpecialToken": ["id": text, "type_id": .integer(type)]]]
        }
        func sequence(_ name: String, _ type: Int) -> [JSONValue] { [["Sequence": ["id": .string(name), "type_id": .integer(type)]]] }
        let single = token(bos, 0) + sequence("A", 0) + token(eos, 0)
        // The reference takes what stands between two texts for a statement about separators, so that without one nothing does.
        let between = isAdded(.sep) == nil ? [] : token(eos, 0) + token(bos, 1)
        let pair = token(bos, 0) + sequence("A", 0) + between + sequence("B", 1) + token(eos, 1)
        return [
            "type": "TemplateProcessing", "single": .array(single), "pair": .array(pair), "special_tokens": .object(special),
        ]
    }

    // MARK: The files beside it

    private static let mappedRoles: [Role] = [.bos, .eos, .unk, .sep, .pad, .cls, .mask]

    private func tokenizerConfig() -> JSONObject {
        var config = JSONObject()
        for role in [Role.bos, .eos, .sep] {
            if let isAdded = isAdded(role) { config["add_\(role.rawValue)_token"] = .bool(isAdded) }
        }
        if let addSpacePrefix, spacePrefixIsLeading || model == .byteLevelBPE { config["add_prefix_space"] = .bool(addSpacePrefix) }
        if model == .sentencePieceBPE { config["added_tokens_decoder"] = .object(addedTokensDecoder()) }
        for role in Self.mappedRoles {
            if let id = id(of: role) { config["\(role.rawValue)_token"] = .string(tokens[id]) }
        }
        switch chatTemplates.count {
        case 0: break
        case 1 where chatTemplates[0].name == "default": config["chat_template"] = .string(chatTemplates[0].template)
        default:
            config["chat_template"] = .array(chatTemplates.map { ["name": .string($0.name), "template": .string($0.template)] })
        }
        config["clean_up_tokenization_spaces"] = false
        // Unless told, a PreTrainedTokenizerFast also returns token type ids, which decoders refuse.
        config["model_input_names"] = ["input_ids", "attention_mask"]
        config["model_max_length"] = .number(1e30)
        // Phi's converter in llama.cpp looks for this very name before it reads a byte-level vocabulary.
        config["tokenizer_class"] = .string(architecture == "phi3" && model == .byteLevelBPE ? "GPT2Tokenizer" : "PreTrainedTokenizerFast")
        return config
    }

    /// Tokens that a converter is to take over from here rather than from `tokenizer.model`; it scores them -1000.
    /// Their texts are those of `tokenizer.json`: another text would be taken for one token more.
    private func addedTokensDecoder() -> JSONObject {
        let texts = sentencePieceTexts
        var decoder = JSONObject()
        for id in tokens.indices where tokenTypes[id] == .control || tokenTypes[id] == .userDefined {
            guard tokenTypes[id] == .userDefined || scores?[id] == -1000 else { continue }
            let isNormalized = tokenTypes[id] == .userDefined && texts[id].unicodeScalars.contains("\u{2581}")
            decoder["\(id)"] = [
                "content": .string(texts[id]), "lstrip": false, "normalized": .bool(isNormalized), "rstrip": false, "single_word": false,
                "special": .bool(tokenTypes[id] == .control),
            ]
        }
        return decoder
    }

    private func specialTokensMap() -> JSONObject {
        var map = JSONObject()
        for role in Self.mappedRoles {
            guard let id = id(of: role) else { continue }
            map["\(role.rawValue)_token"] = [
                "content": .string(tokens[id]), "lstrip": false, "normalized": false, "rstrip": false, "single_word": false,
            ]
        }
        return map
    }
}
