import Formats
import Models
import ResQ

/// `merge-lora`: adds a PEFT adapter to the weights it adapts.
struct MergeLoRA: DeclaredPass {
    static let declaration = Declaration(
        identifier: "merge-lora",
        summary: "Adds a LoRA adapter (of PEFT, or a GGUF file of llama.cpp) to the weights it adapts.",
        contract: """
            W + scale * alpha / rank * B A (alpha / sqrt(rank) for rank-stabilised adapters), computed and stored as F32; \
            ranks and alphas by module (rank_pattern, alpha_pattern), embeddings, biases and transposed weights \
            (fan_in_fan_out) as PEFT has them. Tensors that were trained as a whole (modules_to_save, bias) take the place \
            of the base's. A tied model whose embedding or head is adapted is untied first, so that the other one stays. \
            Every tensor of the adapter must find its weight; DoRA and whatever else is no low-rank sum stops the run.
            """,
        options: [
            OptionDeclaration("adapter", .path, default: .required, summary: "The adapter's folder or adapter_model.safetensors, or a .gguf."),
            OptionDeclaration("scale", .number(-1000...1000), default: .number(1), summary: "A factor on the adapter's own scale."),
        ])

    private let path: String
    private let scale: Double

    init(options: PassOptions) throws(RecipeError) {
        path = options.text("adapter")
        scale = options.number("scale")
    }

    init(adapter path: String, scale: Double = 1) {
        self.path = path
        self.scale = scale
    }

    func rewrite(_ graph: inout TensorGraph, in context: PassContext) throws {
        let adapter = try LoRAAdapter.read(path, for: graph.model, context: context)
        try untieIfNeeded(&graph, for: adapter, in: context)
        for replacement in adapter.replacements {
            let name = replacement.info.name
            let base = try weight(name, of: graph, adapter)
            guard base.info.shape == replacement.info.shape else {
                throw FormatError(
                    .invalid(field: "the shape", found: "\(replacement.info.shape)", expected: "\(base.info.shape), the base's"),
                    path: adapter.path, tensor: name)
            }
            graph[name] = LazyTensor(info: replacement.info, operation: replacement.operation, history: base.history)
                .noting("replaced by the adapter's")
        }
        for product in adapter.products {
            let base = try weight(product.name, of: graph, adapter)
            guard base.info.shape.count <= 2, product.left.info.rowCount == base.info.rowCount,
                product.right.info.columnCount == base.info.columnCount
            else {
                throw FormatError(
                    .invalid(
                        field: "the product of the adapter",
                        found: "[\(product.left.info.rowCount), \(product.right.info.columnCount)]",
                        expected: "\(base.info.shape), the base's shape"),
                    path: adapter.path, tensor: product.name)
            }
            let info = try TensorInfo(name: product.name, encoding: .plain(.f32), shape: base.info.shape)
            let operation = AddLowRank(
                input: base, left: product.left, right: OnceFloats(product.right), rank: product.rank,
                scale: Float(scale * product.scale))
            graph[product.name] = LazyTensor(info: info, operation: operation, history: base.history)
                .noting("merged LoRA of rank \(product.rank)")
        }
        let replaced = adapter.replacements.isEmpty ? "" : ", replaced \(adapter.replacements.count) tensors"
        context.report(.note, "merged \(adapter.products.count) low-rank products\(replaced)")
    }

    /// Embedding and head of a tied model are one tensor, but the adapter was trained with one of them changed.
    private func untieIfNeeded(_ graph: inout TensorGraph, for adapter: LoRAAdapter, in context: PassContext) throws {
        guard let model = graph.model, model.isTied else { return }
        let names = adapter.products.map(\.name) + adapter.replacements.map(\.info.name)
        let head = model.architecture.headName
        guard names.contains(where: { $0 == head || model.match(name: $0)?.role == .embedding }) else { return }
        try Untie().rewrite(&graph, in: context)
        context.report(.note, "the model is untied: the adapter changes its embedding or its head, not both")
    }

    private func weight(_ name: String, of graph: TensorGraph, _ adapter: LoRAAdapter) throws -> LazyTensor {
        guard let weight = graph[name] else {
            throw FormatError(.missing(field: "weight for the adapter's tensor", name: name), path: adapter.path)
        }
        return weight
    }
}

/// Rows of W + s B A.
struct AddLowRank: TensorOperation {
    let input: LazyTensor
    let left: LazyTensor
    let right: OnceFloats
    let rank: Int
    let scale: Float

    var summary: String { "add rank \(rank) times \(scale)" }
    var inputs: [LazyTensor] { [input, left, right.tensor] }

    func rows(_ range: Range<Int>, of info: TensorInfo) throws -> TensorBytes {
        let factors = try right.values()
        return try encodedRows(range, of: info) { rows, values throws in
            try decodeRows(rows, of: input, into: &values)
            let part = try decodedRows(rows, of: left)
            addLowRankProduct(
                to: &values, left: part.span, right: factors.span, rank: rank, columnCount: info.columnCount, scale: scale)
        }
    }
}

/// Rows of a small matrix turned over, kept in memory as floats.
struct Transpose: TensorOperation {
    let matrix: OnceFloats

    var summary: String { "transpose" }
    var inputs: [LazyTensor] { [matrix.tensor] }

    func rows(_ range: Range<Int>, of info: TensorInfo) throws -> TensorBytes {
        let source = try matrix.values()
        let (columnCount, rowCount) = (info.columnCount, info.rowCount)
        return try encodedRows(range, of: info) { rows, values in
            for row in rows {
                for column in 0..<columnCount {
                    values[(row - rows.lowerBound) * columnCount + column] = source[column * rowCount + row]
                }
            }
        }
    }
}

extension LazyTensor {
    /// A small matrix turned over, as F32.
    func transposed() throws -> LazyTensor {
        let info = try TensorInfo(name: info.name, encoding: .plain(.f32), shape: info.shape.reversed())
        return LazyTensor(info: info, operation: Transpose(matrix: OnceFloats(self)), history: history)
    }
}

extension TensorGraph {
    /// Adds a LoRA adapter to the weights it adapts, as `merge-lora` does.
    /// - Returns: the adapter's files.
    /// - Throws: errors of the adapter's files, naming them.
    public mutating func add(adapter path: String) throws -> [SourceFile] {
        let context = PassContext(onFallback: .error)
        try MergeLoRA(adapter: path).rewrite(&self, in: context)
        return context.inputs
    }
}
