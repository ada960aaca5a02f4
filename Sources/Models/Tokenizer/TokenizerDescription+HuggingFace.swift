import Formats

extension TokenizerDescription {
    /// What is wrong with a directory that has no tokenizer at all.
    public static let noTokenizer = ModelError.Reason.missingKey(key: "tokenizer.json, tokenizer.model or vocab.json")

    /// Reads the tokenizer of a Hugging Face directory.
    ///
    /// `tokenizer.model` wins over `tokenizer.json` where the reference converter prefers it. Special tokens, token types and
    /// flags follow `tokenizer.json`, `tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json` and `config.json`.
    /// - Parameter preTokenizer: llama.cpp's name for the pre-tokenizer, for a definition that is not recognised.
    /// - Throws: `.unsupportedTokenizer` for what GGUF cannot hold; `.invalidKey` and `.missingKey` for broken files.
    public init(huggingFace files: HuggingFaceFiles, preTokenizer: String? = nil) throws(ModelError) {
        let source = try HuggingFaceTokenizer(files)
        if let model = source.sentencePieceModel, !source.prefersTokenizerJSON {
            try self.init(sentencePiece: model, source: source)
        } else {
            switch source.tokenizer?["model"]?["type"]?.string {
            case "BPE": try self.init(bpe: source, preTokenizer: preTokenizer)
            case "Unigram": try self.init(unigram: source)
            case nil where source.tokenizer == nil && files.files["vocab.json"] != nil:
                try self.init(bpe: source, preTokenizer: preTokenizer)
            case nil where source.tokenizer == nil:
                throw ModelError(TokenizerDescription.noTokenizer)
            case let type:
                throw ModelError(
                    .unsupportedTokenizer(what: "its model is '\(printable(type ?? "nothing"))', not BPE or Unigram"),
                    path: "tokenizer.json")
            }
        }
        try readSpecialTokens(source)
        chatTemplates = try Self.chatTemplates(of: source, prefersFile: false)
        readArchitectureRules(source)
        try checkUnique()
    }

    /// What the reference adds for single architectures.
    private mutating func readArchitectureRules(_ source: HuggingFaceTokenizer) {
        switch source.modelType {
        case "llama", "mistral", "mixtral":
            if let value = source.config?["add_prefix_space"]?.bool {
                addSpacePrefix = value
                spacePrefixIsLeading = true
            }
            // The first Code Llama, whose end of infill no file names.
            if source.vocabularySize == 32016 {
                setIfMissing(.eot, 32010)
                trailingKeys = [Role.eot.ggufKey]
            }
            // Granite and SmolLM: a start token in the configuration that is not put before texts.
            if source.vocabularySize == 49152 { setAddedLast(.bos, false) }
        case "gemma", "gemma2", "gemma3", "gemma3_text":
            if model == .sentencePieceBPE { setSpacePrefixLast(false) }
        case "gemma4", "gemma4_text":
            setSpacePrefixLast(false)
            setAddedLast(.bos, true)
        default: break
        }
    }

    private mutating func setSpacePrefixLast(_ value: Bool) {
        addSpacePrefix = value
        trailingKeys.append("tokenizer.ggml.add_space_prefix")
    }

    private mutating func setAddedLast(_ role: Role, _ value: Bool) {
        if isAdded(role) == nil { trailingKeys.append("tokenizer.ggml.add_\(role.rawValue)_token") }
        setAdded(role, value)
    }
}

extension HuggingFaceTokenizer {
    /// `tokenizer.model`, or the name that it has in T5's repositories.
    var sentencePieceModel: (name: String, bytes: TensorBytes)? {
        for name in ["tokenizer.model", "spiece.model"] {
            if let bytes = files.files[name] { return (name, bytes) }
        }
        return nil
    }

    /// Architectures whose `tokenizer.model`, where there is one, is another tokenizer's or is not read by the reference.
    var prefersTokenizerJSON: Bool {
        tokenizer != nil
            && (["qwen2_moe", "gemma4", "gemma4_text"].contains(modelType)
                || (modelType == "phi3" && config?["tokenizer_class"]?.string == "GPT2Tokenizer"))
    }
}
