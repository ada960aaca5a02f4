import Formats
import Models

/// `resq.lower`: an ordinary model again, of one that needed a runtime of its own.
struct Lower: DeclaredPass {
    static let declaration = Declaration(
        identifier: "resq.lower",
        summary: "Makes an ordinary model of one that needs a ResQ runtime.",
        contract: """
            Function-preserving but for what the runtime rounds, which is not rounded any more. The transform of the input of \
            down is taken back out of its weights, in F32; the rotation of queries and keys, which no weight knows of, is \
            left out; split tensors are widened to 'type'. What became part of the weights (U_A, U_B) stays unless \
            'take-back' says otherwise, or each layer has a U_A of its own. A 'quantize' after it gives all parts of a \
            tensor one type. Other models are left alone.
            """,
        options: [
            OptionDeclaration("type", .choice(["f32", "f16", "bf16"]), default: .text("f16"), summary: "What split and changed weights are stored in."),
            OptionDeclaration(
                "take-back", .boolean, default: .boolean(false),
                summary: "Whether the rotations of the stream and of values are taken back out of the weights: the axes are the original model's."),
        ])

    private let encoding: Encoding
    private let takesBack: Bool

    init(options: PassOptions) throws(RecipeError) {
        encoding = Encoding(name: options.text("type"))!  // one of the declared choices
        takesBack = options.boolean("take-back")
    }

    func rewrite(_ graph: inout TensorGraph, in context: PassContext) throws {
        let work = graph.online?.runtimeWork ?? ""
        let before = graph.tensors.map(\.history.count)
        if !takesBack {
            if graph.online?.turnsStream == false { graph.online?.residualRotations = [] }
            graph.online?.valueRotations = []
        }
        try graph.takeBackRotations()
        var place = -1
        try graph.mapTensors { tensor in
            place += 1
            let isSplit = if case .split = tensor.info.encoding { true } else { false }
            let isChanged = before[place] != tensor.history.count
            guard isSplit || isChanged && tensor.info.shape.count > 1 else { return [tensor] }
            return [try tensor.encoded(as: encoding).noting("lowered to \(encoding.name)")]
        }
        graph.online = nil
        if !work.isEmpty { context.report(.note, "the model is an ordinary one again; left out is what its runtime did: \(work)") }
    }
}
