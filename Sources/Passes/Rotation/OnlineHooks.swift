import Formats
import LinearAlgebra
import Models
import ResQ
import Synchronization

/// Does in the engine what a runtime of the artifact would do: online transforms and rounding.
///
///     input of down:  x ← Q(T x)        other linear inputs:  x ← Q(x)
///     stream after layer l, where each layer has its own U_A:    x ← x U_A(l)ᵀ U_A(l+1)
///     queries:        q ← Q₈(q) Q₈(U_C)     keys:  k ← Q(Q₈(k) Q₈(U_C))     values:  v ← Q(v)
///
/// Scales are found from the numbers, asymmetric: per token for inputs that come from the residual stream and for the
/// input of down, per token and head for the input of o, keys and values; each part of a row has its own, and of the inputs
/// of linear layers each group of a part, where there are groups. Source: ResQ (arXiv 2412.14363), section 4 and its
/// research code.
final class OnlineHooks: ForwardHooks {
    private let online: OnlineTransforms
    private let headDimension: Int
    private let queryWidth: Int
    private let keyWidth: Int
    private let threadCount: Int
    /// Q₈(U_C)ᵀ of each layer, made when the layer is reached.
    private let keyRotations: [Once<[Float]>]
    /// (U_A(l)ᵀ U_A(l+1))ᵀ of the layers reached so far, or, of large ones, of the last alone.
    private let turns = Mutex<[Int: [Float]]>([:])
    private static let turnsBudget = 64 << 20  // floats
    private let transforms = Mutex<[Int: HadamardTransform]>([:])

    init(_ online: OnlineTransforms, model: ModelDescription, threadCount: Int) {
        self.online = online
        self.threadCount = threadCount
        headDimension = model.hyperparameters.headDimension
        queryWidth = model.hyperparameters.heads * headDimension
        keyWidth = model.hyperparameters.keyValueHeads * headDimension
        keyRotations = online.keyRotations.map { _ in Once() }
    }

    func input(_ place: LinearInput, layer: Int, rows: inout MutableSpan<Float>, columnCount: Int) throws {
        let rounding = online.rounding
        switch place {
        case .attention, .mlp:
            if let bits = rounding?.activations {
                try round(&rows, columnCount, online.residual, bits, group: rounding?.activationGroup, includesZero: true)
            }
        case .attentionOutput:
            if let bits = rounding?.activations {
                try round(&rows, columnCount, online.values, bits, group: rounding?.activationGroup, includesZero: false)
            }
        case .mlpOutput, .expertOutput, .sharedExpertOutput:
            if let seed = online.downSeed {
                try transform(order: columnCount, seed: seed).apply(to: &rows, threadCount: threadCount)
            }
            if let bits = rounding?.down {
                try round(
                    &rows, columnCount, SubspaceWidths(middle: columnCount), PartBits(low: bits, middle: bits, high: bits),
                    group: rounding?.activationGroup, includesZero: true)
            }
        case .expert, .head: break  // rounded before they were routed; the head stays in 16 bits
        }
    }

    func queries(layer: Int, rows: inout MutableSpan<Float>) throws { try turnHeads(&rows, columnCount: queryWidth, layer: layer) }

    func keys(layer: Int, rows: inout MutableSpan<Float>) throws {
        try turnHeads(&rows, columnCount: keyWidth, layer: layer)
        if let bits = online.rounding?.keyValues { try round(&rows, keyWidth, online.keys, bits, includesZero: true) }
    }

    func values(layer: Int, rows: inout MutableSpan<Float>) throws {
        if let bits = online.rounding?.keyValues { try round(&rows, keyWidth, online.values, bits, includesZero: false) }
    }

    func stream(after layer: Int, rows: inout MutableSpan<Float>, columnCount: Int) throws {
        guard online.turnsStream, layer + 1 < online.residualRotations.count else { return }
        multiply(&rows, by: try turn(after: layer, width: columnCount), width: columnCount)
    }

    private func turn(after layer: Int, width: Int) throws -> [Float] {
        try turns.withLock { turns in
            if let turn = turns[layer] { return turn }
            let (here, next) = (LazyRotation(reading: online.residualRotations[layer]), LazyRotation(reading: online.residualRotations[layer + 1]))
            let turn = Matrix.product(try next.make().blocks[0], try here.make().blocks[0], transposeA: true).elements.map { Float($0) }
            if online.residualRotations.count * width * width > Self.turnsBudget { turns = [:] }
            turns[layer] = turn
            return turn
        }
    }

    /// Rounds rows of whole groups, each as wide as the parts together.
    private func round(
        _ rows: inout MutableSpan<Float>, _ columnCount: Int, _ widths: SubspaceWidths, _ bits: PartBits, group: Int? = nil,
        includesZero: Bool
    ) throws {
        let quantizer = ActivationQuantizer(subspaces: widths.subspaces(bits, group: group), includesZero: includesZero)
        do throws(ResQError) {
            try quantizer.apply(to: &rows, columnCount: columnCount, threadCount: threadCount)
        } catch .notFinite(let row, _) {
            throw NotFiniteRow(row: row)
        }
    }

    private func turnHeads(_ rows: inout MutableSpan<Float>, columnCount: Int, layer: Int) throws {
        guard keyRotations.indices.contains(layer) else { return }
        let rotation = try keyRotations[layer].value { try keyRotation(layer) }
        if let bits = online.rounding?.keyRotation {
            let whole = SubspaceWidths(middle: headDimension)
            try round(&rows, columnCount, whole, PartBits(low: bits, middle: bits, high: bits), includesZero: true)
        }
        multiply(&rows, by: rotation, width: headDimension)
    }

    /// x ← W x for every run of `width` numbers.
    private func multiply(_ rows: inout MutableSpan<Float>, by weight: [Float], width: Int) {
        let copy = rows.span.array
        applyLinear(
            copy.span, xStride: width, rowCount: copy.count / width, weight: weight.span, inputCount: width, outputCount: width, into: &rows,
            yStride: width, threadCount: threadCount)
    }

    /// U_C of a layer as a linear weight, rounded as the runtime keeps it: symmetric, one scale.
    private func keyRotation(_ layer: Int) throws -> [Float] {
        var elements = try floats(of: online.keyRotations[layer])
        if let bits = online.rounding?.keyRotation {
            let count = elements.count
            let quantizer = ActivationQuantizer(subspaces: [Subspace(range: 0..<count, bits: bits)], isSymmetric: true, includesZero: true)
            var span = elements.mutableSpan
            try quantizer.apply(to: &span, columnCount: count)
        }
        return Matrix(rowCount: headDimension, columnCount: headDimension, elements: elements).transposed.elements
    }

    private func transform(order: Int, seed: UInt64) throws -> HadamardTransform {
        try transforms.withLock { transforms in
            if let transform = transforms[order] { return transform }
            let transform = try HadamardTransform(order: order, seed: seed)
            transforms[order] = transform
            return transform
        }
    }
}

extension Span<Float> {
    /// The elements as an array.
    fileprivate var array: [Float] {
        var copy = [Float](repeating: 0, count: count)
        for index in indices { copy[index] = self[index] }
        return copy
    }
}
