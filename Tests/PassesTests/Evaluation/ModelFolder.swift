import Formats
import class Foundation.FileManager
import Models
import Passes

/// A Llama of two layers with random weights in a Hugging Face directory: 97 tokens, a context of 512.
struct ModelFolder {
    static let vocabulary = 97
    let scratch: Scratch
    let path: String

    /// - Parameters:
    ///   - seed: of the weights.
    ///   - noise: what is added to each weight, from another seed, in shares of the weights' size.
    ///   - spoiling: a tensor whose element 3 is made infinite.
    ///   - embeddingRows: of the embedding; the configuration says 97.
    init(
        in scratch: Scratch, name: String = "model", seed: UInt64 = 1, noise: Float = 0, spoiling: String? = nil,
        embeddingRows: Int = vocabulary
    ) throws {
        self.scratch = scratch
        path = scratch.path + "/" + name
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        let (hidden, inner, heads, keyHeads) = (32, 64, 4, 2)
        var shapes: [(String, [Int])] = [("model.embed_tokens.weight", [embeddingRows, hidden])]
        for layer in 0..<2 {
            let prefix = "model.layers.\(layer)."
            shapes += [
                (prefix + "input_layernorm.weight", [hidden]), (prefix + "post_attention_layernorm.weight", [hidden]),
                (prefix + "self_attn.q_proj.weight", [hidden, hidden]),
                (prefix + "self_attn.k_proj.weight", [hidden / heads * keyHeads, hidden]),
                (prefix + "self_attn.v_proj.weight", [hidden / heads * keyHeads, hidden]),
                (prefix + "self_attn.o_proj.weight", [hidden, hidden]), (prefix + "mlp.gate_proj.weight", [inner, hidden]),
                (prefix + "mlp.up_proj.weight", [inner, hidden]), (prefix + "mlp.down_proj.weight", [hidden, inner]),
            ]
        }
        shapes += [("model.norm.weight", [hidden]), ("lm_head.weight", [embeddingRows, hidden])]
        let layout = try Safetensors.layout(
            tensors: try shapes.map { try TensorInfo(name: $0.0, encoding: .plain(.f32), shape: $0.1) }, fileName: "")
        let output = try OutputFile(path: path + "/model.safetensors", byteCount: layout.byteCount)
        let header = layout.files[0].header
        try output.write(header.bytes, at: 0)
        for placed in layout.files[0].tensors {
            var generator = SplitMix64(seed: seed &* 1000 &+ UInt64(placed.index))
            var other = SplitMix64(seed: seed &* 1000 &+ UInt64(placed.index) &+ 500)
            let isNorm = placed.info.name.contains("norm")
            var values = (0..<placed.info.elementCount).map { _ in
                (isNorm ? 1 : 0) + Float.random(in: -0.4...0.4, using: &generator) + noise * Float.random(in: -0.4...0.4, using: &other)
            }
            if placed.info.name == spoiling { values[3] = .infinity }
            let data = TensorBytes(PassesTests.bytes(values))
            try output.write(data.bytes, at: placed.byteOffset)
        }
        try output.finish()
        let config = """
            {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 97, "hidden_size": 32,
             "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
             "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
             "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float32"}
            """
        try writeFile(Array(config.utf8), to: path + "/config.json")
    }

    var source: any TensorSource { get throws { try openTensorSource(at: path) } }

    func network(threadCount: Int = 1) throws -> Network {
        try TensorGraph(source, architectures: .builtIn).network(weightBudget: 1 << 30, threadCount: threadCount)
    }

    /// Tokens that no model knows beforehand.
    static func tokens(_ count: Int, seed: UInt64 = 9) -> [Int] {
        var generator = SplitMix64(seed: seed)
        return (0..<count).map { _ in Int.random(in: 0..<vocabulary, using: &generator) }
    }

    static func text(_ count: Int) -> TokenText { TokenText(ids: tokens(count), name: "text.npy") }

    /// Logits of a whole sequence, a row for each token, by themselves.
    static func logits(_ network: Network, _ sequence: [Int]) throws -> [[Float]] {
        var batch = try network.embed([sequence])
        var caches: [KeyValueCache]?
        try network.runLayers(on: &batch, caches: &caches, tables: network.rotaryTables(contextLength: sequence.count))
        var logits: [Float] = []
        try network.logits(of: batch, rows: 0..<sequence.count, into: &logits)
        return (0..<sequence.count).map { Array(logits[$0 * vocabulary..<($0 + 1) * vocabulary]) }
    }
}

func writeFile(_ bytes: [UInt8], to path: String) throws {
    let data = TensorBytes(bytes)
    try OutputFile.write(data.bytes, to: path)
}
