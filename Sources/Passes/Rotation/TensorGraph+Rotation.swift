import Formats
import LinearAlgebra
import Models
import ResQ

/// Which of the four rotations are applied.
struct RotationParts: OptionSet, Sendable {
    let rawValue: Int

    /// U_A, of the residual stream.
    static let residual = RotationParts(rawValue: 1)
    /// U_B, of the values of each key-value head.
    static let values = RotationParts(rawValue: 2)
    /// U_C, of queries and keys after RoPE: the runtime's work.
    static let keys = RotationParts(rawValue: 4)
    /// U_D, the Hadamard transform of the input of down: half of it the runtime's work.
    static let down = RotationParts(rawValue: 8)
}

/// The rotations of a model's weights.
private struct WeightRotations {
    /// U_A, or that of each layer; empty for none.
    var residual: [LazyRotation] = []
    /// U_B of each layer, one block for each key-value head; empty for none.
    var values: [LazyRotation] = []
    /// The seed of U_D.
    var downSeed: UInt64?
    /// Whether U_D is taken back.
    var isInverse = false
}

extension TensorGraph {
    /// Rotates the model and records what the runtime must do for it to compute the same function.
    ///
    /// - Throws: `PipelineError.cannotApply` for a model that cannot be rotated so, before any data is read.
    mutating func rotate(
        _ parts: RotationParts, _ settings: RotationSettings, pass: String, in context: PassContext
    ) throws {
        let model = try described(for: pass)
        let numbers = model.hyperparameters
        func refuse(_ why: String) -> PipelineError { .cannotApply(pass: pass, why: why) }
        var online = online ?? OnlineTransforms(model)
        if parts.contains(.residual) {
            try checkStreamCanTurn(refuse)
            online.residual = SubspaceWidths(try settings.widths(of: "the residual stream", width: numbers.hidden, pass: pass), settings)
            try Untie().rewrite(&self, in: context)
            try FoldNorms().rewrite(&self, in: context)
        }
        if parts.contains(.values) || parts.contains(.keys) {
            let widths = SubspaceWidths(try settings.widths(of: "a head", width: numbers.headDimension, pass: pass), settings)
            if parts.contains(.values) { online.values = widths }
            if parts.contains(.keys) { online.keys = widths }
        }
        // What is asked of the runtime is checked before anything is calibrated.
        if parts.contains(.keys), !online.keyRotations.isEmpty { throw refuse("queries and keys have a rotation already") }
        if parts.contains(.down), online.downSeed != nil { throw refuse("the inputs of down are transformed already") }
        let rotations = ModelRotations(settings, numbers: numbers, bases: try bases(parts, settings, pass: pass, in: context))
        var applied = WeightRotations()
        if parts.contains(.residual) {
            applied.residual = (0..<(settings.isPerLayer ? numbers.layers : 1)).map { layer in
                let place = settings.isPerLayer ? "residual of layer \(layer)" : "residual"
                return LazyRotation(summary: "\(place), \(rotations.summary)", order: numbers.hidden) { try rotations.residual(layer: layer) }
            }
            let earlier = online.residualRotations.map(LazyRotation.init(reading:))
            let count = max(earlier.count, applied.residual.count)
            online.residualRotations = try (0..<count).map { layer in
                let rotation = applied.residual.ofLayer(layer)!  // there is at least one
                return try .matrix(
                    of: earlier.ofLayer(layer)?.followed(by: rotation) ?? rotation, shape: [numbers.hidden, numbers.hidden],
                    name: OnlineTransforms.residualRotationName(layer: count > 1 ? layer : nil))
            }
        }
        let head = numbers.headDimension
        if parts.contains(.values) {
            applied.values = (0..<numbers.layers).map { layer in
                LazyRotation(summary: "values of layer \(layer), \(rotations.summary)", order: head) { try rotations.values(layer: layer) }
            }
            let earlier = online.valueRotations.map(LazyRotation.init(reading:))
            online.valueRotations = try applied.values.enumerated().map { layer, rotation in
                try .matrix(
                    of: earlier.isEmpty ? rotation : earlier[layer].followed(by: rotation), shape: [numbers.keyValueHeads, head, head],
                    name: OnlineTransforms.valueRotationName(layer: layer))
            }
        }
        if parts.contains(.keys) {
            online.keyRotations = try (0..<numbers.layers).map { layer in
                let rotation = LazyRotation(summary: "keys of layer \(layer), \(rotations.summary)", order: head) {
                    BlockRotation(blocks: [try rotations.keys(layer: layer)])
                }
                return try .matrix(of: rotation, shape: [head, head], name: OnlineTransforms.keyRotationName(layer: layer))
            }
        }
        if parts.contains(.down) {
            online.downSeed = settings.seed
            applied.downSeed = settings.seed
        }
        try apply(applied)
        self.online = online
    }

    /// Takes back what rotations made of the weights, as far as the model knows them: the function stays, the axes are
    /// those that the model had.
    mutating func takeBackRotations() throws {
        guard let online else { return }
        try apply(
            WeightRotations(
                residual: online.residualRotations.map { LazyRotation(reading: $0).inverse },
                values: online.valueRotations.map { LazyRotation(reading: $0).inverse }, downSeed: online.downSeed, isInverse: true))
        self.online?.residualRotations = []
        self.online?.valueRotations = []
        self.online?.downSeed = nil
    }

    /// The bases that come from data; `nil` for others.
    private func bases(
        _ parts: RotationParts, _ settings: RotationSettings, pass: String, in context: PassContext
    ) throws -> (any RotationBases)? {
        switch settings.basis {
        case .identity, .hadamard, .random: nil
        case .principal(let weighsWeights):
            // The transform of down needs no basis.
            try parts == .down ? nil : principalBases(parts.subtracting(.down), weighsWeights: weighsWeights, isPerLayer: settings.isPerLayer, pass: pass, in: context)
        case .file(let path): try basesFile(try context.open(path), path: path, for: self, parts: parts, isPerLayer: settings.isPerLayer, pass: pass, in: context)
        }
    }

    /// Refuses a residual stream with something in its way that no orthogonal matrix commutes with.
    private func checkStreamCanTurn(_ refuse: (String) -> PipelineError) throws(PipelineError) {
        guard let model else { return }
        let matches = tensors.compactMap { model.match(name: $0.info.name) }
        let roles = Set(matches.map(\.role))
        let after = roles.intersection([.attentionPostNorm, .mlpPostNorm])
        guard after.isEmpty else {
            throw refuse(
                "architecture \(model.architecture.identifier) has norms between the blocks' outputs and the residual stream "
                    + "(\(after.map(\.rawValue).sorted().joined(separator: ", "))), whose gains do not commute with a rotation; "
                    + "'residual: false' leaves the stream as it is")
        }
        let folded = Set(model.architecture.folds.flatMap(\.consumers))
        let unread = roles.filter { $0.residualSide == .input && $0 != .embedding && !folded.contains($0) }
        guard unread.isEmpty else {
            throw refuse(
                "architecture \(model.architecture.identifier) does not say which norm feeds "
                    + unread.map(\.rawValue).sorted().joined(separator: ", "))
        }
    }

    private mutating func apply(_ rotations: WeightRotations) throws {
        guard let model else { return }
        let numbers = model.hyperparameters
        let (groupSize, valueRows) = (numbers.heads / numbers.keyValueHeads, numbers.keyValueHeads * numbers.headDimension)
        let store = RotatedPanels.Store()
        try mapTensors { tensor in
            guard let match = model.match(name: tensor.info.name) else { return [tensor] }
            var result = tensor
            if let layer = match.layer, rotations.values.indices.contains(layer) {
                let values = rotations.values[layer]
                switch match.role {
                case .v: result = try result.rotatingRows(by: values, keeping: store)
                case .qkv: result = try result.rotatingRows(by: values, from: tensor.info.rowCount - valueRows, keeping: store)
                case .vBias: result = try result.rotatingColumns(by: values)
                case .o: result = try result.rotatingColumns(by: values.repeatingEachBlock(groupSize))
                default: break
                }
            }
            if let seed = rotations.downSeed, match.role.isDown {
                result = try result.transformingColumns(seed: seed, isInverse: rotations.isInverse)
            }
            // The embedding begins in the first layer's axes, and the head ends in the last's.
            if let residual = rotations.residual.ofLayer(match.layer ?? (match.role == .embedding ? 0 : numbers.layers - 1)) {
                switch match.role.residualSide {
                case .input: result = try result.rotatingColumns(by: residual)
                case .output where tensor.info.shape.count == 1: result = try result.rotatingColumns(by: residual)
                case .output: result = try result.rotatingRows(by: residual, keeping: store)
                case nil: break
                }
            }
            return [result]
        }
    }
}

extension [LazyRotation] {
    /// That of a layer, where each has its own, or the one of all; `nil` where there is none.
    fileprivate func ofLayer(_ layer: Int) -> LazyRotation? { count > 1 ? self[layer] : first }
}

extension TensorRole {
    /// How a tensor meets the residual stream.
    enum ResidualSide: Sendable {
        /// Its columns are the stream's channels: it reads the stream, or its rows are what the stream starts as.
        case input
        /// Its rows, or a bias's elements, are: what it computes is added to the stream.
        case output
    }

    var residualSide: ResidualSide? {
        switch self {
        case .embedding, .head, .q, .k, .v, .qkv, .gate, .up, .gateUp, .router, .expertGate, .expertUp, .sharedExpertRouter,
            .sharedExpertGate, .sharedExpertUp:
            .input
        case .o, .down, .expertDown, .sharedExpertDown, .oBias, .downBias: .output
        default: nil
        }
    }

    /// Whether this is the last weight of a feed-forward layer.
    var isDown: Bool { self == .down || self == .expertDown || self == .sharedExpertDown }
}
