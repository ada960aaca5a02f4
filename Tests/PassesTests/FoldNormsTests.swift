import Formats
import Models
import Passes
import Testing

@Suite struct FoldNormsTests {
    /// A tied Gemma 3 of one layer, whose norms store their gain minus one.
    private func gemma() throws -> MemorySource {
        let shapes: [(String, [Int])] = [
            ("embed_tokens", [6, 8]), ("layers.0.input_layernorm", [8]), ("layers.0.self_attn.q_proj", [8, 8]),
            ("layers.0.self_attn.k_proj", [4, 8]), ("layers.0.self_attn.v_proj", [4, 8]), ("layers.0.self_attn.o_proj", [8, 8]),
            ("layers.0.self_attn.q_norm", [4]), ("layers.0.self_attn.k_norm", [4]), ("layers.0.post_attention_layernorm", [8]),
            ("layers.0.pre_feedforward_layernorm", [8]), ("layers.0.mlp.gate_proj", [4, 8]), ("layers.0.mlp.up_proj", [4, 8]),
            ("layers.0.mlp.down_proj", [8, 4]), ("layers.0.post_feedforward_layernorm", [8]), ("norm", [8]),
        ]
        let config: JSONValue = [
            "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "hidden_size": 8, "intermediate_size": 4,
            "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4,
            "query_pre_attn_scalar": 4, "vocab_size": 6, "max_position_embeddings": 16,
        ]
        var generator = SplitMix64(seed: 3)
        // Multiples of 1/8, so that every product is exact.
        return try MemorySource(
            shapes.map { name, shape in
                let values = (0..<shape.reduce(1, *)).map { _ in Float(Int.random(in: -8...8, using: &generator)) / 8 }
                return ("model.\(name).weight", .plain(.f32), shape, bytes(values))
            }, metadata: .huggingFace(HuggingFaceFiles(config: config)))
    }

    private func folded(_ source: MemorySource) throws -> TensorGraph {
        var graph = try TensorGraph(source, architectures: .builtIn)
        let recipe = try Recipe.parse("{recipe: 1, name: t, passes: [{use: fold-norms}]}", file: "t")
        try Registry.builtIn.pass(for: recipe.passes[0]).rewrite(&graph, in: PassContext(onFallback: .error))
        return graph
    }

    private func values(_ name: String, _ graph: TensorGraph) throws -> [Float] {
        let tensor = try #require(graph[name])
        return floats(try tensor.rows(0..<tensor.info.rowCount))
    }

    @Test func gemmasGainIsOneMoreThanItsNorm() throws {
        let source = try gemma()
        let before = try TensorGraph(source, architectures: .builtIn)
        let after = try folded(source)
        for (norm, consumers) in [
            ("model.layers.0.input_layernorm", ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
            ("model.layers.0.pre_feedforward_layernorm", ["mlp.gate_proj", "mlp.up_proj"]),
        ] {
            let gain = try values(norm + ".weight", before).map { 1 + $0 }
            #expect(try values(norm + ".weight", after) == [Float](repeating: 0, count: 8))
            for consumer in consumers {
                let name = "model.layers.0.\(consumer).weight"
                let expected = try values(name, before).enumerated().map { $1 * gain[$0 % 8] }
                #expect(try values(name, after) == expected, "\(name)")
            }
        }
        for kept in ["post_attention_layernorm", "post_feedforward_layernorm", "self_attn.q_norm", "self_attn.o_proj", "mlp.down_proj"] {
            let name = "model.layers.0.\(kept).weight"
            #expect(try values(name, after) == values(name, before), "\(name)")
        }
    }

    @Test func aTiedHeadIsUntiedAndTakesTheLastNorm() throws {
        let source = try gemma()
        let before = try TensorGraph(source, architectures: .builtIn)
        #expect(before.model?.isTied == true)
        let after = try folded(source)
        let embedding = try values("model.embed_tokens.weight", before)
        let gain = try values("model.norm.weight", before).map { 1 + $0 }
        #expect(try values("model.embed_tokens.weight", after) == embedding)
        #expect(try values("lm_head.weight", after) == embedding.enumerated().map { $1 * gain[$0 % 8] })
        #expect(try values("model.norm.weight", after) == [Float](repeating: 0, count: 8))
        #expect(after.model?.isTied == false)
        guard case .huggingFace(let files) = after.metadata else { Issue.record("no longer a model directory"); return }
        #expect(files.config["tie_word_embeddings"] == false)
    }
}
