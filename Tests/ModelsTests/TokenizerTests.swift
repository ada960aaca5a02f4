import Formats
import Models
import Testing

/// What decides single keys and flags of a tokenizer.
@Suite struct TokenizerTests {
    private func keys(_ files: HuggingFaceFiles, _ count: Int = 8) throws -> GGUFMetadata {
        try TokenizerDescription(huggingFace: files).ggufMetadata(vocabularySize: count)
    }

    @Test func vocabularyIsPaddedToTheRowsOfTheEmbedding() throws {
        let made = try keys(directory(["tokenizer.json": smallTokenizer()]), 10)
        #expect(made["tokenizer.ggml.tokens"]?.array?.strings?.suffix(3) == ["<|end|>", "[PAD8]", "[PAD9]"])
        #expect(made["tokenizer.ggml.token_type"]?.array?.integers == [1, 1, 1, 1, 1, 1, 1, 3, 5, 5])
    }

    @Test func gapsInTheIdsAreUnusedTokens() throws {
        let made = try keys(directory(["tokenizer.json": smallTokenizer(vocabulary: ["a": 0, "b": 2, "ab": 4], merges: ["a b"], added: [])]), 5)
        #expect(made["tokenizer.ggml.tokens"]?.array?.strings == ["a", "[PAD1]", "b", "[PAD3]", "ab"])
        #expect(made["tokenizer.ggml.token_type"]?.array?.integers == [1, 5, 1, 5, 1])
    }

    @Test func addedTokensAreControlOrUserDefined() throws {
        let added: JSONValue = [
            ["id": 7, "content": "<|looks special|>", "special": false], ["id": 8, "content": "ĠĠ", "special": false, "normalized": false],
            ["id": 9, "content": "ĠĠ", "special": false], ["id": 10, "content": "▁x", "special": false], ["id": 11, "content": "<s>", "special": true],
        ]
        #expect(refusal { try keys(directory(["tokenizer.json": smallTokenizer(added: added)])) }.contains("'ĠĠ' a second time"))
        var list = try #require(added.array)
        list.remove(at: 2)
        let made = try keys(directory(["tokenizer.json": smallTokenizer(added: .array(list))]), 12)
        #expect(made["tokenizer.ggml.token_type"]?.array?.integers?.suffix(5) == [3, 4, 5, 4, 3])
        // Tokens of the raw text are written as they decode, user-defined ones with spaces.
        #expect(made["tokenizer.ggml.tokens"]?.array?.strings?.suffix(5) == ["<|looks special|>", "  ", "[PAD9]", " x", "<s>"])
    }

    @Test func spellingsOfOneCharacterAreDifferentTokens() throws {
        let vocabulary: JSONValue = ["a": 0, "\u{E9}": 1, "e\u{301}": 2]
        let made = try keys(directory(["tokenizer.json": smallTokenizer(vocabulary: vocabulary, merges: [], added: [])]), 3)
        #expect(made["tokenizer.ggml.tokens"]?.array?.strings?.map { Array($0.utf8) } == [[0x61], [0xC3, 0xA9], [0x65, 0xCC, 0x81]])
    }

    @Test func mergesMayBePairs() throws {
        let made = try keys(directory(["tokenizer.json": smallTokenizer(merges: [["a", "b"], ["ab", "c"]])]))
        #expect(made["tokenizer.ggml.merges"]?.array?.strings == ["a b", "ab c"])
    }

    @Test func specialTokensComeFromTheirNamesThenFromTheConfiguration() throws {
        let files = directory(
            ["model_type": "qwen2", "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": [1, 2]],
            ["tokenizer.json": smallTokenizer(), "tokenizer_config.json": ["eos_token": ["content": "<|end|>"], "unk_token": "nowhere"]])
        let made = try keys(files)
        #expect(made["tokenizer.ggml.eos_token_id"] == .u32(7))
        #expect(made["tokenizer.ggml.bos_token_id"] == .u32(2))
        #expect(made["tokenizer.ggml.padding_token_id"] == nil)
        #expect(made["tokenizer.ggml.unknown_token_id"] == nil)
        #expect(made.keys.suffix(2) == ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.bos_token_id"])
    }

    @Test func templateSaysWhatIsAdded() throws {
        let template: JSONValue = [
            "type": "TemplateProcessing", "single": [["SpecialToken": ["id": "<|end|>"]], ["Sequence": ["id": "A"]]],
            "pair": [["SpecialToken": ["id": "<|end|>"]], ["Sequence": ["id": "A"]], ["SpecialToken": ["id": "<|end|>"]], ["Sequence": ["id": "B"]]],
        ]
        let files = directory([
            "tokenizer.json": smallTokenizer(other: ["post_processor": ["type": "Sequence", "processors": [["type": "ByteLevel"], template]]]),
            "tokenizer_config.json": ["bos_token": "<|end|>", "add_bos_token": false, "add_eos_token": true],
        ])
        let made = try keys(files)
        #expect(made["tokenizer.ggml.add_bos_token"] == .bool(true))
        #expect(made["tokenizer.ggml.add_eos_token"] == .bool(false))
        #expect(made["tokenizer.ggml.add_sep_token"] == .bool(false))
    }

    @Test func chatTemplatesKeepTheirNames() throws {
        let templates: JSONValue = [["name": "default", "template": "D"], ["name": "tool use", "template": "T"]]
        let made = try keys(directory(["tokenizer.json": smallTokenizer(), "tokenizer_config.json": ["chat_template": templates]]))
        #expect(made["tokenizer.chat_template"] == .string("D"))
        #expect(made["tokenizer.chat_template.tool_use"] == .string("T"))
        #expect(made["tokenizer.chat_templates"]?.array?.strings == ["tool_use"])
        let back = try TokenizerDescription(gguf: made)
        #expect(back.chatTemplates.map(\.name) == ["default", "tool_use"])
        #expect(back.chatTemplates.map(\.template) == ["D", "T"])
    }

    @Test func chatTemplateMayBeAFileOfItsOwn() throws {
        var files = directory(["tokenizer.json": smallTokenizer(), "tokenizer_config.json": [:]])
        files.files["chat_template.jinja"] = TensorBytes(Array("{{ x }}".utf8))
        files.files["additional_chat_templates/rag.jinja"] = TensorBytes(Array("{{ y }}".utf8))
        let made = try keys(files)
        #expect(made["tokenizer.chat_template"] == .string("{{ x }}"))
        #expect(made["tokenizer.chat_template.rag"] == .string("{{ y }}"))
    }

    @Test func singleVocabularySizesHaveTheirOwnRule() throws {
        let files = directory(
            ["model_type": "llama", "vocab_size": 49152], ["tokenizer.json": smallTokenizer(), "tokenizer_config.json": ["add_prefix_space": false]])
        let made = try keys(files)
        #expect(made.keys.first == "tokenizer.ggml.add_space_prefix")
        #expect(made.keys.last == "tokenizer.ggml.add_bos_token")
        #expect(made["tokenizer.ggml.add_bos_token"] == .bool(false))
    }
}

/// Pre-tokenizers by their definition.
@Suite struct PreTokenizerTests {
    private func name(_ definition: JSONValue, vocabulary: JSONValue? = nil, ignoresMerges: Bool = false) throws -> String? {
        let tokenizer = smallTokenizer(
            vocabulary: vocabulary ?? ["a": 0], merges: [], added: [], preTokenizer: definition, model: ["ignore_merges": .bool(ignoresMerges)])
        return try TokenizerDescription(huggingFace: directory(["model_type": "qwen2"], ["tokenizer.json": tokenizer])).preTokenizer
    }

    /// A vocabulary goes out under each name and comes back under a name that cuts text the same way.
    @Test(arguments: [
        "gpt-2", "smollm", "llama-bpe", "dbrx", "qwen2", "qwen35", "deepseek-llm", "deepseek-coder", "deepseek-v3", "falcon", "tekken", "gpt-4o",
        "tiny_aya", "bailingmoe", "seed-coder", "exaone-moe", "jais-2", "minicpm5", "ufakzeka", "bloom", "viking", "default",
    ]) func everyNameComesBack(name: String) throws {
        let files = directory(["tokenizer.json": smallTokenizer()])
        let description = try TokenizerDescription(huggingFace: files, preTokenizer: name)
        #expect(description.preTokenizer == name)
        let made = try description.huggingFaceFiles().mapValues { TensorBytes($0) }
        #expect(try TokenizerDescription(huggingFace: HuggingFaceFiles(config: ["model_type": "qwen2"], files: made)).preTokenizer == name)
    }

    @Test func mergesBeingIgnoredTellsLlama3FromItsLikes() throws {
        let definition: JSONValue = try TokenizerFixture.named("llama3-small").json("tokenizer.json")["pre_tokenizer"] ?? .null
        #expect(try name(definition, ignoresMerges: true) == "llama-bpe")
        #expect(try name(definition) == "dbrx")
        #expect(try name(definition, vocabulary: ["a": 0, "<|begin_of_text|>": 128000]) == "smaug-bpe")
    }

    @Test func vocabulariesTellNamesApart() throws {
        let definition: JSONValue = try TokenizerFixture.named("llama-smollm").json("tokenizer.json")["pre_tokenizer"] ?? .null
        #expect(try name(definition) == "smollm")
        #expect(try name(definition, vocabulary: ["<PAD>": 0, "<BOS_TOKEN>": 5]) == "command-r")
        #expect(try name(definition, vocabulary: ["<fim_prefix>": 1, "<fim_middle>": 2, "<repo_name>": 5]) == "starcoder")
        #expect(try name(definition, vocabulary: ["<fim_prefix>": 1, "<fim_middle>": 2, "<filename>": 5]) == "refact")
    }

    @Test func spellingsOfADefinitionAreTheSame() throws {
        let digits: JSONValue = ["type": "Split", "pattern": ["Regex": "\\p{N}"], "behavior": "Removed", "invert": true]
        let cut: JSONValue = ["type": "Split", "pattern": ["Regex": "\\p{N}"], "behavior": "Isolated"]
        let bytes: JSONValue = ["type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false]
        for first in [digits, cut] {
            #expect(try name(["type": "Sequence", "pretokenizers": [first, ["type": "Sequence", "pretokenizers": [bytes]]]]) == "smollm")
        }
    }

    @Test func unknownDefinitionIsNamedAndCanBeOverruled() throws {
        let definition: JSONValue = ["type": "Sequence", "pretokenizers": [
            ["type": "Split", "pattern": ["Regex": "x+y"], "behavior": "Isolated", "invert": false], ["type": "ByteLevel", "add_prefix_space": false],
        ]]
        let message = refusal { try name(definition) }
        #expect(message.contains("split /x+y/ isolated, then ByteLevel with GPT-2's pattern"))
        #expect(message.contains("name that one explicitly"))
        let files = directory(["tokenizer.json": smallTokenizer(preTokenizer: definition)])
        #expect(try TokenizerDescription(huggingFace: files, preTokenizer: "gpt-2").preTokenizer == "gpt-2")
    }

    @Test func normalizersThatLlamaCppLacksAreRefused() throws {
        let files = directory(["tokenizer.json": smallTokenizer(other: ["normalizer": ["type": "NFKC"]])])
        #expect(refusal { try TokenizerDescription(huggingFace: files) }.contains("normalizer 'NFKC'"))
        let lowercase = directory(["tokenizer.json": smallTokenizer(other: ["normalizer": ["type": "Sequence", "normalizers": [["type": "NFC"], ["type": "Lowercase"]]]])])
        let made = try TokenizerDescription(huggingFace: lowercase).ggufMetadata(vocabularySize: 8)
        #expect(made["tokenizer.ggml.normalizer.lowercase"] == .bool(true))
    }
}
