import Formats
import Models
import Testing

/// Broken and hostile tokenizer files: an error that names the place, never a trap.
@Suite struct TokenizerHostileTests {
    private func refused(_ files: HuggingFaceFiles) -> String { refusal { try TokenizerDescription(huggingFace: files) } }

    /// Broken forms of the small tokenizer, and what the message must say.
    static let brokenTokenizers: [(String, JSONValue, String)] = [
        ("no model", ["added_tokens": []], "its model is 'nothing'"),
        ("word pieces", smallTokenizer(model: ["type": "WordPiece"]), "its model is 'WordPiece'"),
        ("vocabulary as a list", smallTokenizer(vocabulary: ["a", "b"]), "tokenizer.json: 'model.vocab' is missing"),
        ("id as text", smallTokenizer(vocabulary: ["a": "0"]), "'id of 'a'' is '0', expected a token id"),
        ("id below zero", smallTokenizer(vocabulary: ["a": -1]), "'id of 'a'' is -1, expected a token id"),
        ("id past any table", smallTokenizer(vocabulary: ["a": 2_000_000_000]), "'id of 'a'' is 2000000000, expected 0..<262145"),
        ("one id twice", smallTokenizer(vocabulary: ["a": 0, "b": 0]), "'id of 'b'' is 0, which is the id of 'a'"),
        ("merge of an unknown token", smallTokenizer(merges: ["a z"]), "'merges[0]' is 'a z', expected two tokens of the vocabulary"),
        ("merge into an unknown token", smallTokenizer(merges: ["a b", "c c"]), "'merges[1]' is 'c c'"),
        ("merge of one part", smallTokenizer(merges: ["ab"]), "'merges[0]' is 'ab', expected two tokens and a space between"),
        ("merge as a number", smallTokenizer(merges: [3]), "'model.merges[0]' is 3, expected a pair of tokens"),
        ("merge of three", smallTokenizer(merges: [["a", "b", "c"]]), "'model.merges[0]' is an array of 3"),
        ("no merges", smallTokenizer(merges: nil), "'model.merges' is missing"),
        ("affix", smallTokenizer(model: ["end_of_word_suffix": "</w>"]), "its BPE has a end_of_word_suffix"),
        ("added token without text", smallTokenizer(added: [["id": 7]]), "'added_tokens[0].content' is missing"),
        ("added token twice", smallTokenizer(added: [["id": 7, "content": "x"], ["id": 8, "content": "x"]]), "'x' a second time"),
        (
            "added token on another's id", smallTokenizer(added: [["id": 1, "content": "x"]]),
            "'id of the added token 'x'' is 1, which is the id of 'b'"
        ),
        (
            "two added tokens on one id", smallTokenizer(added: [["id": 9, "content": "x"], ["id": 9, "content": "y"]]),
            "'id of the added token 'y'' is 9, which is the id of 'x'"
        ),
        ("added token far out", smallTokenizer(added: [["id": 2_000_000_000, "content": "x"]]), "is 2000000000, expected 0..<262152"),
        ("text twice", smallTokenizer(added: [["id": 8, "content": "a"]]), "the tokens 0 and 8 are both 'a'"),
        (
            "text twice after decoding", smallTokenizer(added: [["id": 8, "content": " "], ["id": 9, "content": "Ġ", "normalized": false]]),
            "are both ' '"
        ),
    ]

    @Test(arguments: brokenTokenizers.indices) func brokenTokenizerIsNamed(index: Int) {
        let (name, tokenizer, message) = Self.brokenTokenizers[index]
        let found = refused(directory(["tokenizer.json": tokenizer]))
        #expect(found.contains(message), "\(name): \(found)")
    }

    @Test func filesThatAreNoJSONAreNamed() {
        for name in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"] {
            var files = directory(["tokenizer.json": smallTokenizer()])
            files.files[name] = TensorBytes(Array("{\"a\":".utf8))
            #expect(refused(files).hasPrefix("\(name): "))
            files.files[name] = TensorBytes(Array("[]".utf8))
            #expect(refused(files) == "\(name): '\(name)' is an array of 0, expected an object")
        }
    }

    @Test func otherFilesAreChecked() {
        let tokenizer = smallTokenizer()
        #expect(refused(directory([:])).contains("tokenizer.json, tokenizer.model or vocab.json"))
        let decoder: JSONValue = ["added_tokens_decoder": ["x": ["content": "a"]]]
        #expect(refused(directory(["tokenizer.json": tokenizer, "tokenizer_config.json": decoder])).contains("the key 'x', expected token ids"))
        #expect(refused(directory(["tokenizer.json": tokenizer, "added_tokens.json": ["x": -3]])) == "added_tokens.json: 'x' is -3, expected a token id")
        #expect(
            refused(directory(["tokenizer.json": tokenizer, "tokenizer_config.json": ["chat_template": 3]]))
                == "tokenizer_config.json: 'chat_template' is 3, expected a template or a list of named ones")
        #expect(
            refused(directory(["model_type": "llama", "eos_token_id": -2], ["tokenizer.json": tokenizer]))
                == "config.json: 'eos_token_id' is -2, expected a token id")
        var files = directory(["tokenizer.json": tokenizer, "tokenizer_config.json": [:]])
        files.files["chat_template.jinja"] = TensorBytes([0xFF])
        #expect(refused(files).contains("chat_template.jinja"))
        files = directory(["vocab.json": ["a": 0]])
        #expect(refused(files) == "'merges.txt' is missing")
        files.files["merges.txt"] = TensorBytes([0xC3])
        #expect(refused(files).contains("not UTF-8"))
        files.files["merges.txt"] = TensorBytes(Array("#version\na b c\n".utf8))
        #expect(refused(files) == "merges.txt: 'line 2' is 3 words, expected two tokens")
    }

    @Test func embeddingWithTooFewRowsIsRefused() {
        let message = refusal {
            try TokenizerDescription(huggingFace: directory(["tokenizer.json": smallTokenizer()])).ggufMetadata(vocabularySize: 7)
        }
        #expect(message.contains("has 8 tokens, the embedding only 7 rows; '<|end|>' would have none"))
    }

    // MARK: tokenizer.model

    private func model(_ bytes: [UInt8]) -> HuggingFaceFiles {
        HuggingFaceFiles(config: ["model_type": "llama"], files: ["tokenizer.model": TensorBytes(bytes)])
    }

    /// A field: its number and wire type, then bytes.
    private func field(_ number: UInt8, _ type: UInt8, _ bytes: [UInt8]) -> [UInt8] {
        [number << 3 | type] + (type == 2 ? [UInt8(bytes.count)] : []) + bytes
    }

    @Test func smallModelIsRead() throws {
        let pieces = field(1, 2, field(1, 2, Array("<unk>".utf8)) + field(3, 0, [2])) + field(1, 2, field(1, 2, Array("▁a".utf8)) + field(2, 5, [0, 0, 0x80, 0x3F]))
        let description = try TokenizerDescription(huggingFace: model(pieces + field(15, 0, [7])))
        #expect(description.tokens == StringTable(["<unk>", "▁a"]))
        #expect(description.scores == [0, 1])
        #expect(description.tokenTypes == [.unknown, .normal])
    }

    @Test func brokenModelsAreNamed() {
        let cases: [([UInt8], String)] = [
            ([], "'pieces' is none, expected a vocabulary"),
            ([0x0A], "'byte 1' is 0 bytes left, expected 1"),
            ([0x0A, 0x05, 0x0A], "expected 5"),
            ([0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], "expected 18446744073709551615"),
            ([0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02], "a varint past 64 bits"),
            ([0x0B, 0x00], "wire type 3, expected 0, 1, 2 or 5"),
            ([0x02, 0x00], "field number 0"),
            (field(1, 0, [1]), "'field 1' is a number, expected a message"),
            (field(1, 2, field(1, 2, [0xFF])), "'piece 0' is bytes that are not UTF-8"),
            (field(1, 2, field(3, 0, [9])), "'piece 0, type' is 9, expected 1 to 6"),
            (field(1, 2, field(2, 0, [9])), "'piece 0, field 2' is another wire type"),
            (field(1, 2, field(1, 2, [0x61])) + field(2, 2, field(3, 0, [7])), "'trainer_spec.model_type' is 7"),
            (field(1, 2, field(1, 2, [0x61])) + field(1, 2, field(1, 2, [0x61])), "the tokens 0 and 1 are both 'a'"),
        ]
        for (bytes, message) in cases {
            let found = refused(model(bytes))
            #expect(found.contains(message), "\(bytes): \(found)")
            #expect(found.contains("both") || found.hasPrefix("tokenizer.model: "))
        }
    }

    @Test func cutAndFlippedModelsNeverTrap() throws {
        let whole = try #require(TokenizerFixture.named("gemma2").files.files["tokenizer.model"]).array
        let bytes = Array(whole.prefix(600))
        for count in 0...bytes.count { _ = refused(model(Array(bytes.prefix(count)))) }
        var random = TokenizerRandom(state: 7)
        for _ in 0..<300 {
            var flipped = bytes
            let bit = Int(random.next() % UInt64(8 * bytes.count))
            flipped[bit / 8] ^= 1 << (bit % 8)
            _ = refused(model(flipped))
        }
    }

    // MARK: GGUF

    private func metadata(_ changes: [String: GGUFValue?] = [:]) throws -> GGUFMetadata {
        var made = try TokenizerDescription(huggingFace: directory(["tokenizer.json": smallTokenizer()])).ggufMetadata(vocabularySize: 8)
        for (key, value) in changes { made["tokenizer.\(key)"] = value }
        return made
    }

    @Test func brokenKeysAreNamed() throws {
        let strings = { (texts: [String]) in GGUFValue.array(GGUFArray(strings: texts)) }
        let cases: [([String: GGUFValue?], String)] = [
            (["ggml.model": nil], "'tokenizer.ggml.model' is missing"),
            (["ggml.model": .u32(3)], "'tokenizer.ggml.model' is of type u32, expected a string"),
            (["ggml.model": .string("rwkv")], "'tokenizer.ggml.model' is 'rwkv'"),
            (["ggml.tokens": nil], "'tokenizer.ggml.tokens' is missing"),
            (["ggml.tokens": .array(GGUFArray([UInt8(1)]))], "an array of u8, expected an array of strings"),
            (["ggml.tokens": strings(["a", "a"]), "ggml.token_type": nil], "the tokens 0 and 1 are both 'a'"),
            (["ggml.token_type": .array(GGUFArray([Int32(1)]))], "'tokenizer.ggml.token_type' is 1 of i32, expected 8 of i32"),
            (["ggml.token_type": .array(GGUFArray([Int32](repeating: 7, count: 8)))], "'tokenizer.ggml.token_type[0]' is 7, expected 1 to 6"),
            (["ggml.model": .string("llama")], "'tokenizer.ggml.scores' is missing"),
            (["ggml.model": .string("llama"), "ggml.scores": .array(GGUFArray([Float(1)]))], "'tokenizer.ggml.scores' is 1 of f32"),
            (["ggml.bos_token_id": .u32(8)], "expected an id in 0..<8"),
            (["ggml.add_bos_token": .u32(1)], "'tokenizer.ggml.add_bos_token' is of type u32, expected a boolean"),
            (["chat_templates": strings(["rag"])], "'tokenizer.chat_template.rag' is missing"),
        ]
        for (changes, message) in cases {
            let keys = try metadata(changes)
            let found = refusal { try TokenizerDescription(gguf: keys) }
            #expect(found.contains(message), "\(found)")
        }
    }

    @Test func textsThatAreNotUTF8AreNamed() throws {
        let bytes: [UInt8] = [1, 0, 0, 0, 0, 0, 0, 0, 0x61, 1, 0, 0, 0, 0, 0, 0, 0, 0xFF]
        let tokens = GGUFArray(elementType: .string, count: 2, encoded: TensorBytes(bytes))
        let keys = try metadata(["ggml.tokens": .array(tokens), "ggml.token_type": nil])
        #expect(refusal { try TokenizerDescription(gguf: keys) }.contains("'tokenizer.ggml.tokens[1]' is bytes that are not UTF-8"))
        let short = GGUFArray(elementType: .string, count: 9, encoded: TensorBytes(Array(bytes.prefix(17))))
        let cut = try metadata(["ggml.tokens": .array(short)])
        #expect(refusal { try TokenizerDescription(gguf: cut) }.contains("expected 9 strings"))
    }

    @Test func whatHuggingFaceCannotHoldIsRefused() throws {
        let unknown = try TokenizerDescription(gguf: metadata(["ggml.pre": .string("nobody")]))
        #expect(refusal { try unknown.huggingFaceFiles() }.contains("no definition is known for the pre-tokenizer 'nobody'"))
        let merges = try TokenizerDescription(gguf: metadata(["ggml.merges": .array(GGUFArray(strings: ["a z"]))]))
        #expect(refusal { try merges.huggingFaceFiles() }.contains("'tokenizer.ggml.merges[0]' is 'a z'"))
    }
}

/// SplitMix64.
private struct TokenizerRandom: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
