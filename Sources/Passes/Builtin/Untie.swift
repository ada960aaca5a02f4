import Formats
import Models

/// `untie`: gives a model whose head is its embedding a head of its own.
struct Untie: DeclaredPass {
    static let declaration = Declaration(
        identifier: "untie",
        summary: "Gives a tied model a head of its own, a copy of its embedding.",
        contract: "Function-preserving: the logits are the same bit for bit. Models that are not tied are left alone.",
        promises: Promises(preservesFunction: true))

    init(options: PassOptions) {}

    init() {}

    func rewrite(_ graph: inout TensorGraph, in context: PassContext) throws {
        let model = try graph.described(for: "untie")
        guard model.isTied else { return }
        guard let embedding = graph.tensors.first(where: { model.match(name: $0.info.name)?.role == .embedding }),
            let head = model.architecture.headName
        else {
            let name = model.architecture.identifier
            throw PipelineError.cannotApply(pass: "untie", why: "models of architecture \(name) have no head of their own")
        }
        // Of a head that a tied checkpoint carries along, only the embedding counts.
        graph[head] = embedding.renamed(head).noting("untied from \(embedding.info.name)")
        try graph.setTied(false)
    }
}
