import Formats
import Models

/// `resq.lower`: an ordinary model again, of one that needed a runtime of its own.
struct Lower: Pass {
    static let declaration = PassDeclaration(
        identifier: "resq.lower",
        summary: "Makes an ordinary model of one that needs a ResQ runtime.",
        contract: """
            Function-preserving but for what the runtime rounds, which is not rounded any more. The transform of the input of \
            down is taken back out of its weights, in F32; the rotation of queries and keys, which no weight knows of, is \
            left out; split tensors are widened to 'type'. What became part of the weights (U_A, U_B) stays. Other models are \
            left alone.
            """,
        options: [
            OptionDeclaration("type", .choice(["f32", "f16", "bf16"]), default: .text("f16"), summary: "What split and transformed weights are stored in.")
        ])

    private let encoding: Encoding

    init(options: PassOptions) throws(RecipeError) {
        encoding = Encoding(name: options.text("type"))!  // one of the declared choices
    }

    func rewrite(_ graph: inout TensorGraph, in context: PassContext) throws {
        let online = graph.online
        let model = graph.model
        let work = online?.runtimeWork ?? ""
        try graph.mapTensors { tensor in
            var result = tensor
            if let seed = online?.downSeed, let model, model.match(name: tensor.info.name)?.role.isDown == true {
                result = try result.transformingColumns(seed: seed, isInverse: true).encoded(as: encoding)
            } else if case .split = tensor.info.encoding {
                result = try result.encoded(as: encoding).noting("widened to \(encoding.name)")
            }
            return [result]
        }
        graph.online = nil
        if !work.isEmpty { context.report(.note, "the model is an ordinary one again; left out is what its runtime did: \(work)") }
    }
}
