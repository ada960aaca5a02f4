import Formats

/// A LoRA adapter as PEFT saves it: `adapter_model.safetensors` with `adapter_config.json` beside it.
///
///     base_model.model.NAME.lora_A.weight   [rank, inputs]
///     base_model.model.NAME.lora_B.weight   [outputs, rank]
struct LoRAAdapter {
    struct Pair {
        /// The base weight's name.
        let weight: String
        let left: LazyTensor
        let right: LazyTensor
    }

    let pairs: [Pair]
    private let alpha: Double?
    private let isRankStabilised: Bool

    init(path: String, context: PassContext) throws {
        let file = path.hasSuffix(".safetensors") ? path : path + "/adapter_model.safetensors"
        let configPath = (file.split(separator: "/", omittingEmptySubsequences: false).dropLast() + ["adapter_config.json"])
            .joined(separator: "/")
        let config: JSONValue
        do throws(FormatError) {
            config = try JSONValue(parsing: MappedFile(path: configPath).bytes)
        } catch {
            throw error.at(path: configPath)
        }
        guard config["peft_type"]?.string ?? "LORA" == "LORA" else {
            throw FormatError(.unsupported(what: "an adapter of type \(config["peft_type"]?.string ?? "?")"), path: configPath)
        }
        for key in ["use_dora", "fan_in_fan_out"] where config[key]?.bool == true {
            throw FormatError(.unsupported(what: "an adapter with \(key)"), path: configPath)
        }
        for key in ["alpha_pattern", "rank_pattern"] where config[key]?.object?.isEmpty == false {
            throw FormatError(.unsupported(what: "an adapter with \(key)"), path: configPath)
        }
        alpha = config["lora_alpha"]?.double
        isRankStabilised = config["use_rslora"]?.bool ?? false
        pairs = try LoRAAdapter.pairs(of: try context.open(file), path: file)
        guard !pairs.isEmpty else { throw FormatError(.missing(field: "adapter tensor", name: "lora_A"), path: file) }
        if let rank = config["r"]?.integer, let pair = pairs.first(where: { $0.left.info.columnCount != rank }) {
            throw FormatError(
                .invalid(field: "rank", found: "\(pair.left.info.columnCount)", expected: "\(rank), the 'r' of \(configPath)"),
                path: file, tensor: pair.weight)
        }
    }

    /// alpha / rank, or alpha / √rank for rank-stabilised adapters; 1 when the configuration has no alpha.
    func scale(rank: Int) -> Double {
        guard let alpha else { return 1 }
        return alpha / (isRankStabilised ? Double(rank).squareRoot() : Double(rank))
    }

    private static func pairs(of source: any TensorSource, path: String) throws -> [Pair] {
        var left: [String: LazyTensor] = [:], right: [String: LazyTensor] = [:]
        var order: [String] = []
        for (index, info) in source.manifest.tensors.enumerated() {
            let tensor = LazyTensor(info: info, operation: SourceSlice(source: source, index: index))
            var name = info.name
            for prefix in ["base_model.model.", "base_model."] where name.hasPrefix(prefix) {
                name.removeFirst(prefix.count)
                break
            }
            if let base = name.removing(suffixes: [".lora_A.weight", ".lora_A.default.weight"]) {
                right[base + ".weight"] = tensor
                order.append(base + ".weight")
            } else if let base = name.removing(suffixes: [".lora_B.weight", ".lora_B.default.weight"]) {
                left[base + ".weight"] = tensor
            } else {
                throw FormatError(.unsupported(what: "an adapter tensor that is neither lora_A nor lora_B"), path: path, tensor: info.name)
            }
        }
        for name in left.keys.sorted() where right[name] == nil {
            throw FormatError(.missing(field: "adapter tensor", name: "lora_A of \(name)"), path: path)
        }
        return try order.map { name in
            guard let b = left[name], let a = right[name] else {
                throw FormatError(.missing(field: "adapter tensor", name: "lora_B of \(name)"), path: path)
            }
            return Pair(weight: name, left: b, right: a)
        }
    }
}

extension String {
    fileprivate func removing(suffixes: [String]) -> String? {
        suffixes.first(where: hasSuffix).map { String(dropLast($0.count)) }
    }
}
