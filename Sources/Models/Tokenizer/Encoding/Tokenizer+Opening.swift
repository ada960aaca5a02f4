import Formats

/// Tokenizers from the files that models come in. Whatever the source, it is brought into the form of `tokenizer.json` first.
extension Tokenizer {
    /// The tokenizer that a description of it amounts to.
    public init(_ description: TokenizerDescription) throws(ModelError) {
        try self.init(json: description.tokenizerJSON(), path: nil)
        special.bos = description.id(of: .bos)
        special.eos = description.id(of: .eos)
        special.unknown = description.unknownToken
        special.padding = description.id(of: .pad)
        special.stops = Set([TokenizerDescription.Role.eos, .eot, .eom].compactMap { description.id(of: $0) })
        special.chatTemplates = description.chatTemplates
        for role in TokenizerDescription.Role.allCases {
            special.texts["\(role.rawValue)_token"] = (role == .unk ? description.unknownToken : description.id(of: role)).flatMap(piece)
        }
        finishSpecialTokens()
    }

    /// The tokenizer in the metadata of a GGUF file.
    public init(gguf metadata: GGUFMetadata) throws(ModelError) {
        try self.init(TokenizerDescription(gguf: metadata))
    }

    /// The tokenizer of a Hugging Face directory: `tokenizer.json` where there is one, else `tokenizer.model` or `vocab.json` with
    /// `merges.txt`.
    public init(huggingFace files: HuggingFaceFiles) throws(ModelError) {
        guard let json = try HuggingFaceTokenizer.parse("tokenizer.json", of: files) else {
            try self.init(TokenizerDescription(huggingFace: files))
            return
        }
        try self.init(json: json)
        let config = try HuggingFaceTokenizer.parse("tokenizer_config.json", of: files)
        let generation = try HuggingFaceTokenizer.parse("generation_config.json", of: files)
        func named(_ role: String) throws(ModelError) -> [Int] {
            if let text = HuggingFaceTokenizer.content(of: config?["\(role)_token"]), let id = id(of: text) { return [id] }
            return try ids(in: files.config["\(role)_token_id"] ?? files.config["text_config"]?["\(role)_token_id"], "config.json", role)
        }
        special.bos = try named("bos").first
        special.eos = try named("eos").first
        special.unknown = try named("unk").first
        special.padding = try named("pad").first
        // The first that names any, as transformers' `generate` has it.
        special.stops = Set(try ids(in: generation?["eos_token_id"], "generation_config.json", "eos"))
        let configured = files.config["eos_token_id"] ?? files.config["text_config"]?["eos_token_id"]
        if special.stops.isEmpty { special.stops = Set(try ids(in: configured, "config.json", "eos")) }
        if special.stops.isEmpty { special.stops = Set(try named("eos")) }
        special.turnEnds = Set(try named("eos"))
        let map = try HuggingFaceTokenizer.parse("special_tokens_map.json", of: files)
        for role in ["bos", "eos", "unk", "sep", "pad", "cls", "mask"] {
            let key = "\(role)_token"
            special.texts[key] = HuggingFaceTokenizer.content(of: config?[key]) ?? HuggingFaceTokenizer.content(of: map?[key])
        }
        special.chatTemplates = try TokenizerDescription.chatTemplates(of: HuggingFaceTokenizer(files), prefersFile: true)
        finishSpecialTokens()
    }

    /// Ids that a configuration names: one, several, or none.
    private func ids(in value: JSONValue?, _ path: String, _ role: String) throws(ModelError) -> [Int] {
        guard let value, !value.isNull else { return [] }
        var ids: [Int] = []
        for entry in value.array ?? [value] {
            guard let id = entry.integer else {
                throw ModelError(.invalidKey(key: "\(role)_token_id", found: entry.kind, expected: "token ids"), path: path)
            }
            // -1 and ids past the vocabulary are how configurations say "none".
            if id >= 0, id < vocabularySize { ids.append(id) }
        }
        return ids
    }

    private mutating func finishSpecialTokens() {
        special.addsBOS = special.bos.map { postProcessing.before.contains($0) } ?? false
        special.addsEOS = special.eos.map { postProcessing.after.contains($0) } ?? false
        // Ends of turns by the names that chat models give them.
        let names: Set = [
            "<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<EOT>", "_<EOT>",
            "<|end_of_turn|>", "<｜end▁of▁sentence｜>",
        ]
        for token in addedTokens.tokens where names.contains(token.content) { special.turnEnds.insert(token.id) }
    }

    /// The tokenizer of whatever stands at a path: a model, a folder or a file of a tokenizer alone.
    /// - Throws: `FormatError` or `ModelError`, naming the file and the key.
    public init(path: String) throws {
        let name = path.split(separator: "/").last.map(String.init) ?? path
        do {
            if name.hasSuffix(".json") {
                let bytes = try Self.contents(of: path)
                let files = HuggingFaceFiles(config: .object([:]), files: ["tokenizer.json": bytes])
                try self.init(huggingFace: files)
            } else if name.hasSuffix(".model") {
                let files = HuggingFaceFiles(config: .object([:]), files: ["tokenizer.model": try Self.contents(of: path)])
                try self.init(huggingFace: files)
            } else if let files = try Self.filesOfFolder(path) {
                try self.init(huggingFace: files)
            } else {
                switch try openTensorSource(at: path).manifest.metadata {
                case .gguf(let metadata): try self.init(gguf: metadata)
                case .huggingFace(let files): try self.init(huggingFace: files)
                case .safetensors: throw ModelError(.missingKey(key: "tokenizer.json"), path: path)
                }
            }
        } catch let error as ModelError {
            // Errors name the file inside a folder; this adds where the folder is.
            let isFile = error.path == nil || name.hasSuffix(".json") || name.hasSuffix(".model")
            throw ModelError(error.reason, path: isFile ? path : "\(path)/\(error.path ?? "")")
        }
    }

    /// The files of a folder that say something of its tokenizer; `nil` when it is not one that holds a tokenizer.
    private static func filesOfFolder(_ path: String) throws -> HuggingFaceFiles? {
        let names = [
            "tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "merges.txt", "tokenizer_config.json", "added_tokens.json",
            "special_tokens_map.json", "generation_config.json", "chat_template.jinja", "chat_template.json",
        ]
        var files = HuggingFaceFiles(config: .object([:]))
        for name in names + (try HuggingFaceDirectory.namedChatTemplates(inFolder: path)) {
            if let bytes = try ifPresent("\(path)/\(name)") { files.files[name] = bytes }
        }
        guard files.files["tokenizer.json"] != nil || files.files["tokenizer.model"] != nil || files.files["spiece.model"] != nil
            || files.files["vocab.json"] != nil
        else { return nil }
        if let bytes = try ifPresent("\(path)/config.json") { files.config = try JSONValue(parsing: bytes) }
        return files
    }

    private static func ifPresent(_ path: String) throws(FormatError) -> TensorBytes? {
        do { return try contents(of: path) } catch {
            // No such file, or a file where a folder would have to be.
            if case .system(let call, let number) = error.reason, call == "open", number == 2 || number == 20 { return nil }
            throw error
        }
    }

    private static func contents(of path: String) throws(FormatError) -> TensorBytes {
        let file = try MappedFile(path: path)
        guard file.byteCount <= HuggingFaceDirectory.maximumFileByteCount else {
            throw FormatError(
                .invalid(field: "file size", found: "\(file.byteCount)", expected: "at most \(HuggingFaceDirectory.maximumFileByteCount)"),
                path: path)
        }
        return file.bytes
    }
}

