import Formats

/// `cast`: stores tensors in another plain floating-point type.
struct Cast: Pass {
    static let declaration = PassDeclaration(
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
        try graph.mapMatching(selector, "cast") { tensor in
            if case .plain(let dtype) = tensor.info.encoding, !dtype.isFloatingPoint { return [tensor] }
            return [try tensor.encoded(as: encoding).noting("cast to \(encoding.name)")]
        }
    }
}

extension TensorGraph {
    /// Replaces the tensors a selector matches; it must match at least one.
    mutating func mapMatching(
        _ selector: Selector, _ pass: String, _ transform: (LazyTensor) throws -> [LazyTensor]
    ) throws {
        let facts = facts
        guard facts.contains(where: selector.matches) else { throw selector.matchesNothing("pass '\(pass)'", in: facts) }
        var fact = facts.makeIterator()
        try mapTensors { tensor in
            guard let fact = fact.next(), selector.matches(fact) else { return [tensor] }
            return try transform(tensor)
        }
    }
}
