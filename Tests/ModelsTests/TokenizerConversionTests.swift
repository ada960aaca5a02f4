import Formats
import Models
import Testing

/// Tokenizers between Hugging Face files and GGUF keys, against what llama.cpp's converter wrote.
@Suite struct TokenizerConversionTests {
    @Test func thereAreFixturesOfEveryKind() {
        #expect(
            TokenizerFixture.all.map(\.name)
                == ["gemma2", "llama-smollm", "llama-unigram", "llama3-small", "mistral", "phi3", "qwen2_moe"])
    }

    @Test(arguments: TokenizerFixture.all) func keysAreThoseOfTheConverter(fixture: TokenizerFixture) throws {
        let description = try TokenizerDescription(huggingFace: fixture.files)
        let made = try description.ggufMetadata(vocabularySize: fixture.vocabularySize)
        #expect(made.keys == fixture.keys.keys)
        for key in fixture.keys.keys { #expect(fixtureForm(made[key]) == fixture.keys[key], "\(key)") }
    }

    @Test(arguments: TokenizerFixture.all) func filesMadeFromKeysGiveTheSameKeys(fixture: TokenizerFixture) throws {
        let first = try TokenizerDescription(huggingFace: fixture.files).ggufMetadata(vocabularySize: fixture.vocabularySize)
        let files = try TokenizerDescription(gguf: first).huggingFaceFiles()
        let again = HuggingFaceFiles(config: fixture.files.config, files: files.mapValues { TensorBytes($0) })
        let second = try TokenizerDescription(huggingFace: again).ggufMetadata(vocabularySize: fixture.vocabularySize)
        #expect(first.keys.sorted() == second.keys.sorted())
        for key in first.keys { #expect(first[key] == second[key], "\(key)") }
    }

    /// Same vocabulary, same merges in the same order, same cutting: the same ids for every text.
    @Test(arguments: ["llama-smollm", "llama3-small", "qwen2_moe", "mistral", "gemma2"])
    func tokenizerMadeFromKeysIsTheOneTheyCameFrom(name: String) throws {
        let fixture = TokenizerFixture.named(name)
        let keys = try TokenizerDescription(huggingFace: fixture.files).ggufMetadata(vocabularySize: fixture.vocabularySize)
        let made = try JSONValue(parsing: try #require(try TokenizerDescription(gguf: keys).huggingFaceFiles()["tokenizer.json"]))
        let source = try fixture.json("tokenizer.json")
        // Runs of spaces are user-defined tokens of Gemma's: they are found before anything is merged.
        #expect(try mergeTexts(made) == mergeTexts(source).filter { name != "gemma2" || !["▁ ▁", "▁▁ ▁▁"].contains($0) })
        #expect(made["normalizer"] == source["normalizer"])
        for key in ["ignore_merges", "byte_fallback", "fuse_unk", "unk_token"] { #expect(made["model"]?[key] == source["model"]?[key], "\(key)") }
        if name != "gemma2" { #expect(made["pre_tokenizer"] == source["pre_tokenizer"]) }
        let vocabulary = try #require(made["model"]?["vocab"]?.object)
        let sourceVocabulary = try #require(source["model"]?["vocab"]?.object)
        // Hugging Face's converter spells Gemma's byte token 9 as the tabulator itself.
        for token in sourceVocabulary.keys where name != "gemma2" || token != "\t" { #expect(vocabulary[token] == sourceVocabulary[token], "\(token)") }
        let added = try #require(made["added_tokens"]?.array), sourceAdded = try #require(source["added_tokens"]?.array)
        #expect(added.map { $0["id"] } == sourceAdded.map { $0["id"] })
        #expect(added.map { $0["content"] } == sourceAdded.map { $0["content"] })
    }

    private func mergeTexts(_ tokenizer: JSONValue) throws -> [String] {
        try #require(tokenizer["model"]?["merges"]?.array).map { $0.string ?? ($0.array ?? []).compactMap(\.string).joined(separator: " ") }
    }

    @Test func olderPairOfFilesIsReadAsTheClassHasIt() throws {
        let fixture = TokenizerFixture.named("llama-smollm")
        var files = fixture.files
        files.files["tokenizer.json"] = nil
        let new = try TokenizerDescription(huggingFace: fixture.files), old = try TokenizerDescription(huggingFace: files)
        #expect(old.tokens == new.tokens)
        #expect(old.merges == new.merges)
        #expect(old.tokenTypes == new.tokenTypes)
        #expect(old.preTokenizer == "gpt-2")
    }

    /// Without `tokenizer.model` the order of the merges says what the scores said.
    @Test func scoresComeBackFromMerges() throws {
        let fixture = TokenizerFixture.named("mistral")
        var files = fixture.files
        files.files["tokenizer.model"] = nil
        let whole = try TokenizerDescription(huggingFace: fixture.files), rest = try TokenizerDescription(huggingFace: files)
        #expect(rest.model == .sentencePieceBPE)
        #expect(rest.tokens == whole.tokens)
        let scores = try #require(whole.scores), found = try #require(rest.scores)
        let made = rest.tokens.indices.filter { found[$0] < 0 && found[$0] != -1000 }
        #expect(made.count > 500)
        #expect(made.sorted { scores[$0] > scores[$1] } == made.sorted { found[$0] > found[$1] })
    }

    @Test func mergesThatScoresCannotExpressAreRefused() throws {
        let fixture = TokenizerFixture.named("mistral")
        var files = fixture.files
        files.files["tokenizer.model"] = nil
        var json = try #require(try fixture.json("tokenizer.json").object)
        var model = try #require(json["model"]?.object)
        model["merges"] = .array(Array(try #require(model["merges"]?.array).dropLast()))
        json["model"] = .object(model)
        files.files["tokenizer.json"] = TensorBytes(JSONValue.object(json).bytes())
        #expect(refusal { try TokenizerDescription(huggingFace: files) }.contains("is no merge although it makes a token"))
    }

    /// llama.cpp ends at the first text that needs a byte without a token.
    @Test func everyByteNeedsAToken() throws {
        var description = try TokenizerDescription(huggingFace: TokenizerFixture.named("mistral").files)
        let whole = description.tokens
        func refusal(replacing token: String, by text: String) -> String {
            description.tokens = StringTable(whole.indices.map { whole[$0] == token ? text : whole[$0] })
            return ModelsTests.refusal { try description.ggufMetadata(vocabularySize: whole.count) }
        }
        #expect(refusal(replacing: "<0xE2>", by: "<0xE2>") == "no error")
        #expect(refusal(replacing: "<0xE2>", by: "<0xe2").contains("no '<0xE2>'"))
        #expect(refusal(replacing: "<0x09>", by: "?#?").contains("no '<0x09>'"))
        // The character itself does as well.
        #expect(refusal(replacing: "<0x09>", by: "\t") == "no error")
    }

    @Test func ownTokenizerModelIsKept() throws {
        let fixture = TokenizerFixture.named("gemma2")
        let files = try TokenizerDescription(huggingFace: fixture.files).huggingFaceFiles()
        #expect(files["tokenizer.model"] == fixture.files.files["tokenizer.model"]?.array)
    }
}

/// The message of the error that a closure throws.
func refusal(_ body: () throws -> some Any) -> String {
    do {
        _ = try body()
        return "no error"
    } catch let error as ModelError {
        return error.description
    } catch {
        return "another error: \(error)"
    }
}
