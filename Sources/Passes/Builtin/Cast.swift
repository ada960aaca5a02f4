import Formats

/// `cast`: stores tensors in another plain floating-point type.
struct Cast: DeclaredPass {
    static let declaration = Declaration(
        identifier: "cast",
        summary: "Stores floating-point tensors in another plain type.",
        contract: """
            Rounds to nearest, ties to even. A value that is finite before and too large for the type stops the run. \
            Integers and tensors that are in the type already are left alone; block types are dequantized.
            """,
        options: [
            OptionDeclaration("to", .choice(["f32", "f16", "bf16", "f64"]), default: .required, summary: "The type to store."),
            OptionDeclaration("match", .selector, default: .text("*"), summary: "Which tensors."),
        ])

    private let encoding: Encoding
    private let selector: Selector

    init(options: PassOptions) throws(RecipeError) {
        encoding = Encoding(name: options.text("to"))!  // one of the declared choices
        selector = options.selector("match")
    }

    func rewrite(_ graph: inout TensorGraph, in context: PassContext) throws {
        try graph.mapTensors(asking: selector, for: "cast") { tensor, isMeant in
            guard isMeant else { return [tensor] }
            if case .plain(let dtype) = tensor.info.encoding, !dtype.isFloatingPoint { return [tensor] }
            return [try tensor.encoded(as: encoding).noting("cast to \(encoding.name)")]
        }
    }
}

extension TensorGraph {
    /// Replaces every tensor, telling which of them a selector matches.
    /// - Throws: `RecipeError` when that is none; whatever `transform` throws.
    public mutating func mapTensors(
        asking selector: Selector, for pass: String, _ transform: (LazyTensor, _ isMeant: Bool) throws -> [LazyTensor]
    ) throws {
        let facts = facts
        guard facts.contains(where: selector.matches) else { throw selector.matchesNothing("pass '\(pass)'", in: facts) }
        var fact = facts.makeIterator()
        try mapTensors { tensor in try transform(tensor, fact.next().map(selector.matches) ?? false) }
    }
}
