import Formats

/// `drop`: leaves tensors out.
struct Drop: DeclaredPass {
    static let declaration = Declaration(
        identifier: "drop",
        summary: "Leaves tensors out of the output.",
        contract: "The tensors that match are gone; all others are untouched and keep their order.",
        options: [OptionDeclaration("match", .selector, default: .required, summary: "Which tensors to leave out.")])

    private let selector: Selector

    init(options: PassOptions) throws(RecipeError) { selector = options.selector("match") }

    func rewrite(_ graph: inout TensorGraph, in context: PassContext) throws {
        try graph.mapTensors(asking: selector, for: "drop") { tensor, isMeant in isMeant ? [] : [tensor] }
    }
}

/// `keep`: leaves out all tensors but some.
struct Keep: DeclaredPass {
    static let declaration = Declaration(
        identifier: "keep",
        summary: "Leaves out every tensor that does not match.",
        contract: "The tensors that match are untouched and keep their order; all others are gone.",
        options: [OptionDeclaration("match", .selector, default: .required, summary: "Which tensors to keep.")])

    private let selector: Selector

    init(options: PassOptions) throws(RecipeError) { selector = options.selector("match") }

    func rewrite(_ graph: inout TensorGraph, in context: PassContext) throws {
        try graph.mapTensors(asking: selector, for: "keep") { tensor, isMeant in isMeant ? [tensor] : [] }
    }
}

/// `rename`: changes the names of tensors.
struct Rename: DeclaredPass {
    static let declaration = Declaration(
        identifier: "rename",
        summary: "Changes the names of tensors.",
        contract: """
            Each '*' of 'from' stands for any text and is put where 'to' has its '*', in order. Data, order and types are \
            untouched. Two tensors that would get one name stop the run.
            """,
        options: [
            OptionDeclaration("from", .text, default: .required, summary: "The old name; '*' stands for any text."),
            OptionDeclaration("to", .text, default: .required, summary: "The new name, with as many '*'."),
        ])

    private let from: [Substring]
    private let to: [Substring]
    private let location: RecipeLocation

    init(options: PassOptions) throws(RecipeError) {
        from = options.text("from").split(separator: "*", omittingEmptySubsequences: false)
        to = options.text("to").split(separator: "*", omittingEmptySubsequences: false)
        location = options.location(of: "from")
        guard from.count == to.count else {
            throw options.error("has \(to.count - 1) '*' where 'from' has \(from.count - 1)", option: "to")
        }
    }

    func rewrite(_ graph: inout TensorGraph, in context: PassContext) throws {
        var count = 0
        try graph.mapTensors { tensor in
            guard let name = renamed(tensor.info.name), name != tensor.info.name else { return [tensor] }
            count += 1
            return [tensor.renamed(name).noting("renamed from \(tensor.info.name)")]
        }
        guard count > 0 else {
            throw RecipeError("pass 'rename' matches no tensor of the model", at: location)
        }
    }

    /// The new name, or `nil` when the old one does not match. Each star takes as little as it can.
    private func renamed(_ name: String) -> String? {
        var rest = name[...]
        guard rest.hasPrefix(from[0]) else { return nil }
        rest = rest.dropFirst(from[0].count)
        var result = String(to[0])
        for (place, literal) in from.enumerated().dropFirst() {
            let isLast = place == from.count - 1
            guard let range = isLast ? rest.rangeOfSuffix(literal) : rest.firstRange(of: literal) else { return nil }
            result += rest[..<range.lowerBound] + to[place]
            rest = rest[range.upperBound...]
        }
        return rest.isEmpty ? result : nil
    }
}

extension Substring {
    fileprivate func rangeOfSuffix(_ suffix: Substring) -> Range<Index>? {
        hasSuffix(suffix) ? index(endIndex, offsetBy: -suffix.count)..<endIndex : nil
    }
}
