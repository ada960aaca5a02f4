import Formats
import Models
import Passes

/// A Llama of a few thousand seeded weights, in memory.
func tinyModel(layers: Int = 3, spoiling: String? = nil) throws -> TensorGraph {
    let (hidden, heads, keyValueHeads, inner, vocabulary) = (32, 4, 2, 48, 64)
    let dimension = hidden / heads
    var shapes: [(String, [Int])] = [("model.embed_tokens.weight", [vocabulary, hidden]), ("model.norm.weight", [hidden])]
    for layer in 0..<layers {
        let prefix = "model.layers.\(layer)."
        shapes += [
            (prefix + "input_layernorm.weight", [hidden]), (prefix + "post_attention_layernorm.weight", [hidden]),
            (prefix + "self_attn.q_proj.weight", [hidden, hidden]),
            (prefix + "self_attn.k_proj.weight", [keyValueHeads * dimension, hidden]),
            (prefix + "self_attn.v_proj.weight", [keyValueHeads * dimension, hidden]),
            (prefix + "self_attn.o_proj.weight", [hidden, hidden]), (prefix + "mlp.gate_proj.weight", [inner, hidden]),
            (prefix + "mlp.up_proj.weight", [inner, hidden]), (prefix + "mlp.down_proj.weight", [hidden, inner]),
        ]
    }
    var generator = SplitMix64(seed: 11)
    let tensors = shapes.map { name, shape in
        var values = (0..<shape.reduce(1, *)).map { _ in Float.random(in: -0.4...0.4, using: &generator) }
        if shape.count == 1 { values = values.map { 1 + $0 } }
        if name == spoiling { values[3] = .nan }
        return (name: name, encoding: Encoding.plain(.f32), shape: shape, bytes: bytes(values))
    }
    let config: JSONValue = [
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": .integer(hidden),
        "num_hidden_layers": .integer(layers), "num_attention_heads": .integer(heads), "num_key_value_heads": .integer(keyValueHeads),
        "intermediate_size": .integer(inner), "vocab_size": .integer(vocabulary), "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
    ]
    let source = try MemorySource(tensors, metadata: .huggingFace(HuggingFaceFiles(config: config, files: [:])))
    return try TensorGraph(source, architectures: .builtIn)
}
