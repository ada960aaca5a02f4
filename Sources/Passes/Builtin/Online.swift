import Formats
import Models

/// `resq.online`: what the runtime rounds, and to how many bits.
struct Online: DeclaredPass {
    static let declaration = Declaration(
        identifier: "resq.online",
        summary: "Says which online transforms the runtime applies and how it rounds activations, keys and values.",
        contract: """
            Changes no weights. Records bit widths, which 'resq eval' and 'resq generate' then compute with: asymmetric \
            codes, per token for inputs that come from the residual stream and for the input of down, per token and head \
            for the input of o, keys and values, with scales of their own for the low, middle and high parts that \
            'resq.rotate' made; with 'activation-group' every so many neighbours of a linear input have their own. A width of \
            16 leaves numbers as they are. The head's input is never rounded. The model is written as GGUF under the \
            architecture 'resq'.
            """,
        options: [
            OptionDeclaration("activations", widths, default: .integer(4), summary: "Bits of the inputs of linear layers: 2 to 8, or 16."),
            OptionDeclaration("activations-high", .integer(2...8), default: .absent, summary: "Bits of their high part; by default 8."),
            OptionDeclaration(
                "activations-low", .integer(2...8), default: .absent, summary: "Bits of their low part; by default 2, or 8 beside 8."),
            OptionDeclaration("down", widths, default: .absent, summary: "Bits of the input of down; by default those of 'activations'."),
            OptionDeclaration(
                "activation-group", .integer(8...65536), default: .absent,
                summary: "How many neighbours of a linear layer's input share a scale; by default all of a part."),
            OptionDeclaration("kv", widths, default: .integer(4), summary: "Bits of keys and values: 2 to 8, or 16."),
            OptionDeclaration("kv-high", .integer(2...8), default: .absent, summary: "Bits of their high part; by default 8."),
            OptionDeclaration("kv-low", .integer(2...8), default: .absent, summary: "Bits of their low part; by default 2, or 8 beside 8."),
            OptionDeclaration(
                "key-rotation", widths, default: .integer(8), summary: "Bits of the rotation of keys, and of what it is applied to."),
            OptionDeclaration(
                "rotates-keys", .boolean, default: .boolean(true),
                summary: "Whether the rotation of keys that 'resq.rotate' left is applied at all."),
        ])

    private static let widths = OptionType.integer(2...16)

    private let activations: PartBits?
    private let down: Int?
    private let group: Int?
    private let keyValues: PartBits?
    private let keyRotation: Int?
    private let rotatesKeys: Bool

    init(options: PassOptions) throws(RecipeError) {
        activations = try Self.bits("activations", options)
        down = try Self.width(options.has("down") ? "down" : "activations", options)
        group = options.has("activation-group") ? options.integer("activation-group") : nil
        keyValues = try Self.bits("kv", options)
        rotatesKeys = options.boolean("rotates-keys")
        keyRotation = try Self.width("key-rotation", options)
    }

    /// A width; `nil` for 16.
    private static func width(_ name: String, _ options: PassOptions) throws(RecipeError) -> Int? {
        let bits = options.integer(name)
        guard bits <= 8 || bits == 16 else { throw options.error("\(bits) bits: must be 2 to 8, or 16 for none", option: name) }
        return bits <= 8 ? bits : nil
    }

    private static func bits(_ name: String, _ options: PassOptions) throws(RecipeError) -> PartBits? {
        guard let middle = try width(name, options), var bits = ActivationRounding.bits(middle, like: nil) else { return nil }
        if options.has(name + "-high") { bits.high = options.integer(name + "-high") }
        if options.has(name + "-low") { bits.low = options.integer(name + "-low") }
        return bits
    }

    func rewrite(_ graph: inout TensorGraph, in context: PassContext) throws {
        let model = try graph.described(for: "resq.online")
        var online = graph.online ?? OnlineTransforms(model)
        if !rotatesKeys {
            online.keyRotations = []
            online.keys = SubspaceWidths(middle: model.hyperparameters.headDimension)
        }
        let rounding = ActivationRounding(
            activations: activations, down: down, activationGroup: activations == nil && down == nil ? nil : group, keyValues: keyValues,
            keyRotation: online.keyRotations.isEmpty ? nil : keyRotation)
        online.rounding = rounding == ActivationRounding() ? nil : rounding
        graph.online = online
    }
}
