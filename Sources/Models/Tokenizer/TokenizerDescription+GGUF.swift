import Formats

/// The `tokenizer.*` keys of GGUF.
///
/// | key | type | meaning |
/// |---|---|---|
/// | `tokenizer.ggml.model` | string | `gpt2`, `llama`, `t5`, `gemma4` |
/// | `tokenizer.ggml.pre` | string | name of the pre-tokenizer |
/// | `tokenizer.ggml.tokens` | array of strings | texts by id |
/// | `tokenizer.ggml.scores` | array of f32 | by id |
/// | `tokenizer.ggml.token_type` | array of i32 | by id: `TokenType` |
/// | `tokenizer.ggml.merges` | array of strings | "left right", most important first |
/// | `tokenizer.ggml.precompiled_charsmap` | array of u8 | SentencePiece's normalization rules |
/// | `tokenizer.ggml.{bos,eos,unknown,seperator,padding,mask,eot,eom}_token_id` | u32 | (spelled so) |
/// | `tokenizer.ggml.add_{bos,eos,sep}_token`, `add_space_prefix`, `remove_extra_whitespaces` | bool | |
/// | `tokenizer.chat_template`, `tokenizer.chat_template.{name}` | string | |
/// | `tokenizer.chat_templates` | array of strings | names of the named templates |
enum TokenizerKey {
    static let model = "tokenizer.ggml.model"
    static let pre = "tokenizer.ggml.pre"
    static let tokens = "tokenizer.ggml.tokens"
    static let types = "tokenizer.ggml.token_type"
    static let scores = "tokenizer.ggml.scores"
    static let merges = "tokenizer.ggml.merges"
    static let spacePrefix = "tokenizer.ggml.add_space_prefix"
    static let extraWhitespaces = "tokenizer.ggml.remove_extra_whitespaces"
    static let charsmap = "tokenizer.ggml.precompiled_charsmap"
    static let lowercase = "tokenizer.ggml.normalizer.lowercase"
    static let stripAccents = "tokenizer.ggml.normalizer.strip_accents"
    static let template = "tokenizer.chat_template"
    static let templates = "tokenizer.chat_templates"
}

extension TokenizerDescription.Role {
    var ggufKey: String {
        switch self {
        case .unk: "tokenizer.ggml.unknown_token_id"
        case .sep: "tokenizer.ggml.seperator_token_id"
        case .pad: "tokenizer.ggml.padding_token_id"
        default: "tokenizer.ggml.\(rawValue)_token_id"
        }
    }
}

extension TokenizerDescription {
    /// Reads the `tokenizer.*` keys of a GGUF file.
    /// - Throws: `.missingKey`, `.invalidKey`; `.unsupportedTokenizer` for a kind of model that is not known here.
    public init(gguf metadata: GGUFMetadata) throws(ModelError) {
        guard let name = try metadata.string(TokenizerKey.model) else { throw ModelError(.missingKey(key: TokenizerKey.model)) }
        guard let model = Model(rawValue: name) else {
            throw ModelError(
                .unsupportedTokenizer(what: "'\(TokenizerKey.model)' is '\(printable(name))', known are gpt2, llama, t5 and gemma4"))
        }
        guard let tokens = try metadata.strings(TokenizerKey.tokens) else {
            throw ModelError(.missingKey(key: TokenizerKey.tokens))
        }
        self.init(model: model, tokens: tokens, tokenTypes: try metadata.tokenTypes(count: tokens.count))
        // A model that was rotated for a runtime of its own is still one of its base architecture.
        let base = try metadata.string("resq.base_architecture")
        architecture = if let base { base } else { try metadata.string("general.architecture") }
        preTokenizer = try metadata.string(TokenizerKey.pre)
        if model == .byteLevelBPE, preTokenizer == nil { preTokenizer = "default" }
        scores = try metadata.scores(count: tokens.count)
        if model != .byteLevelBPE, scores == nil { throw ModelError(.missingKey(key: TokenizerKey.scores)) }
        if model == .byteLevelBPE { scores = nil }
        if let merges = try metadata.strings(TokenizerKey.merges) { self.merges = merges }
        try readFlags(metadata)
        try readChatTemplates(metadata)
        try checkUnique()
    }

    private mutating func readFlags(_ metadata: GGUFMetadata) throws(ModelError) {
        for key in metadata.keys {
            for role in Role.allCases {
                if key == role.ggufKey {
                    guard let id = metadata[key]?.integer, tokens.indices.contains(id) else {
                        throw ModelError(
                            .invalidKey(key: key, found: "\(metadata[key].map { "\($0)" } ?? "")", expected: "an id in 0..<\(tokens.count)"))
                    }
                    specialTokens.append((role, id))
                } else if key == "tokenizer.ggml.add_\(role.rawValue)_token", let isAdded = try metadata.bool(key) {
                    addedAutomatically.append((role, isAdded))
                }
            }
        }
        addSpacePrefix = try metadata.bool(TokenizerKey.spacePrefix)
        removeExtraWhitespaces = try metadata.bool(TokenizerKey.extraWhitespaces)
        lowercase = try metadata.bool(TokenizerKey.lowercase)
        stripAccents = try metadata.bool(TokenizerKey.stripAccents)
        if let array = try metadata.array(TokenizerKey.charsmap) {
            guard array.elementType == .u8 || array.elementType == .i8 else {
                throw ModelError(.invalidKey(key: TokenizerKey.charsmap, found: "an array of \(array.elementType)", expected: "bytes"))
            }
            precompiledCharsmap = array.encoded.array
        }
        let position = { (key: String) in metadata.keys.firstIndex(of: key) ?? .max }
        spacePrefixIsLeading = addSpacePrefix != nil && position(TokenizerKey.spacePrefix) < position(TokenizerKey.model)
        if addSpacePrefix != nil, model != .unigram, !spacePrefixIsLeading { trailingKeys = [TokenizerKey.spacePrefix] }
    }

    private mutating func readChatTemplates(_ metadata: GGUFMetadata) throws(ModelError) {
        if let template = try metadata.string(TokenizerKey.template) { chatTemplates.append(("default", template)) }
        guard let names = try metadata.strings(TokenizerKey.templates) else { return }
        for index in names.indices {
            let key = "\(TokenizerKey.template).\(names[index])"
            guard let template = try metadata.string(key) else { throw ModelError(.missingKey(key: key)) }
            chatTemplates.append((names[index], template))
        }
    }
}

extension TokenizerDescription {
    /// The `tokenizer.*` keys, with the types and in the order of the reference converter.
    /// - Parameter vocabularySize: rows of the embedding. Ids past the vocabulary become unused tokens `[PADid]`.
    /// - Throws: `.unsupportedTokenizer` when the vocabulary does not fit.
    public func ggufMetadata(vocabularySize: Int) throws(ModelError) -> GGUFMetadata {
        let padded = try padded(to: vocabularySize)
        try padded.checkByteTokens()
        var metadata = GGUFMetadata()
        if spacePrefixIsLeading, let addSpacePrefix { metadata[TokenizerKey.spacePrefix] = .bool(addSpacePrefix) }
        metadata[TokenizerKey.model] = .string(model.rawValue)
        switch model {
        case .byteLevelBPE: metadata[TokenizerKey.pre] = preTokenizer.map(GGUFValue.string)
        case .sentencePieceBPE, .unigram: metadata[TokenizerKey.pre] = .string("default")
        case .characterBPE: break
        }
        metadata[TokenizerKey.tokens] = .array(GGUFArray(padded.tokens))
        if let scores = padded.scores { metadata[TokenizerKey.scores] = .array(GGUFArray(scores)) }
        metadata[TokenizerKey.types] = .array(GGUFArray(padded.tokenTypes.map(\.rawValue)))
        if model == .unigram {
            metadata[TokenizerKey.spacePrefix] = addSpacePrefix.map(GGUFValue.bool)
            metadata[TokenizerKey.extraWhitespaces] = removeExtraWhitespaces.map(GGUFValue.bool)
            if !precompiledCharsmap.isEmpty { metadata[TokenizerKey.charsmap] = .array(GGUFArray(precompiledCharsmap)) }
        }
        if model != .sentencePieceBPE, merges.count > 0 { metadata[TokenizerKey.merges] = .array(GGUFArray(merges)) }
        for (role, id) in specialTokens where role != .cls && id < vocabularySize {
            metadata[role.ggufKey] = .u32(UInt32(id))
        }
        for (role, isAdded) in addedAutomatically { metadata["tokenizer.ggml.add_\(role.rawValue)_token"] = .bool(isAdded) }
        writeChatTemplates(to: &metadata)
        metadata[TokenizerKey.lowercase] = lowercase.map(GGUFValue.bool)
        metadata[TokenizerKey.stripAccents] = stripAccents.map(GGUFValue.bool)
        if let addSpacePrefix { metadata[TokenizerKey.spacePrefix] = .bool(addSpacePrefix) }
        for key in trailingKeys {
            let value = metadata[key]
            metadata[key] = nil
            metadata[key] = value
        }
        return metadata
    }

    /// llama.cpp writes what is no token byte by byte, and ends with an error where a byte has none.
    /// - Throws: `.unsupportedTokenizer` naming the byte. A vocabulary without any byte tokens is another kind, and left alone.
    private func checkByteTokens() throws(ModelError) {
        guard model == .sentencePieceBPE, tokenTypes.contains(.byte) else { return }
        var found = [Bool](repeating: false, count: 256)
        for id in tokens.indices {
            if let byte = tokens.byte(at: id) { found[Int(byte)] = true }
            // A character's own token does as well.
            let text = tokens.range(at: id)
            if text.count == 1 { found[Int(tokens.utf8[text.lowerBound])] = true }
        }
        guard let missing = found.firstIndex(of: false) else { return }
        let digits = String(missing, radix: 16, uppercase: true)
        throw ModelError(
            .unsupportedTokenizer(
                what: "its vocabulary has tokens for single bytes, but no '<0x\(digits.count < 2 ? "0" : "")\(digits)>'; "
                    + "llama.cpp needs one for each byte"))
    }

    private func writeChatTemplates(to metadata: inout GGUFMetadata) {
        var names: [String] = []
        var main: String?
        for (name, template) in chatTemplates {
            // Names become parts of keys, so only letters and digits stay as they are.
            let name = String(String.UnicodeScalarView(name.unicodeScalars.map { isAlphanumeric($0) ? $0 : "_" }))
            if name == "default" {
                main = template
            } else {
                if !names.contains(name) { names.append(name) }
                metadata["\(TokenizerKey.template).\(name)"] = .string(template)
            }
        }
        if !names.isEmpty { metadata[TokenizerKey.templates] = .array(GGUFArray(strings: names)) }
        metadata[TokenizerKey.template] = main.map(GGUFValue.string)
    }

    private func isAlphanumeric(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "a"..."z", "A"..."Z", "0"..."9": true
        default: false
        }
    }

    /// The vocabulary with as many tokens as the embedding has rows.
    private func padded(to count: Int) throws(ModelError) -> TokenizerDescription {
        if tokens.count == count { return self }
        var copy = self
        if tokens.count > count {
            guard model == .sentencePieceBPE || model == .unigram else {
                throw ModelError(
                    .unsupportedTokenizer(
                        what: "its vocabulary has \(tokens.count) tokens, the embedding only \(count) rows; "
                            + "'\(printable(tokens[count]))' would have none"))
            }
            // Tokens that the model has no row for can never be read by it; the reference leaves them out too.
            copy.tokens = StringTable(tokens.indices.prefix(count).map { tokens[$0] })
            copy.tokenTypes.removeLast(tokens.count - count)
            copy.scores?.removeLast(tokens.count - count)
            return copy
        }
        for id in tokens.count..<count {
            copy.tokens.append("[PAD\(id)]")
            copy.tokenTypes.append(.unused)
            copy.scores?.append(model == .characterBPE ? -1000 : -10000)
        }
        return copy
    }
}

extension GGUFArray {
    /// The strings of a table, encoded in one pass.
    init(_ table: StringTable) {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(table.utf8.count + 8 * table.count)
        for index in table.indices {
            let range = table.range(at: index)
            let length = UInt64(range.count)
            for shift in stride(from: UInt64(0), to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: length >> shift)) }
            bytes.append(contentsOf: table.utf8[range])
        }
        self.init(elementType: .string, count: table.count, encoded: TensorBytes(bytes))
    }
}

extension GGUFMetadata {
    fileprivate func invalid(_ key: String, expected: String) -> ModelError {
        ModelError(.invalidKey(key: key, found: self[key].map { "of type \($0.type)" } ?? "missing", expected: expected))
    }

    fileprivate func string(_ key: String) throws(ModelError) -> String? {
        guard let value = self[key] else { return nil }
        guard let string = value.string else { throw invalid(key, expected: "a string") }
        return string
    }

    fileprivate func bool(_ key: String) throws(ModelError) -> Bool? {
        guard let value = self[key] else { return nil }
        guard let bool = value.bool else { throw invalid(key, expected: "a boolean") }
        return bool
    }

    fileprivate func array(_ key: String) throws(ModelError) -> GGUFArray? {
        guard let value = self[key] else { return nil }
        guard let array = value.array else { throw invalid(key, expected: "an array") }
        return array
    }

    fileprivate func strings(_ key: String) throws(ModelError) -> StringTable? {
        guard let array = try array(key) else { return nil }
        return try StringTable(array, key: key)
    }

    fileprivate func tokenTypes(count: Int) throws(ModelError) -> [TokenizerDescription.TokenType] {
        guard let array = try array(TokenizerKey.types) else { return Array(repeating: .normal, count: count) }
        guard array.elementType == .i32 || array.elementType == .u32, array.count == count, let numbers = array.integers else {
            throw ModelError(
                .invalidKey(
                    key: TokenizerKey.types, found: "\(array.count) of \(array.elementType)", expected: "\(count) of i32, one per token"))
        }
        var types: [TokenizerDescription.TokenType] = []
        types.reserveCapacity(count)
        for (id, number) in numbers.enumerated() {
            // 0 is "undefined" in old files.
            guard let type = Int32(exactly: number).flatMap({ TokenizerDescription.TokenType(rawValue: $0 == 0 ? 1 : $0) }) else {
                throw ModelError(.invalidKey(key: "\(TokenizerKey.types)[\(id)]", found: "\(number)", expected: "1 to 6"))
            }
            types.append(type)
        }
        return types
    }

    fileprivate func scores(count: Int) throws(ModelError) -> [Float]? {
        guard let array = try array(TokenizerKey.scores) else { return nil }
        guard array.elementType == .f32 || array.elementType == .i32, array.count == count, let scores = array.floats else {
            throw ModelError(
                .invalidKey(
                    key: TokenizerKey.scores, found: "\(array.count) of \(array.elementType)", expected: "\(count) of f32, one per token"))
        }
        return scores
    }
}
