import Formats
import Models
import Testing

/// Our description of each model, against what llama.cpp's converter wrote for it.
@Suite struct ArchitectureConversionTests {
    @Test func thereAreFixturesOfEveryArchitectureButQwen3Moe() throws {
        let seen = Set(try ArchitectureFixture.all.map { try $0.architecture.identifier })
        #expect(seen == Set(ArchitectureLibraryTests.identifiers).subtracting(["qwen3moe"]))
    }

    @Test(arguments: ArchitectureFixture.all) func keysAreThoseOfTheConverter(fixture: ArchitectureFixture) throws {
        let model = try fixture.description
        let type: GGUFFileType = fixture.ggufKeys["general.file_type"] == .u32(0) ? .f32 : .f16
        let made = try model.ggufMetadata(
            for: model.ggufTensors(from: fixture.tensors),
            GGUFMetadataOptions(
                directoryName: fixture.name, fileType: type, generationConfig: fixture.generationConfig, keepsSource: false))
        #expect(made.keys.sorted() == fixture.ggufKeys.keys.sorted())
        for key in fixture.ggufKeys.keys {
            #expect(made[key] == fixture.ggufKeys[key], "\(key)")
        }
    }

    @Test(arguments: ArchitectureFixture.all) func tensorsAreThoseOfTheConverter(fixture: ArchitectureFixture) throws {
        let model = try fixture.description
        let weightType: Encoding = fixture.ggufKeys["general.file_type"] == .u32(0) ? .plain(.f32) : .plain(.f16)
        var made: [String: TensorInfo] = [:]
        for tensor in try model.ggufTensors(from: fixture.tensors) {
            made[tensor.name] = try TensorInfo(
                name: tensor.name, encoding: tensor.staysF32 ? .plain(.f32) : weightType, shape: tensor.shape)
        }
        for table in model.computedTensors() {
            made[table.name] = try TensorInfo(name: table.name, encoding: .plain(.f32), shape: table.shape)
        }
        #expect(made.keys.sorted() == fixture.ggufTensors.map(\.name).sorted())
        for tensor in fixture.ggufTensors { #expect(made[tensor.name] == tensor) }
    }

    @Test(arguments: ArchitectureFixture.all) func tablesAreThoseOfTheConverter(fixture: ArchitectureFixture) throws {
        let made = try fixture.description.computedTensors()
        #expect(made.map(\.name).sorted() == fixture.tables.keys.sorted())
        for table in made {
            #expect(table.values.map(\.bitPattern) == fixture.tables[table.name]?.map(\.bitPattern), "\(table.name)")
        }
    }

    @Test(arguments: ArchitectureFixture.all) func tensorsComeBackWithNamesAndShapes(fixture: ArchitectureFixture) throws {
        let back = try fixture.ggufDescription.huggingFaceTensors(from: fixture.ggufTensors)
        #expect(
            back.map { "\($0.name) \($0.shape)" }.sorted() == fixture.tensors.map { "\($0.name) \($0.shape)" }.sorted())
        // What the way there did, the way back undoes.
        let there = try fixture.description.ggufTensors(from: fixture.tensors)
        let changes = Dictionary(uniqueKeysWithValues: there.flatMap { tensor in
            tensor.sources.map { (fixture.tensors[$0].name, tensor.change.inverse) }
        })
        for tensor in back { #expect(tensor.change == changes[tensor.name], "\(tensor.name)") }
    }

    /// Keys that change what transformers computes.
    static let decisive = [
        "architectures", "model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
        "num_attention_heads", "num_key_value_heads", "hidden_act", "hidden_activation", "max_position_embeddings",
        "rms_norm_eps", "attention_bias", "mlp_bias", "query_pre_attn_scalar", "attn_logit_softcapping",
        "final_logit_softcapping", "num_local_experts", "num_experts", "num_experts_per_tok", "moe_intermediate_size",
        "shared_expert_intermediate_size", "norm_topk_prob", "partial_rotary_factor", "use_bidirectional_attention",
    ]

    @Test(arguments: ArchitectureFixture.all) func configComesBackFromTheConvertersFile(fixture: ArchitectureFixture) throws {
        let model = try fixture.ggufDescription
        let made = try model.huggingFaceConfiguration(metadata: fixture.ggufKeys, tensors: fixture.ggufTensors, dtype: .f16)
        let original = try fixture.description
        for key in Self.decisive {
            // Mistral's GGUF files are those of Llama, which computes the same.
            if fixture.name == "mistral", ["architectures", "model_type"].contains(key) { continue }
            guard let expected = fixture.config[key] else { continue }
            if expected.isNull, made.config[key] == nil { continue }
            #expect(made.config[key] == expected || made.config[key]?.double == expected.double && expected.double != nil, "\(key)")
        }
        let again = try ModelDescription(
            config: made.config, architecture: ArchitectureLibrary.builtIn.architecture(forConfig: made.config))
        #expect(again.hyperparameters == original.hyperparameters)
        #expect(again.rope == original.rope)
        #expect(again.isTied == original.isTied)
        #expect(made.config["torch_dtype"] == "float16")
        #expect(made.config["sliding_window"] == fixture.config["sliding_window"] || model.architecture.ggufName.hasPrefix("qwen")
            || model.architecture.ggufName == "llama")
    }

    @Test(arguments: ArchitectureFixture.all) func theSourceConfigIsKeptAndUsed(fixture: ArchitectureFixture) throws {
        let model = try fixture.description
        let metadata = try model.ggufMetadata(
            for: model.ggufTensors(from: fixture.tensors),
            GGUFMetadataOptions(directoryName: "x", fileType: .f16, generationConfig: fixture.generationConfig))
        let back = try ModelDescription(
            metadata: metadata, tensors: fixture.ggufTensors, computed: fixture.tables,
            architecture: ArchitectureLibrary.builtIn.architecture(for: metadata))
        let made = try back.huggingFaceConfiguration(metadata: metadata, tensors: fixture.ggufTensors, dtype: .bf16)
        for key in fixture.config.object?.keys ?? [] where key != "dtype" {
            #expect(made.config[key] == fixture.config[key], "\(key)")
        }
        #expect(made.config["torch_dtype"] == "bfloat16")
        #expect(made.generationConfig == fixture.generationConfig)
    }

    @Test func aSourceConfigThatContradictsTheFileIsNotUsed() throws {
        let fixture = ArchitectureFixture.named("llama")
        let model = try fixture.description
        var metadata = try model.ggufMetadata(
            for: model.ggufTensors(from: fixture.tensors), GGUFMetadataOptions(directoryName: "x", fileType: .f16))
        metadata["llama.rope.freq_base"] = .f32(20000)
        let back = try ModelDescription(
            metadata: metadata, tensors: fixture.ggufTensors, architecture: ArchitectureLibrary.builtIn.architecture(for: metadata))
        let made = try back.huggingFaceConfiguration(metadata: metadata, tensors: fixture.ggufTensors, dtype: .f16)
        #expect(made.config["rope_theta"]?.double == 20000)
        #expect(made.config["transformers_version"] == nil)
    }

    /// GGUF has the factors of llama3's scaling and not what they were made from.
    @Test(arguments: [2048, 4096, 8192, 32768]) func theOriginalContextIsFoundInTheFactors(original: Int) throws {
        let fixture = ArchitectureFixture.named("llama3-small")
        var config = try #require(fixture.config.object)
        var scaling = try #require(config["rope_scaling"]?.object)
        scaling["original_max_position_embeddings"] = .integer(original)
        config["rope_scaling"] = .object(scaling)
        let model = try ModelDescription(config: .object(config), architecture: try fixture.architecture)
        let tables = model.computedTensors().map { ($0.name, $0.values) }
        let back = try ModelDescription(
            metadata: fixture.ggufKeys, tensors: fixture.ggufTensors, computed: Dictionary(uniqueKeysWithValues: tables),
            architecture: ArchitectureLibrary.builtIn.architecture(for: fixture.ggufKeys))
        #expect(back.rope.scaling == model.rope.scaling)
    }

    @Test func anUntiedHeadUntiesTheConfig() throws {
        let fixture = ArchitectureFixture.named("llama-smollm")
        let head = try TensorInfo(name: "output.weight", encoding: .plain(.f16), shape: [1003, 64])
        let model = try ModelDescription(
            metadata: fixture.ggufKeys, tensors: fixture.ggufTensors + [head],
            architecture: ArchitectureLibrary.builtIn.architecture(for: fixture.ggufKeys))
        #expect(!model.isTied)
        let made = try model.huggingFaceConfiguration(
            metadata: fixture.ggufKeys, tensors: fixture.ggufTensors + [head], dtype: .f16)
        #expect(made.config["tie_word_embeddings"] == false)
    }

    /// A Gemma checkpoint with a head beside its embedding.
    private func withHead(_ name: String, isTied: Bool) throws -> (model: ModelDescription, tensors: [TensorInfo]) {
        let fixture = ArchitectureFixture.named(name)
        var config = try #require(fixture.config.object)
        config["tie_word_embeddings"] = .bool(isTied)
        let embedding = try #require(fixture.tensors.first { $0.name == "model.embed_tokens.weight" })
        let model = try ModelDescription(config: .object(config), architecture: fixture.architecture)
        return (model, fixture.tensors + [embedding.renamed("lm_head.weight")])
    }

    @Test func anUntiedGemmaGoesWhereTheRuntimeLoadsItsHead() throws {
        let (gemma3, tensors3) = try withHead("gemma3", isTied: false)
        #expect(try gemma3.ggufTensors(from: tensors3).contains { $0.name == "output.weight" && $0.role == .head })
        #expect(throws: ModelError.self) { try gemma3.ggufTensors(from: tensors3.dropLast()) }
        let (gemma2, tensors2) = try withHead("gemma2", isTied: false)
        #expect(throws: Never.self) { try gemma2.check(tensors2, named: .huggingFace) }
        let reason = ModelError.Reason.invalidKey(
            key: "tie_word_embeddings", found: "false", expected: "true: the GGUF runtime of gemma2 has no head but the embedding")
        #expect(throws: ModelError(reason)) { try gemma2.ggufTensors(from: tensors2) }
    }

    @Test(arguments: ["gemma2", "gemma3"]) func theHeadThatATiedGemmaCarriesAlongIsLeftOut(name: String) throws {
        let (model, tensors) = try withHead(name, isTied: true)
        #expect(!(try model.ggufTensors(from: tensors)).contains { $0.name == "output.weight" })
        #expect(model.match(name: "lm_head.weight") == nil)
    }

    @Test func aHeadInGGUFUntiesTheGemmaThatLoadsOne() throws {
        for (name, isTied) in [("gemma2", true), ("gemma3", false)] {
            let fixture = ArchitectureFixture.named(name)
            let embedding = try #require(fixture.ggufTensors.first { $0.name == "token_embd.weight" })
            let tensors = fixture.ggufTensors + [embedding.renamed("output.weight")]
            let model = try ModelDescription(
                metadata: fixture.ggufKeys, tensors: tensors, architecture: ArchitectureLibrary.builtIn.architecture(for: fixture.ggufKeys))
            #expect(model.isTied == isTied)
            let names = (try? model.huggingFaceTensors(from: tensors))?.map(\.name)
            #expect(names?.contains("lm_head.weight") == (isTied ? nil : true))
        }
    }

    @Test func aRopeTableWithoutItsValuesIsRefusedOnTheWayBack() throws {
        let fixture = ArchitectureFixture.named("llama3-small")
        let model = try ModelDescription(
            metadata: fixture.ggufKeys, tensors: fixture.ggufTensors,
            architecture: ArchitectureLibrary.builtIn.architecture(for: fixture.ggufKeys))
        #expect {
            try model.huggingFaceConfiguration(metadata: fixture.ggufKeys, tensors: fixture.ggufTensors, dtype: .f16)
        } throws: { error in
            guard case .invalidKey("rope_freqs.weight", _, _)? = (error as? ModelError)?.reason else { return false }
            return true
        }
    }
}
