import Formats
import LinearAlgebra
import Models
import ResQ

/// What a runtime must do beside the architecture's own arithmetic, and how the spaces are cut.
public struct OnlineTransforms: Sendable {
    /// The parts of the inputs of q, k, v, gate and up.
    var residual: SubspaceWidths
    /// The parts of a head's values, and of a head in the input of o.
    var values: SubspaceWidths
    /// The parts of a head's keys.
    var keys: SubspaceWidths
    /// U_C of each layer, `[h, h]`; empty when queries and keys stay as they are.
    var keyRotations: [LazyTensor] = []
    /// U_A, `[d, d]`, which is part of the weights, one or one for each layer; empty when the stream stands as it did.
    var residualRotations: [LazyTensor] = []
    /// U_B of each layer, `[key-value heads, h, h]`, part of the weights too; empty when values stand as they did.
    var valueRotations: [LazyTensor] = []
    /// The seed of the transform T of the inputs of down; `nil` when there is none.
    var downSeed: UInt64?
    /// How activations, keys and values are rounded; `nil` for not at all.
    var rounding: ActivationRounding?

    /// Nothing to do, every space whole.
    init(_ model: ModelDescription) {
        residual = SubspaceWidths(middle: model.hyperparameters.hidden)
        values = SubspaceWidths(middle: model.hyperparameters.headDimension)
        keys = values
    }

    /// Whether the model is no ordinary one any more: a runtime that knows nothing of this would compute something else.
    var needsRuntime: Bool { !keyRotations.isEmpty || turnsStream || downSeed != nil || rounding != nil }

    /// Whether the stream is turned from the axes of each layer to those of the next.
    var turnsStream: Bool { residualRotations.count > 1 }

    /// What a file holds of the rotations, in this order.
    var rotations: [LazyTensor] { residualRotations + valueRotations + keyRotations }

    /// - Parameter layer: `nil` for the rotation that all layers share.
    static func residualRotationName(layer: Int?) -> String { (layer.map { "blk.\($0)." } ?? "") + "residual_rotation.weight" }
    static func valueRotationName(layer: Int) -> String { "blk.\(layer).attn_value_rotation.weight" }
    static func keyRotationName(layer: Int) -> String { "blk.\(layer).attn_key_rotation.weight" }
}

/// The dimensions of a space's parts, low precision first; 0 for a part that is not there.
struct SubspaceWidths: Sendable, Equatable {
    var low = 0
    var middle: Int
    var high = 0

    init(low: Int = 0, middle: Int, high: Int = 0) { (self.low, self.middle, self.high) = (low, middle, high) }

    /// - Parameter widths: of the parts that `settings` makes, in order.
    init(_ widths: [Int], _ settings: RotationSettings) {
        low = settings.lowFraction > 0 ? widths.first ?? 0 : 0
        high = settings.highFraction > 0 ? widths.last ?? 0 : 0
        middle = widths.reduce(0, +) - low - high
    }

    var total: Int { low + middle + high }

    /// The parts with their bits, each cut into groups that have a scale of their own.
    /// - Parameter group: neighbours of one scale, fewer at the end of a part; `nil` gives every part one.
    func subspaces(_ bits: PartBits, group: Int? = nil) -> [Subspace] {
        var (parts, start) = ([Subspace](), 0)
        for (width, bits) in [(low, bits.low), (middle, bits.middle), (high, bits.high)] where width > 0 {
            let end = start + width
            let step = min(group ?? width, width)
            for first in stride(from: start, to: end, by: step) {
                parts.append(Subspace(range: first..<min(first + step, end), bits: bits))
            }
            start = end
        }
        return parts
    }
}

/// Bits per number of each part.
struct PartBits: Sendable, Equatable {
    var low: Int
    var middle: Int
    var high: Int
}

/// How a runtime rounds what flows through the model.
public struct ActivationRounding: Sendable, Equatable {
    /// Of the inputs of linear layers; `nil` leaves them as they are.
    var activations: PartBits?
    /// Of the input of down, which has no parts; `nil` leaves it.
    var down: Int?
    /// How many neighbours of these inputs share a scale; `nil` for all of a part.
    var activationGroup: Int?
    /// Of keys and values; `nil` leaves them.
    var keyValues: PartBits?
    /// Of queries and keys before U_C, and of U_C itself; `nil` multiplies as they are.
    var keyRotation: Int?

    /// Bits that a user asks for: the same for every part from 8 on, else the parts' own around a new middle.
    static func bits(_ middle: Int, like recorded: PartBits?) -> PartBits? {
        guard middle <= 8 else { return nil }
        guard middle < 8 else { return PartBits(low: 8, middle: 8, high: 8) }
        return PartBits(low: min(recorded?.low ?? 2, middle), middle: middle, high: max(recorded?.high ?? 8, middle))
    }
}

extension TensorGraph {
    /// Has the engine round activations, keys and values otherwise than the model says; nothing where both are `nil`.
    ///
    /// - Parameters:
    ///   - activations: bits of the inputs of linear layers, 2 to 8, or 16 to leave them; `nil` for what the model says.
    ///   - keyValues: the same for keys and values.
    public mutating func round(activations: Int?, keyValues: Int?) {
        guard let model, activations != nil || keyValues != nil else { return }
        var online = online ?? OnlineTransforms(model)
        var rounding = online.rounding ?? ActivationRounding()
        if let activations {
            rounding.activations = ActivationRounding.bits(activations, like: rounding.activations)
            rounding.down = activations <= 8 ? activations : nil
        }
        if let keyValues {
            rounding.keyValues = ActivationRounding.bits(keyValues, like: rounding.keyValues)
            rounding.keyRotation = keyValues <= 8 && !online.keyRotations.isEmpty ? rounding.keyRotation ?? 8 : nil
        }
        online.rounding = rounding == ActivationRounding() ? nil : rounding
        self.online = online
    }
}

