import Formats
import LinearAlgebra
import Synchronization

/// A model ready to run: its description, where its weights are, and how many of them are kept in memory.
///
/// Weights are decoded layer by layer as the computation reaches them. Layers that fit the budget stay; the others
/// are decoded again each time, so memory does not grow with the model.
public final class Network: Sendable {
    public let model: ModelDescription
    public let threadCount: Int
    let parameters: ForwardParameters
    let weights: any WeightSource
    /// Tensors of each layer: role, name, and whether it is one of many experts.
    private let layerTensors: [[(role: TensorRole, name: String, isExpert: Bool)]]
    public let embeddingName: String
    let finalNormName: String
    /// The head's own tensor, or the embedding.
    public let headName: String
    /// What belongs to the model itself: called before the hooks of those who run it.
    let ownHooks: (any ForwardHooks)?
    private let residentBudget: Int
    private let resident = Mutex<[Int: Block]>([:])
    private let residentHead = Mutex<Weight?>(nil)

    /// - Parameters:
    ///   - metadata: of the GGUF file the model came from; `nil` for a Hugging Face configuration.
    ///   - weightBudget: bytes of decoded weights that may stay in memory between uses.
    ///   - ownHooks: what the model does beside its architecture's arithmetic.
    /// - Throws: `ModelError` when the architecture does not say how it computes, or a tensor is missing.
    public init(
        _ model: ModelDescription, metadata: GGUFMetadata?, weights: any WeightSource, tensorNames: [String],
        weightBudget: Int = 768 << 20, threadCount: Int, ownHooks: (any ForwardHooks)? = nil
    ) throws(ModelError) {
        self.model = model
        self.threadCount = threadCount
        self.weights = weights
        self.ownHooks = ownHooks
        parameters = try ForwardParameters(model, metadata: metadata)
        var layers = [[(role: TensorRole, name: String, isExpert: Bool)]](repeating: [], count: model.hyperparameters.layers)
        var named: [TensorRole: String] = [:]
        var experts: [Int: [(role: TensorRole, expert: Int, name: String)]] = [:]
        for name in tensorNames {
            guard let match = model.match(name: name) else { continue }
            switch (match.layer, match.expert) {
            case (let layer?, let expert?): experts[layer, default: []].append((match.role, expert, name))
            case (let layer?, nil): layers[layer].append((match.role, name, false))
            case (nil, _): named[match.role] = name
            }
        }
        for (layer, tensors) in experts {
            layers[layer] += tensors.sorted { ($0.role.rawValue, $0.expert) < ($1.role.rawValue, $1.expert) }.map { ($0.role, $0.name, true) }
        }
        layerTensors = layers
        func needed(_ role: TensorRole) throws(ModelError) -> String {
            guard let name = named[role] else {
                let expected = model.architecture.tensors.first { $0.role == role }?.name.text ?? role.rawValue
                throw ModelError(.missingTensors(names: [expected], count: 1))
            }
            return name
        }
        embeddingName = try needed(.embedding)
        finalNormName = try needed(.finalNorm)
        headName = named[.head] ?? embeddingName
        residentBudget = weightBudget
        try checkLayers()
    }

    /// Refuses a model with layers that lack a weight the block cannot do without.
    private func checkLayers() throws(ModelError) {
        for rule in model.architecture.tensors where rule.name.hasLayer && rule.presence == .required {
            for layer in layerTensors.indices where !layerTensors[layer].contains(where: { $0.role == rule.role }) {
                let name = rule.name.name(layer: layer, expert: rule.name.hasExpert ? 0 : nil)
                throw ModelError(.missingTensors(names: [name], count: 1))
            }
        }
    }

    public var layerCount: Int { layerTensors.count }

    /// Floats of one token's queries in one layer.
    var queryWidth: Int { model.hyperparameters.heads * model.hyperparameters.headDimension }

    /// Floats of one token's keys in one layer, and of its values.
    public var keyValueWidth: Int { model.hyperparameters.keyValueHeads * model.hyperparameters.headDimension }

    /// Names of a layer's tensors with a role.
    public func tensorNames(ofLayer layer: Int) -> [(role: TensorRole, name: String)] {
        layerTensors[layer].map { ($0.role, $0.name) }
    }

    /// A layer's weights, decoded now unless they stayed in memory.
    public func block(_ layer: Int) throws -> Block {
        if let block = resident.withLock({ $0[layer] }) { return block }
        var block = Block(layer: layer)
        for tensor in layerTensors[layer] {
            let weight = try Weight(tensor.name, of: weights, threadCount: threadCount)
            block.append(try gained(weight, role: tensor.role), role: tensor.role, isExpert: tensor.isExpert)
        }
        let loaded = block
        resident.withLock { blocks in
            let used = blocks.values.reduce(0) { $0 + $1.decodedByteCount }
            if used + loaded.decodedByteCount <= residentBudget { blocks[layer] = loaded }
        }
        return block
    }

    /// A norm's weight as the gain it stands for.
    private func gained(_ weight: Weight, role: TensorRole) throws -> Weight {
        let offset = model.architecture.tensors.first { $0.role == role }?.gainOffset ?? 0
        guard offset != 0 else { return weight }
        let gains = weight.array.map { $0 + offset }
        return Weight(name: weight.name, rowCount: weight.rowCount, columnCount: weight.columnCount, floats: gains.span)
    }

    /// The gain of the norm before the head.
    func finalGain() throws -> Weight {
        try gained(try Weight(finalNormName, of: weights, threadCount: 1), role: .finalNorm)
    }

    /// Rows of the head: those that stayed in memory, or decoded now.
    package func head(rows: Range<Int>) throws -> Weight {
        try Weight(headName, of: weights, rows: rows, threadCount: threadCount)
    }

    /// The whole head when it fits what the layers leave of the budget, or is mapped as it is.
    func wholeHead() throws -> Weight? {
        if let head = residentHead.withLock({ $0 }) { return head }
        guard let info = weights.info(of: headName) else { return nil }
        let used = resident.withLock { $0.values.reduce(0) { $0 + $1.decodedByteCount } }
        guard info.encoding == .plain(.f32) || used + info.elementCount * 4 <= residentBudget else { return nil }
        let head = try Weight(headName, of: weights, threadCount: threadCount)
        residentHead.withLock { $0 = head }
        return head
    }

    /// A cache for one sequence.
    /// - Throws: `ForwardError.contextTooLong` when the model's context is shorter.
    public func cache(capacity: Int) throws(ForwardError) -> KeyValueCache {
        try checkContext(capacity)
        return KeyValueCache(
            layerCount: layerCount, capacity: capacity,
            width: keyValueWidth)
    }

    /// - Throws: `ForwardError.contextTooLong`.
    public func checkContext(_ count: Int) throws(ForwardError) {
        let context = model.hyperparameters[.context] ?? Int.max
        guard count <= context else { throw .contextTooLong(tokens: count, context: context) }
    }
}
