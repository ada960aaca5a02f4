import LinearAlgebra
import Models
import ResQ
import Synchronization

/// The rotations of one model, each made when it is first asked for.
///
/// U_A turns the residual stream, U_B the values of each key-value head, U_C queries and keys after RoPE.
final class ModelRotations: Sendable {
    let settings: RotationSettings
    let summary: String
    private let hidden: Int
    private let headDimension: Int
    private let keyValueHeads: Int
    /// P of each space, where it is not made from the settings alone.
    private let bases: (any RotationBases)?
    private let made = Mutex(Made())

    private struct Made {
        var residual: [Int: BlockRotation] = [:]
        var head: BlockRotation?
        var values: [Int: BlockRotation] = [:]
        var keys: [Int: Matrix<Double>] = [:]
    }

    init(_ settings: RotationSettings, numbers: Hyperparameters, bases: (any RotationBases)?) {
        self.settings = settings
        self.bases = bases
        summary = (bases.map { "\($0.summary), " } ?? "") + settings.summary
        hidden = numbers.hidden
        headDimension = numbers.headDimension
        keyValueHeads = numbers.keyValueHeads
    }

    /// U_A: one block of the residual stream's width.
    /// - Parameter layer: 0 where all layers share it.
    func residual(layer: Int) throws -> BlockRotation {
        try made.withLock { made in
            if let rotation = made.residual[layer] { return rotation }
            let basis = try bases?.residual(layer: settings.isPerLayer ? layer : nil) ?? basis(width: hidden, .residualBasis)
            let inner = try settings.inner(width: hidden, stream: .residualRotation)
            let rotation = BlockRotation(blocks: [basis.map(inner.composed(after:)) ?? inner.matrix])
            made.residual[layer] = rotation
            return rotation
        }
    }

    /// U_B of a layer: one rotation per key-value head.
    func values(layer: Int) throws -> BlockRotation {
        try made.withLock { made in
            if let rotation = made.values[layer] { return rotation }
            let inner = try head(&made)
            let given = try bases?.values(layer: layer)
            var blocks: [Matrix<Double>] = []
            for head in 0..<keyValueHeads {
                let basis = try given?[head] ?? basis(width: headDimension, .valueBasis(layer: layer, head: head))
                blocks.append(basis.map(inner.composed(after:)) ?? inner.matrix)
            }
            let rotation = BlockRotation(blocks: blocks)
            made.values[layer] = rotation
            return rotation
        }
    }

    /// U_C of a layer, `[h, h]`, for all its heads.
    func keys(layer: Int) throws -> Matrix<Double> {
        try made.withLock { made in
            if let rotation = made.keys[layer] { return rotation }
            let inner = try head(&made)
            let basis = try bases?.keys(layer: layer) ?? basis(width: headDimension, .keyBasis(layer: layer))
            let rotation = basis.map(inner.composed(after:)) ?? inner.matrix
            made.keys[layer] = rotation
            return rotation
        }
    }

    /// R of a head: one for values and keys of all layers, as in the research code.
    private func head(_ made: inout Made) throws(ResQError) -> BlockRotation {
        if let rotation = made.head { return rotation }
        let rotation = try settings.inner(width: headDimension, stream: .headRotation)
        made.head = rotation
        return rotation
    }

    /// P that needs no data; `nil` for the identity.
    private func basis(width: Int, _ stream: RotationSettings.Stream) throws(LinearAlgebraError) -> Matrix<Double>? {
        var generator = settings.generator(stream)
        switch settings.basis {
        case .hadamard: return try HadamardTransform(order: width, seed: generator.next()).matrix
        case .random: return try randomOrthogonal(order: width, from: &generator)
        case .identity, .principal, .file: return nil
        }
    }
}

/// Bases P that come from data: columns are directions, the principal ones last.
protocol RotationBases: Sendable {
    /// One phrase that says where they come from.
    var summary: String { get }
    /// `[hidden, hidden]`.
    /// - Parameter layer: `nil` for the basis that all layers share.
    func residual(layer: Int?) throws -> Matrix<Double>
    /// `[h, h]` for each key-value head.
    func values(layer: Int) throws -> [Matrix<Double>]
    /// `[h, h]`.
    func keys(layer: Int) throws -> Matrix<Double>
}
