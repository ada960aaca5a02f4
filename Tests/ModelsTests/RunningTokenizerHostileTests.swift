import Formats
import Models
import Testing

/// Hostile `tokenizer.json`, `tokenizer.model` and GGUF metadata in a tokenizer that runs: an error or some ids, never a trap, a hang,
/// or memory without bound.
@Suite struct RunningTokenizerHostileTests {
    private static let texts = ["", "a", " ab  abc\n", "Ünï — 四\u{301} \u{1F642}\u{0}<s>", String(repeating: "ab ", count: 40)]

    /// Encodes and decodes; what it gives is of no interest.
    private func use(_ make: () throws -> Tokenizer) {
        guard let tokenizer = try? make() else { return }
        for text in Self.texts {
            guard let ids = try? tokenizer.encode(text) else { continue }
            for id in ids { #expect((0..<tokenizer.vocabularySize).contains(id)) }
            _ = tokenizer.decode(ids)
        }
        _ = tokenizer.decode([-1, 0, 1, 7, tokenizer.vocabularySize, Int.max])
    }

    private static let tokenizers: [JSONValue] = {
        let file = #filePath
        let path = file[..<(file.lastIndex(of: "/") ?? file.endIndex)] + "/Fixtures/token-ids.json"
        guard let bytes = try? MappedFile(path: String(path)), let json = try? JSONValue(parsing: TensorBytes(bytes)) else { return [] }
        return (json["cases"]?.array ?? []).compactMap { $0["tokenizer"] }
    }()

    @Test func changedJSONNeverTraps() {
        #expect(Self.tokenizers.count == 8)
        let replacements = Array("0-9\"}]{[,:ae\u{7F}".utf8)
        for tokenizer in Self.tokenizers {
            let bytes = tokenizer.bytes(pretty: false)
            // Every byte of the first part, where the settings are, and some of the long lists.
            for place in bytes.indices where place < 2500 || place % 23 == 0 {
                var changed = bytes
                changed[place] = replacements[place * 31 % replacements.count]
                use { try Tokenizer(json: try JSONValue(parsing: TensorBytes(changed))) }
            }
        }
    }

    @Test func membersOfOtherTypesNeverTrap() {
        let odd: [JSONValue] = [nil, true, -1, 4_000_000_000, 1e300, "", "\u{0}", [], [:], [[]], ["a": "b"], ["type": "Sequence"]]
        func variants(_ value: JSONValue, _ depth: Int, _ put: (JSONValue) -> Void) {
            for other in odd { put(other) }
            guard depth < 5 else { return }
            if let object = value.object {
                for key in object.keys.prefix(30) {
                    var changed = object
                    variants(object[key] ?? nil, depth + 1) {
                        changed[key] = $0
                        put(.object(changed))
                    }
                    changed[key] = nil
                    put(.object(changed))
                }
            } else if let array = value.array {
                for index in array.indices.prefix(3) {
                    var changed = array
                    variants(array[index], depth + 1) {
                        changed[index] = $0
                        put(.array(changed))
                    }
                }
            }
        }
        var count = 0
        for tokenizer in Self.tokenizers {
            variants(tokenizer, 0) { changed in
                count += 1
                use { try Tokenizer(json: changed) }
            }
        }
        #expect(count > 3000)
    }

    /// The small tokenizer with parts that would take more stack, time or memory than there is.
    private static let absurd: [(String, JSONValue, String)] = {
        func with(_ part: String, _ value: JSONValue) -> JSONValue {
            var object = smallTokenizer().object ?? [:]
            object[part] = value
            return .object(object)
        }
        func sequence(_ member: String, _ step: JSONValue, _ count: Int) -> JSONValue {
            ["type": "Sequence", member: .array(Array(repeating: step, count: count))]
        }
        let doubling: JSONValue = ["type": "Replace", "pattern": ["String": "a"], "content": "aa"]
        let nested = (0..<17).reduce(JSONValue.null) { inner, _ in ["type": "Sequence", "normalizers": [inner]] }
        return [
            ("doubling normalizers", with("normalizer", sequence("normalizers", doubling, 60)), "may have become 1024"),
            ("a long replacement", with("normalizer", ["type": "Replace", "pattern": ["String": "a"], "content": .string(String(repeating: "b", count: 4096))]), "may have become 4096"),
            ("doubling decoders", with("decoder", sequence("decoders", doubling, 60)), "may have become 1024"),
            ("bytes of bytes", with("pre_tokenizer", sequence("pretokenizers", ["type": "ByteLevel"], 30)), "may have become 1024"),
            ("deep steps", with("pre_tokenizer", sequence("pretokenizers", ["type": "Digits"], 100_000)), "100000 steps"),
            ("sequences in sequences", with("normalizer", nested), "at most 16"),
            ("a long blank", with("pre_tokenizer", ["type": "Metaspace", "replacement": "____"]), "one character"),
            ("a pattern without end", with("pre_tokenizer", ["type": "Split", "pattern": ["Regex": "((a{1000}){1000}){1000}"], "behavior": "Isolated"]), "expression"),
        ]
    }()

    @Test(arguments: absurd.indices) func absurdPartsAreRefused(index: Int) {
        let (name, tokenizer, message) = Self.absurd[index]
        let found = refusal { try Tokenizer(json: tokenizer) }
        #expect(found.contains(message), "\(name): \(found)")
    }

    @Test(.timeLimit(.minutes(1))) func patternsThatBacktrackEndInTime() throws {
        var object = smallTokenizer().object ?? [:]
        for pattern in ["(a|aa)+$", "(a*)*b", "(?:a?){20}a{20}b", "(a+)+!"] {
            object["pre_tokenizer"] = ["type": "Split", "pattern": ["Regex": .string(pattern)], "behavior": "Isolated"]
            guard let tokenizer = try? Tokenizer(json: .object(object)) else { continue }
            _ = try tokenizer.encode(String(repeating: "a", count: 20_000))
        }
    }

    @Test func changedModelsAndMetadataNeverTrap() throws {
        let whole = try #require(TokenizerFixture.named("gemma2").files.files["tokenizer.model"]).array
        let replacements: [UInt8] = [0, 1, 0x0A, 0x7F, 0x80, 0xFF]
        for place in whole.indices where place < 400 || place % 41 == 0 || place > whole.count - 400 {
            var changed = whole
            changed[place] = replacements[place % replacements.count]
            for bytes in [changed, Array(whole.prefix(place))] {
                use { try Tokenizer(huggingFace: HuggingFaceFiles(config: ["model_type": "gemma2"], files: ["tokenizer.model": TensorBytes(bytes)])) }
            }
        }
        let description = try TokenizerDescription(huggingFace: directory(["tokenizer.json": smallTokenizer()]))
        let metadata = try description.ggufMetadata(vocabularySize: 8)
        let odd: [GGUFValue] = [
            .u32(.max), .i32(-1), .bool(true), .string(""), .string("\u{0}"), .f32(.nan), .array(GGUFArray([Int32]())),
            .array(GGUFArray([Int32](repeating: 9, count: 8))), .array(GGUFArray([Float](repeating: .nan, count: 8))),
            .array(GGUFArray(strings: [])), .array(GGUFArray(strings: Array(repeating: "", count: 8))),
            .array(GGUFArray(strings: (0..<8).map { "a \($0)" })),
        ]
        for key in ["model", "pre", "tokens", "token_type", "scores", "merges", "bos_token_id", "eos_token_id", "unknown_token_id", "add_bos_token",
            "add_space_prefix", "remove_extra_whitespaces", "precompiled_charsmap"] {
            for value in odd {
                for model in ["gpt2", "llama", "t5"] {
                    var changed = metadata
                    changed["tokenizer.ggml.model"] = .string(model)
                    changed["tokenizer.ggml.\(key)"] = value
                    use { try Tokenizer(gguf: changed) }
                }
            }
        }
    }
}
