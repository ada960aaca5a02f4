import Formats
import Models
import Testing

@Suite struct ConfigTests {
    /// A change to a good config, and the key the error must name.
    struct Change: CustomTestStringConvertible, Sendable {
        let fixture: String
        let key: String
        let value: JSONValue?
        let named: String

        init(_ fixture: String, _ key: String, _ value: JSONValue?, named: String? = nil) {
            (self.fixture, self.key, self.value, self.named) = (fixture, key, value, named ?? key)
        }

        var testDescription: String { "\(fixture): \(key) = \(value.map { $0.text() } ?? "missing")" }
    }

    private static func key(of error: any Error) -> String? {
        switch (error as? ModelError)?.reason {
        case .invalidKey(let key, _, _): key
        case .missingKey(let key): key
        default: nil
        }
    }

    static let changes: [Change] =
        ["num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size"].flatMap { key in
            [nil, -1, 0, "12", 1.5, .integer(Int.max), .unsigned(UInt64.max), [], [:], true].map { Change("llama", key, $0) }
        }
        + ["num_key_value_heads", "head_dim", "max_position_embeddings"].flatMap { key in
            [-1, 0, "12", 1.5, .integer(Int.max), []].map { Change("llama", key, $0) }
        }
        + [
            Change("llama", "num_key_value_heads", 3, named: "heads"),
            Change("llama", "head_dim", 7, named: "head-dimension"),
            Change("mistral", "num_attention_heads", 6, named: "hidden/heads"),
            Change("llama", "hidden_act", "gelu"),
            Change("llama", "rope_theta", "fast"), Change("llama", "rope_theta", 0), Change("llama", "rope_theta", 1e39),
            Change("llama", "tie_word_embeddings", 1),
            Change("llama", "rope_scaling", 3),
            Change("llama", "rope_scaling", ["rope_type": "llama3", "factor": "8"], named: "rope_scaling.factor"),
            Change("llama", "rope_scaling", ["rope_type": "linear"], named: "rope_scaling.factor"),
            Change("llama", "rope_scaling", ["type": "xpos", "factor": 2.0], named: "rope_scaling.type"),
            Change(
                "llama", "rope_scaling", ["rope_type": "llama3", "low_freq_factor": 4.0, "high_freq_factor": 4.0],
                named: "rope_scaling.high_freq_factor"),
            Change("qwen2", "rope_scaling", ["rope_type": "llama3"], named: "rope_scaling.rope_type"),
            Change("llama", "quantization_config", ["quant_method": "gptq"]),
            Change("mixtral", "num_local_experts", 0, named: "experts"),
            Change("mixtral", "num_experts_per_tok", 5, named: "experts-used"),
            Change("qwen2_moe", "mlp_only_layers", [0]), Change("qwen2_moe", "norm_topk_prob", true),
            Change("gemma2", "query_pre_attn_scalar", 256),
            Change("gemma2", "layer_types", ["full_attention", "sliding_attention"], named: "layer_types[0]"),
            Change("gemma2", "layer_types", ["sliding_attention"]),
            Change("gemma3", "_sliding_window_pattern", 4),
            Change("phi3", "partial_rotary_factor", 1.5),
            Change("phi3-longrope", "rope_scaling", ["type": "longrope", "long_factor": [1.0], "short_factor": [1.0]], named: "rope_scaling.long_factor"),
            Change("phi3-longrope", "rope_scaling", ["type": "longrope", "long_factor": [], "short_factor": []], named: "rope_scaling.long_factor"),
            Change("phi3-longrope", "rope_scaling", ["type": "longrope", "short_factor": []], named: "rope_scaling.long_factor"),
        ]

    @Test(arguments: changes) func aBadConfigIsRefusedWithItsKey(change: Change) throws {
        let fixture = ArchitectureFixture.named(change.fixture)
        var config = try #require(fixture.config.object)
        config[change.key] = change.value
        #expect {
            try ModelDescription(config: .object(config), architecture: fixture.architecture)
        } throws: { Self.key(of: $0) == change.named }
    }

    @Test func nullInAKeyThatGGUFNeedsIsRefused() throws {
        let fixture = ArchitectureFixture.named("gemma2")
        var config = try #require(fixture.config.object)
        config["attn_logit_softcapping"] = JSONValue.null
        let model = try ModelDescription(config: .object(config), architecture: fixture.architecture)
        #expect {
            try model.ggufMetadata(for: [], GGUFMetadataOptions(directoryName: "x", fileType: .f16))
        } throws: { Self.key(of: $0) == "attn_logit_softcapping" }
    }

    @Test func valuesThatDoNotFitTheirGGUFTypeAreRefused() throws {
        let fixture = ArchitectureFixture.named("gemma2")
        for value: JSONValue in ["16", -1, 1.5, .integer(1 << 32)] {
            var config = try #require(fixture.config.object)
            config["sliding_window"] = value
            let model = try ModelDescription(config: .object(config), architecture: fixture.architecture)
            #expect {
                try model.ggufMetadata(for: [], GGUFMetadataOptions(directoryName: "x", fileType: .f16))
            } throws: { Self.key(of: $0) == "sliding_window" }
        }
    }

    @Test(arguments: ["llama.block_count", "llama.embedding_length", "llama.attention.head_count", "llama.context_length"])
    func badMetadataIsRefusedWithItsKey(key: String) throws {
        let fixture = ArchitectureFixture.named("llama")
        let architecture = try fixture.architecture
        for value: GGUFValue? in [nil, .i32(-1), .u32(0), .u64(.max), .string("2"), .f32(2), .bool(true)] {
            var metadata = fixture.ggufKeys
            metadata[key] = value
            #expect {
                try ModelDescription(metadata: metadata, tensors: fixture.ggufTensors, architecture: architecture)
            } throws: { Self.key(of: $0) == key }
        }
    }

    /// Hugging Face's own defaults stand in for keys that a config leaves out.
    @Test func defaultsAreThoseOfTransformers() throws {
        let config: JSONValue = [
            "architectures": ["MistralForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 1,
            "num_attention_heads": 32, "vocab_size": 32000,
        ]
        let model = try ModelDescription(config: config, architecture: ArchitectureLibrary.builtIn.architecture(forConfig: config))
        #expect(model.hyperparameters.keyValueHeads == 8)
        #expect(model.hyperparameters[.context] == 131072)
        #expect(model.rope.theta == 10000)
        #expect(!model.isTied)
        let metadata = try model.ggufMetadata(for: [], GGUFMetadataOptions(directoryName: "x", fileType: .f16))
        #expect(metadata["llama.attention.key_length"] == nil)
        #expect(metadata["llama.attention.layer_norm_rms_epsilon"] == .f32(1e-6))
    }

    @Test func yarnHasItsKeysAndComesBack() throws {
        let fixture = ArchitectureFixture.named("qwen2")
        var config = try #require(fixture.config.object)
        config["rope_scaling"] = ["type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, "beta_fast": 16]
        let model = try ModelDescription(config: .object(config), architecture: fixture.architecture)
        let metadata = try model.ggufMetadata(
            for: [], GGUFMetadataOptions(directoryName: "x", fileType: .f16, keepsSource: false))
        #expect(metadata["qwen2.rope.scaling.type"] == .string("yarn"))
        #expect(metadata["qwen2.rope.scaling.factor"] == .f32(4))
        #expect(metadata["qwen2.rope.scaling.original_context_length"] == .u32(128))
        #expect(metadata["qwen2.rope.scaling.yarn_beta_fast"] == .f32(16))
        #expect(metadata["qwen2.rope.scaling.yarn_beta_slow"] == nil)
        let back = try ModelDescription(metadata: metadata, tensors: fixture.ggufTensors, architecture: fixture.architecture)
        #expect(back.rope == model.rope)
    }

    @Test func samplingSettingsGoBothWays() throws {
        let fixture = ArchitectureFixture.named("llama")
        let model = try fixture.description
        let metadata = try model.ggufMetadata(
            for: [],
            GGUFMetadataOptions(
                directoryName: "x", fileType: .f16,
                generationConfig: ["temperature": 0.6, "top_k": 20, "repetition_penalty": 1.1], keepsSource: false))
        #expect(metadata["general.sampling.temp"] == .f32(0.6))
        #expect(metadata["general.sampling.top_k"] == .i32(20))
        #expect(metadata["general.sampling.penalty_repeat"] == .f32(1.1))
        let back = try ModelDescription(metadata: metadata, tensors: fixture.ggufTensors, architecture: fixture.architecture)
        let made = try back.huggingFaceConfiguration(metadata: metadata, tensors: [], dtype: .f32).generationConfig
        #expect(made["temperature"] == 0.6)
        #expect(made["top_k"] == 20)
        #expect(made["repetition_penalty"] == 1.1)
        #expect(made["do_sample"] == true)
    }
}
