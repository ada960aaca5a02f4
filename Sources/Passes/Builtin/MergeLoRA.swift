import Formats
import Models
import ResQ

/// `merge-lora`: adds a PEFT adapter to the weights it adapts.
struct MergeLoRA: Pass {
    static let declaration = PassDeclaration(
        identifier: "merge-lora",
        summary: "Adds a LoRA adapter (PEFT, safetensors) to the weights it adapts.",
        contract: """
            W + scale * alpha / rank * B A (alpha / sqrt(rank) for rank-stabilised adapters), computed and stored as F32. \
            Every tensor of the adapter must find its weight; anything that is not a plain low-rank pair stops the run.
            """,
        options: [
            OptionDeclaration("adapter", .path, default: .required, summary: "The adapter's folder or adapter_model.safetensors."),
            OptionDeclaration("scale", .number(-1000...1000), default: .number(1), summary: "A factor on the adapter's own scale."),
        ])

    private let path: String
    private let scale: Double

    init(options: PassOptions) throws(RecipeError) {
        path = options.text("adapter")
        scale = options.number("scale")
    }

    func rewrite(_ graph: inout TensorGraph, in context: PassContext) throws {
        let adapter = try LoRAAdapter(path: path, context: context)
        for pair in adapter.pairs {
            guard let weight = graph[pair.weight] else {
                throw FormatError(.missing(field: "weight for the adapter's tensor", name: pair.weight), path: path)
            }
            let rank = pair.left.info.columnCount
            guard pair.left.info.shape == [weight.info.rowCount, rank], pair.right.info.shape == [rank, weight.info.columnCount],
                weight.info.shape.count == 2, rank > 0
            else {
                throw FormatError(
                    .invalid(
                        field: "adapter shapes", found: "\(pair.left.info.shape) x \(pair.right.info.shape)",
                        expected: "[\(weight.info.rowCount), rank] x [rank, \(weight.info.columnCount)]"),
                    path: path, tensor: pair.weight)
            }
            let info = try TensorInfo(name: weight.info.name, encoding: .plain(.f32), shape: weight.info.shape)
            let operation = AddLowRank(
                input: weight, left: pair.left, right: OnceFloats(pair.right), rank: rank,
                scale: Float(scale * adapter.scale(rank: rank)))
            graph[pair.weight] = LazyTensor(info: info, operation: operation, history: weight.history)
                .noting("merged LoRA of rank \(rank)")
        }
        context.report(.note, "merged \(adapter.pairs.count) low-rank pairs")
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
            let part = try decoded(try left.rows(rows), rows, of: left.info)
            addLowRankProduct(
                to: &values, left: part.span, right: factors.span, rank: rank, columnCount: info.columnCount, scale: scale)
        }
    }
}
