import Formats
import Models
import Testing

@Suite struct NamesTests {
    @Test(arguments: ArchitectureFixture.all) func bothNamesOfATensorFindEachOther(fixture: ArchitectureFixture) throws {
        let model = try fixture.description
        var ggufNames: Set<String> = []
        for tensor in fixture.tensors {
            let match = try #require(model.match(name: tensor.name))
            #expect(match.name == tensor.name)
            let back = try #require(model.match(ggufName: match.ggufName))
            #expect(back.role == match.role && back.layer == match.layer)
            if !match.rule.stacksExperts {
                #expect(back.name == tensor.name)
                #expect(ggufNames.insert(match.ggufName).inserted, "\(match.ggufName)")
            }
        }
    }

    @Test(arguments: [
        "model.layers.2.self_attn.q_proj.weight", "model.layers.00.self_attn.q_proj.weight",
        "model.layers.+1.self_attn.q_proj.weight", "model.layers.{layer}.self_attn.q_proj.weight",
        "model.layers.self_attn.q_proj.weight", "model.layers.1.1.self_attn.q_proj.weight", "model.embed_tokens.0.weight",
        "model.layers.99999999999999999999.self_attn.q_proj.weight", "", ".", "blk.0.attn_q.weight",
    ]) func namesOfNoTensorAreNotRecognised(name: String) throws {
        #expect(try ArchitectureFixture.named("llama").description.match(name: name) == nil)
    }

    @Test func layersAndExpertsAreRead() throws {
        let model = try ArchitectureFixture.named("mixtral").description
        let match = try #require(model.match(name: "model.layers.1.block_sparse_moe.experts.3.w2.weight"))
        #expect(match.layer == 1 && match.expert == 3 && match.role == .expertDown)
        #expect(match.ggufName == "blk.1.ffn_down_exps.weight")
        #expect(model.match(name: "model.layers.1.block_sparse_moe.experts.4.w2.weight") == nil)
        #expect(model.ggufShape(of: match) == [4, 64, 128])
    }

    @Test func missingTensorsAreNamedAndCounted() throws {
        let fixture = ArchitectureFixture.named("llama")
        let model = try fixture.description
        let some = fixture.tensors.filter { !$0.name.contains("q_proj") && $0.name != "lm_head.weight" }
        #expect(
            throws: ModelError(
                .missingTensors(
                    names: ["model.layers.0.self_attn.q_proj.weight", "model.layers.1.self_attn.q_proj.weight", "lm_head.weight"],
                    count: 3))
        ) { try model.check(some, named: .huggingFace) }
    }

    @Test func unexpectedTensorsAreNamedAndJunkIsNot() throws {
        let fixture = ArchitectureFixture.named("llama")
        let model = try fixture.description
        let junk = try TensorInfo(name: "model.layers.0.self_attn.rotary_emb.inv_freq", encoding: .plain(.f32), shape: [8])
        try model.check(fixture.tensors + [junk], named: .huggingFace)
        let stranger = try TensorInfo(name: "model.layers.7.mlp.up_proj.weight", encoding: .plain(.f32), shape: [8])
        #expect(throws: ModelError(.unexpectedTensors(names: [stranger.name], count: 1))) {
            try model.check(fixture.tensors + [stranger], named: .huggingFace)
        }
    }

    @Test func aWrongShapeIsNamed() throws {
        let fixture = ArchitectureFixture.named("qwen2")
        let wrong = try fixture.tensors.map {
            $0.name == "model.layers.1.self_attn.k_proj.bias" ? try TensorInfo(name: $0.name, encoding: $0.encoding, shape: [33]) : $0
        }
        let model = try fixture.description
        #expect(
            throws: ModelError(
                .shapeMismatch(tensor: "model.layers.1.self_attn.k_proj.bias", found: [33], expected: [32]))
        ) { try model.check(wrong, named: .huggingFace) }
    }

    /// No model of this architecture is among the fixtures.
    @Test func qwen3MoeStacksItsExperts() throws {
        let config: JSONValue = [
            "architectures": ["Qwen3MoeForCausalLM"], "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 100, "num_experts": 3,
            "num_experts_per_tok": 2, "moe_intermediate_size": 48, "norm_topk_prob": true, "tie_word_embeddings": true,
        ]
        let model = try ModelDescription(
            config: config, architecture: ArchitectureLibrary.builtIn.architecture(forConfig: config))
        var shapes: [(String, [Int])] = [
            ("model.embed_tokens.weight", [100, 64]), ("model.norm.weight", [64]),
            ("model.layers.0.input_layernorm.weight", [64]), ("model.layers.0.post_attention_layernorm.weight", [64]),
            ("model.layers.0.self_attn.q_proj.weight", [128, 64]), ("model.layers.0.self_attn.k_proj.weight", [64, 64]),
            ("model.layers.0.self_attn.v_proj.weight", [64, 64]), ("model.layers.0.self_attn.o_proj.weight", [64, 128]),
            ("model.layers.0.self_attn.q_norm.weight", [32]), ("model.layers.0.self_attn.k_norm.weight", [32]),
            ("model.layers.0.mlp.gate.weight", [3, 64]),
        ]
        // Out of order on purpose: the stack is in the order of the experts.
        for expert in [2, 0, 1] {
            shapes.append(("model.layers.0.mlp.experts.\(expert).gate_proj.weight", [48, 64]))
            shapes.append(("model.layers.0.mlp.experts.\(expert).up_proj.weight", [48, 64]))
            shapes.append(("model.layers.0.mlp.experts.\(expert).down_proj.weight", [64, 48]))
        }
        let tensors = try shapes.map { try TensorInfo(name: $0.0, encoding: .plain(.bf16), shape: $0.1) }
        let made = try model.ggufTensors(from: tensors)
        #expect(made.count == 14)
        let gate = try #require(made.first { $0.name == "blk.0.ffn_gate_exps.weight" })
        #expect(gate.shape == [3, 48, 64] && !gate.staysF32)
        #expect(gate.sources.map { tensors[$0].name.contains("experts.\(gate.sources.firstIndex(of: $0) ?? -1).gate") } == [true, true, true])
        #expect(made.first { $0.name == "blk.0.ffn_gate_inp.weight" }?.staysF32 == true)
    }

    @Test(arguments: [(1, 2), (1, 8), (2, 8), (4, 64), (3, 18)]) func permutationsInvert(heads: Int, rows: Int) {
        let there = TensorChange.permuteRows(heads: heads, inverse: false)
        let order = (0..<rows).map { there.sourceRow(of: $0, rowCount: rows) }
        #expect(order.sorted() == Array(0..<rows))
        for row in 0..<rows {
            #expect(there.inverse.sourceRow(of: there.sourceRow(of: row, rowCount: rows), rowCount: rows) == row)
            #expect(there.sourceRow(of: there.inverse.sourceRow(of: row, rowCount: rows), rowCount: rows) == row)
        }
    }

    @Test func pairsComeToStandSideBySide() {
        let change = TensorChange.permuteRows(heads: 2, inverse: false)
        #expect((0..<8).map { change.sourceRow(of: $0, rowCount: 8) } == [0, 2, 1, 3, 4, 6, 5, 7])
    }

    @Test(arguments: [
        ("SmolLM2-135M-Instruct", 134_515_008, "SmolLM2 135M Instruct", "SmolLM2", "135M", "Instruct", nil),
        ("Meta-Llama-3.1-8B-Instruct", 8_030_261_312, "Meta Llama 3.1 8B Instruct", "Meta-Llama-3.1", "8B", "Instruct", nil),
        ("Mixtral-8x7B-v0.1", 46_702_792_704, "Mixtral 8x7B v0.1", "Mixtral", "8x7B", nil, "v0.1"),
        ("phi-3-mini-128k-instruct", 3_821_079_552, "Phi 3 Mini 128k Instruct", "phi-3", "mini", "128k-instruct", nil),
        ("bloom-7b1", 7_069_016_064, "Bloom 7b1", "bloom", "7.1B", nil, nil),
        ("qwen/Qwen2.5-0.5B", 494_032_768, "Qwen2.5 0.5B", "Qwen2.5", "0.5B", nil, nil),
        ("model", 1000, "Model", nil, nil, nil, nil),
    ] as [(String, Int, String, String?, String?, String?, String?)])
    func namesAreTakenApart(
        name: String, count: Int, title: String, basename: String?, size: String?, finetune: String?, version: String?
    ) {
        let made = ModelName(name, parameterCount: count)
        #expect(made.title == title)
        #expect(made.basename == basename)
        #expect(made.sizeLabel == size)
        #expect(made.finetune == finetune)
        #expect(made.version == version)
    }
}
