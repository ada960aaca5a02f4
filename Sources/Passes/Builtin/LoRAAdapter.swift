import Formats
import Models

/// A LoRA adapter: a GGUF file of llama.cpp, or as PEFT saves it, `adapter_model.safetensors` with `adapter_config.json` beside it.
///
///     base_model.model.NAME.lora_A.weight        [rank, inputs]
///     base_model.model.NAME.lora_B.weight        [outputs, rank]
///     base_model.model.NAME.lora_B.bias          [outputs]
///     base_model.model.NAME.lora_embedding_A     [rank, vocabulary]
///     base_model.model.NAME.lora_embedding_B     [hidden, rank]
///     base_model.model.NAME.weight, .bias        a tensor that was trained as a whole
///
/// Names may have `.base_layer` before their last word.
struct LoRAAdapter {
    /// What is added to a tensor of the base: scale · left · right.
    struct Product {
        let name: String
        /// `[rows of the base tensor, rank]`
        let left: LazyTensor
        /// `[rank, columns of the base tensor]`
        let right: LazyTensor
        let scale: Double

        var rank: Int { left.info.columnCount }
    }

    /// The file with the tensors.
    let path: String
    /// In the order of the file.
    let products: [Product]
    /// Tensors that take the place of the base's of the same name.
    let replacements: [LazyTensor]

    /// - Parameter model: that of the base; without one the base may store weights `[inputs, outputs]`, as GPT-2 does.
    /// - Throws: `FormatError` for files that are missing or wrong, and for an adapter that is more than a plain LoRA.
    static func read(_ path: String, for model: ModelDescription?, context: PassContext) throws -> LoRAAdapter {
        if path.lowercased().hasSuffix(".gguf") {
            let source = try context.open(path)
            if case .gguf = source.manifest.metadata { return try LoRAAdapter(gguf: source, path: path, for: model) }
        }
        // Of the known architectures none stores a weight transposed; PEFT looks at the module for the same end.
        return try LoRAAdapter(peft: path, allowsTransposed: model == nil, context: context)
    }

    private init(peft path: String, allowsTransposed: Bool, context: PassContext) throws {
        let file = path.hasSuffix(".safetensors") ? path : path + "/adapter_model.safetensors"
        let folder = file.split(separator: "/", omittingEmptySubsequences: false).dropLast()
        let configuration = try LoRAConfiguration(path: (folder + ["adapter_config.json"]).joined(separator: "/"))
        self.path = file
        var parts = Parts()
        let source = try context.open(file)
        for (index, info) in source.manifest.tensors.enumerated() {
            try parts.add(LazyTensor(info: info, operation: SourceSlice(source: source, index: index)), path: file)
        }
        replacements = parts.replacements
        products = try parts.products(
            configuration, isTransposed: allowsTransposed && configuration.isTransposed, path: file)
        guard !products.isEmpty || !replacements.isEmpty else {
            throw FormatError(.missing(field: "adapter tensor", name: "lora_A"), path: file)
        }
    }
}

/// The tensors of an adapter, sorted by module.
private struct Parts {
    private struct Module {
        var a: LazyTensor?
        var b: LazyTensor?
        var bias: LazyTensor?
        var isEmbedding = false
    }

    private var modules: [String: Module] = [:]
    private var order: [String] = []
    private(set) var replacements: [LazyTensor] = []

    mutating func add(_ tensor: LazyTensor, path: String) throws {
        var name = tensor.info.name
        for prefix in ["base_model.model.", "base_model."] where name.hasPrefix(prefix) {
            name.removeFirst(prefix.count)
            break
        }
        if let module = name.removing(suffixes: [".lora_A.weight", ".lora_A.default.weight"]) {
            self[module].a = tensor
        } else if let module = name.removing(suffixes: [".lora_B.weight", ".lora_B.default.weight"]) {
            self[module].b = tensor
        } else if let module = name.removing(suffixes: [".lora_B.bias", ".lora_B.default.bias"]) {
            self[module].bias = tensor
        } else if let module = name.removing(suffixes: [".lora_embedding_A", ".lora_embedding_A.default"]) {
            self[module].a = tensor
            self[module].isEmbedding = true
        } else if let module = name.removing(suffixes: [".lora_embedding_B", ".lora_embedding_B.default"]) {
            self[module].b = tensor
            self[module].isEmbedding = true
        } else if !name.contains("lora_"), !name.contains(".token_adapter."), let last = name.lastIndex(of: "."),
            [".weight", ".bias"].contains(name[last...])
        {
            let module = String(name[..<last])
            let base = module.removing(suffixes: [".base_layer", ".modules_to_save.default"]) ?? module
            replacements.append(tensor.renamed(base + name[last...]))
        } else {
            throw FormatError(
                .unsupported(what: "an adapter tensor that is neither lora_A nor lora_B nor a weight or bias"), path: path,
                tensor: tensor.info.name)
        }
    }

    private subscript(module: String) -> Module {
        get { modules[module] ?? Module() }
        set {
            if modules.updateValue(newValue, forKey: module) == nil { order.append(module) }
        }
    }

    func products(_ configuration: LoRAConfiguration, isTransposed: Bool, path: String) throws -> [LoRAAdapter.Product] {
        try order.flatMap { name in
            let module = self[name]
            func missing(_ part: String) -> FormatError {
                FormatError(.missing(field: "adapter tensor", name: "\(part) of \(name)"), path: path)
            }
            let suffix = module.isEmbedding ? "embedding_" : ""
            guard let a = module.a else { throw missing("lora_\(suffix)A") }
            guard let b = module.b else { throw missing("lora_\(suffix)B") }
            let rank = configuration.rank(of: name)
            guard a.info.shape.count == 2, b.info.shape.count == 2, a.info.shape[0] == rank, b.info.shape[1] == rank else {
                throw FormatError(
                    .invalid(
                        field: "the shapes of lora_\(suffix)A and lora_\(suffix)B", found: "\(a.info.shape) and \(b.info.shape)",
                        expected: "[\(rank), inputs] and [outputs, \(rank)], the rank of \(configuration.path)"),
                    path: path, tensor: name)
            }
            let scale = configuration.scale(of: name)
            // (B A)ᵀ = Aᵀ Bᵀ: an embedding's rows are its inputs.
            let turned = module.isEmbedding || isTransposed
            var products = [
                LoRAAdapter.Product(
                    name: name + ".weight", left: turned ? try a.transposed() : b, right: turned ? try b.transposed() : a,
                    scale: scale)
            ]
            if let bias = module.bias {
                // A vector is one row.
                let one = try LazyTensor.constant([1], name: "1")
                products.append(LoRAAdapter.Product(name: name + ".bias", left: one, right: bias, scale: scale))
            }
            return products
        }
    }
}

extension String {
    fileprivate func removing(suffixes: [String]) -> String? {
        suffixes.first(where: hasSuffix).map { String(dropLast($0.count)) }
    }
}
