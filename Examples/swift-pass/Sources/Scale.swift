import Formats
import Passes

/// `mine.scale`: multiplies weights by a factor.
struct Scale: DeclaredPass {
    static let declaration = Declaration(
        identifier: "mine.scale",
        summary: "Multiplies every weight by a factor.",
        contract: "Floating-point tensors keep their types; block types become F32. Integers are left alone.",
        options: [
            OptionDeclaration("factor", .number(-1e6...1e6), default: .number(0.5), summary: "What weights are multiplied by."),
            OptionDeclaration("match", .selector, default: .text("*"), summary: "Which tensors."),
        ])

    private let factor: Float
    private let selector: Selector

    init(options: PassOptions) throws(RecipeError) {
        factor = Float(options.number("factor"))
        selector = options.selector("match")
    }

    /// Says what every tensor becomes; nothing is computed before it is written.
    func rewrite(_ graph: inout TensorGraph, in context: PassContext) throws {
        try graph.mapTensors(asking: selector, for: "mine.scale") { tensor, isMeant in
            var stored = Encoding.plain(.f32)
            if case .plain(let type) = tensor.info.encoding {
                guard type.isFloatingPoint else { return [tensor] }
                stored = tensor.info.encoding
            }
            guard isMeant else { return [tensor] }
            let scaled = try tensor.changed("multiply by \(factor)", to: stored) { [factor] _, values in
                for index in values.indices { values[index] *= factor }
            }
            return [scaled.noting("mine.scale")]
        }
    }
}
