import Formats
import Models
import ResQ

/// `resq.rotate`: turns the residual stream, values, queries and keys, and the inputs of down into better coordinates.
struct Rotate: DeclaredPass {
    static let declaration = Declaration(
        identifier: "resq.rotate",
        summary: "Rotates a model into bases in which few coordinates carry most of the energy.",
        contract: """
            Function-preserving, to F32 rounding. U_A (residual) and U_B (values) become part of the weights, which are \
            computed in Double and stored as F32; the model stays an ordinary one. U_C (keys) and U_D (down) are left for \
            the runtime to do: such a model is written as GGUF under the architecture 'resq'. U_A implies 'untie' and \
            'fold-norms', and is refused for architectures with norms on the way back into the residual stream. A rotation \
            is a basis followed by one rotation inside each of the low, middle and high subspaces.
            """,
        options: RotationParts.options + [
            OptionDeclaration(
                "basis", .text, default: .text("pca"),
                summary: """
                    pca (the principal directions of what the layers see in the recipe's calibration), identity, hadamard, \
                    random, or a safetensors file: calibration statistics, or bases under the names \
                    'residual', 'layers.N.values' and 'layers.N.keys'.
                    """),
            OptionDeclaration(
                "weigh-weights", .boolean, default: .boolean(false),
                summary: "For pca: whether directions count by the weights that read them as well (CoQuant)."),
            OptionDeclaration(
                "rotation", .choice(RotationKind.allCases.map(\.rawValue)), default: .text("random"),
                summary: "What mixes the coordinates inside each subspace."),
            OptionDeclaration(
                "high-fraction", .number(0...0.9), default: .number(0.125), summary: "The share of the dimensions for high precision."),
            OptionDeclaration(
                "low-fraction", .number(0...0.9), default: .number(0), summary: "The share of the dimensions for low precision."),
            OptionDeclaration(
                "per-layer", .boolean, default: .boolean(false),
                summary: "Whether each layer has a basis of its own for the residual stream, which the runtime turns from one to the next."),
            OptionDeclaration("seed", .integer(0...Int.max), default: .integer(0), summary: "Seed of the random matrices."),
        ])

    private let parts: RotationParts
    private let settings: RotationSettings

    init(options: PassOptions) throws(RecipeError) {
        parts = try RotationParts(options)
        let basis: RotationSettings.Basis = switch options.text("basis") {
        case "pca": .principal(weighsWeights: options.boolean("weigh-weights"))
        case "identity": .identity
        case "hadamard": .hadamard
        case "random": .random
        case let path: .file(path)
        }
        settings = RotationSettings(
            basis: basis, kind: RotationKind(rawValue: options.text("rotation"))!,  // one of the declared choices
            lowFraction: options.number("low-fraction"), highFraction: options.number("high-fraction"),
            isPerLayer: options.boolean("per-layer"), seed: UInt64(options.integer("seed")))
        switch basis {
        case .identity, .hadamard, .random:
            if settings.isPerLayer { throw options.error("layers differ in data alone: needs 'pca' or a file as 'basis'", option: "per-layer") }
        case .principal, .file: break
        }
        guard settings.lowFraction + settings.highFraction < 1 else {
            throw options.error("with the high fraction, nothing is left for the middle", option: "low-fraction")
        }
    }

    func rewrite(_ graph: inout TensorGraph, in context: PassContext) throws {
        try graph.rotate(parts, settings, pass: Self.declaration.identifier, in: context)
    }
}

/// `hadamard`: QuaRot's rotations, which need no calibration.
struct HadamardRotation: DeclaredPass {
    static let declaration = Declaration(
        identifier: "hadamard",
        summary: "Rotates a model by Hadamard matrices, as QuaRot does.",
        contract: """
            Function-preserving, to F32 rounding. The residual stream is turned by a Hadamard matrix with random signs, the \
            values of each head, and queries and keys after RoPE, by one of the head's size, and the input of down by one \
            of its width; the last two are the runtime's work, as with 'resq.rotate', of which this is a special case. \
            Where a size has no known Hadamard matrix, a factor of it is a random orthogonal matrix. No subspaces are set apart.
            """,
        promises: Promises(preservesFunction: true),
        options: RotationParts.options + [
            OptionDeclaration("seed", .integer(0...Int.max), default: .integer(0), summary: "Seed of the signs.")
        ])

    private let parts: RotationParts
    private let settings: RotationSettings

    init(options: PassOptions) throws(RecipeError) {
        parts = try RotationParts(options)
        settings = RotationSettings(
            basis: .identity, kind: .randomHadamard, lowFraction: 0, highFraction: 0, seed: UInt64(options.integer("seed")))
    }

    func rewrite(_ graph: inout TensorGraph, in context: PassContext) throws {
        try graph.rotate(parts, settings, pass: Self.declaration.identifier, in: context)
    }
}

extension RotationParts {
    /// The switches, one per rotation.
    fileprivate static let options = [
        OptionDeclaration("residual", .boolean, default: .boolean(true), summary: "Whether the residual stream is rotated (U_A)."),
        OptionDeclaration("values", .boolean, default: .boolean(true), summary: "Whether values are rotated, head by head (U_B)."),
        OptionDeclaration(
            "keys", .boolean, default: .boolean(true), summary: "Whether queries and keys are rotated after RoPE, by the runtime (U_C)."),
        OptionDeclaration(
            "down", .boolean, default: .boolean(true),
            summary: "Whether the input of down goes through a Hadamard transform, by the runtime (U_D)."),
    ]

    fileprivate init(_ options: PassOptions) throws(RecipeError) {
        self = []
        for (name, part) in [("residual", RotationParts.residual), ("values", .values), ("keys", .keys), ("down", .down)]
        where options.boolean(name) {
            insert(part)
        }
        guard !isEmpty else { throw options.error("every rotation is switched off", option: "residual") }
    }
}
