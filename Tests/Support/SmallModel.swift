import Foundation

/// A Llama with few and small layers, random weights and a tokenizer of eight tokens, to be written as a directory.
public struct SmallModel: Sendable {
    public var layers = 2
    public var hidden = 64
    /// Wide enough for one block of 256.
    public var feedForward = 256
    public var heads = 4
    public var keyValueHeads = 2
    public var seed: UInt64 = 1
    /// A tensor whose element 5 gets this value.
    public var spoiled: (name: String, value: Float)?
    /// How many safetensors files the tensors are dealt to.
    public var shardCount = 1

    public static let vocabulary = 8

    public init(
        layers: Int = 2, hidden: Int = 64, feedForward: Int = 256, heads: Int = 4, keyValueHeads: Int = 2, seed: UInt64 = 1,
        spoiled: (name: String, value: Float)? = nil, shardCount: Int = 1
    ) {
        (self.layers, self.hidden, self.feedForward, self.heads, self.keyValueHeads) = (layers, hidden, feedForward, heads, keyValueHeads)
        (self.seed, self.spoiled, self.shardCount) = (seed, spoiled, shardCount)
    }

    /// Names and shapes of the tensors, in order.
    public var tensors: [(name: String, shape: [Int])] {
        let keyValue = hidden / heads * keyValueHeads
        var list: [(String, [Int])] = [("model.embed_tokens.weight", [Self.vocabulary, hidden])]
        for layer in 0..<layers {
            let prefix = "model.layers.\(layer)."
            list += [
                (prefix + "input_layernorm.weight", [hidden]), (prefix + "self_attn.q_proj.weight", [hidden, hidden]),
                (prefix + "self_attn.k_proj.weight", [keyValue, hidden]), (prefix + "self_attn.v_proj.weight", [keyValue, hidden]),
                (prefix + "self_attn.o_proj.weight", [hidden, hidden]), (prefix + "post_attention_layernorm.weight", [hidden]),
                (prefix + "mlp.gate_proj.weight", [feedForward, hidden]), (prefix + "mlp.up_proj.weight", [feedForward, hidden]),
                (prefix + "mlp.down_proj.weight", [hidden, feedForward]),
            ]
        }
        return list + [("model.norm.weight", [hidden]), ("lm_head.weight", [Self.vocabulary, hidden])]
    }

    /// `config.json`.
    public var config: [String: Any] {
        [
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden, "intermediate_size": feedForward,
            "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": keyValueHeads,
            "vocab_size": Self.vocabulary, "rms_norm_eps": 1e-5, "max_position_embeddings": 128, "rope_theta": 10000.0,
            "tie_word_embeddings": false, "torch_dtype": "bfloat16", "bos_token_id": 7, "eos_token_id": 7,
        ]
    }

    /// A byte-level BPE.
    public static var tokenizer: [String: Any] {
        [
            "version": "1.0", "added_tokens": [["id": 7, "content": "<|end|>", "special": true, "normalized": false]],
            "pre_tokenizer": ["type": "ByteLevel", "add_prefix_space": false], "decoder": ["type": "ByteLevel"],
            "model": [
                "type": "BPE", "vocab": ["a": 0, "b": 1, "c": 2, "ab": 3, "abc": 4, "Ġ": 5, "Ġa": 6],
                "merges": ["a b", "ab c", "Ġ a"],
            ] as [String: Any],
        ]
    }

    /// Writes the directory `name` into a folder.
    /// - Returns: its path.
    @discardableResult public func write(to folder: TemporaryFolder, as name: String = "model") throws -> String {
        try folder.makeFolder(name)
        try folder.write(jsonBytes(config), to: name + "/config.json")
        try folder.write(jsonBytes(Self.tokenizer), to: name + "/tokenizer.json")
        let weights = weights()
        var map: [String: String] = [:]
        let tensors = tensors
        for shard in 0..<shardCount {
            let file = shardCount == 1 ? "model.safetensors" : "model-0000\(shard + 1)-of-0000\(shardCount).safetensors"
            var entries: [String] = []
            var data: [UInt8] = []
            for tensor in tensors[shard * tensors.count / shardCount..<(shard + 1) * tensors.count / shardCount] {
                let start = data.count
                data += weights[tensor.name] ?? []
                entries.append(#""\#(tensor.name)":{"dtype":"BF16","shape":\#(tensor.shape),"data_offsets":[\#(start),\#(data.count)]}"#)
                map[tensor.name] = file
            }
            try folder.write(safetensorsBytes("{" + entries.joined(separator: ",") + "}") + data, to: name + "/" + file)
        }
        if shardCount > 1 {
            let index: [String: Any] = ["metadata": ["total_size": weights.values.reduce(0) { $0 + $1.count }], "weight_map": map]
            try folder.write(jsonBytes(index), to: name + "/model.safetensors.index.json")
        }
        return folder.path(name)
    }

    /// The bytes of every tensor: BF16 numbers from -0.5 to 0.5.
    public func weights() -> [String: [UInt8]] {
        var random = SeededRandom(seed: seed)
        var weights: [String: [UInt8]] = [:]
        for tensor in tensors {
            let count = tensor.shape.reduce(1, *)
            var data: [UInt8] = []
            data.reserveCapacity(2 * count)
            for index in 0..<count {
                var value = Float(random.next() >> 40) / Float(1 << 24) - 0.5
                if let spoiled, spoiled.name == tensor.name, index == 5 { value = spoiled.value }
                data.append(UInt8(truncatingIfNeeded: value.bitPattern >> 16))
                data.append(UInt8(truncatingIfNeeded: value.bitPattern >> 24))
            }
            weights[tensor.name] = data
        }
        return weights
    }
}

/// An object as JSON, its keys in order.
public func jsonBytes(_ object: Any) throws -> [UInt8] {
    [UInt8](try JSONSerialization.data(withJSONObject: object, options: [.sortedKeys, .withoutEscapingSlashes]))
}
