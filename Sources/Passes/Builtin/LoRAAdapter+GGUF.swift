import Formats
import Models

extension LoRAAdapter {
    /// An adapter of llama.cpp: see `GGUFAdapter` for what is in the file. An alpha of zero means no scale, as there.
    ///
    /// - Parameter model: that of the base; `nil` for a base whose tensors keep the names of their file.
    /// - Throws: `FormatError` naming the tensor for what is no sum of low-rank products, or is for another architecture.
    init(gguf source: any TensorSource, path: String, for model: ModelDescription?) throws {
        guard case .gguf(let metadata) = source.manifest.metadata else { preconditionFailure("the caller looked at the format") }
        func check(_ key: String, is expected: String) throws(FormatError) {
            let found = metadata[key]?.string
            guard found == expected else {
                throw FormatError(.invalid(field: key, found: found.map { "'\($0)'" } ?? "nothing", expected: "'\(expected)'"), path: path)
            }
        }
        try check("general.type", is: "adapter")
        try check("adapter.type", is: "lora")
        if let model { try check("general.architecture", is: model.architecture.ggufName) }
        guard case .f32(let number)? = metadata["adapter.lora.alpha"], number.isFinite else {
            throw FormatError(.missing(field: "number", name: "adapter.lora.alpha"), path: path)
        }
        let alpha = Double(number)
        var factors: [String: (a: LazyTensor?, b: LazyTensor?)] = [:]
        var order: [String] = []
        for (index, info) in source.manifest.tensors.enumerated() {
            let tensor = LazyTensor(info: info, operation: SourceSlice(source: source, index: index))
            let name = String(info.name.dropLast(".lora_a".count))
            if factors[name] == nil { order.append(name) }
            if info.name.hasSuffix(".lora_a") {
                factors[name, default: (nil, nil)].a = tensor
            } else if info.name.hasSuffix(".lora_b") {
                factors[name, default: (nil, nil)].b = tensor
            } else {
                throw FormatError(.unsupported(what: "an adapter tensor that is neither lora_a nor lora_b"), path: path, tensor: info.name)
            }
        }
        self.path = path
        replacements = []
        products = try order.map { name in
            guard let a = factors[name]?.a else { throw FormatError(.missing(field: "adapter tensor", name: name + ".lora_a"), path: path) }
            guard let b = factors[name]?.b else { throw FormatError(.missing(field: "adapter tensor", name: name + ".lora_b"), path: path) }
            guard a.info.shape.count == 2, b.info.shape.count == 2, a.info.shape[0] == b.info.shape[1], a.info.shape[0] > 0 else {
                throw FormatError(
                    .invalid(field: "the shapes of lora_a and lora_b", found: "\(a.info.shape) and \(b.info.shape)",
                        expected: "[rank, inputs] and [outputs, rank]"), path: path, tensor: name)
            }
            let scale = alpha == 0 ? 1 : alpha / Double(a.info.shape[0])
            guard let model else { return Product(name: name, left: b, right: a, scale: scale) }
            guard let match = model.match(ggufName: name), !match.rule.stacksExperts else {
                throw FormatError(.missing(field: "weight for the adapter's tensor", name: name), path: path)
            }
            return Product(name: match.name, left: try b.changed(model.change(of: match).inverse), right: a, scale: scale)
        }
        guard !products.isEmpty else { throw FormatError(.missing(field: "adapter tensor", name: "lora_a"), path: path) }
    }
}
