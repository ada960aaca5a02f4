import Formats
import Models

/// The engine reads a graph's tensors as passes left them, nothing computed before it is needed.
extension TensorGraph: WeightSource {
    public func info(of name: String) -> TensorInfo? { self[name]?.info }

    public func bytes(of name: String, rows: Range<Int>) throws -> TensorBytes {
        guard let tensor = self[name] else { throw ModelError(.missingTensors(names: [name], count: 1)) }
        return try tensor.rows(rows)
    }

    /// The graph as a model that runs.
    /// - Parameters:
    ///   - weightBudget: bytes of decoded weights that may stay in memory.
    ///   - roundsActivations: whether activations, keys and values are rounded where the model says so.
    /// - Throws: `ModelError` when the architecture is unknown, does not run, or tensors are missing.
    public func network(weightBudget: Int, threadCount: Int, roundsActivations: Bool = true) throws(ModelError) -> Network {
        guard let model else {
            throw modelProblem ?? ModelError(.missingKey(key: "config.json"))
        }
        var online = online
        if !roundsActivations { online?.rounding = nil }
        var ggufMetadata: GGUFMetadata?
        if case .gguf(let metadata) = metadata { ggufMetadata = metadata }
        return try Network(
            model, metadata: ggufMetadata, weights: self, tensorNames: tensors.map(\.info.name), weightBudget: weightBudget,
            threadCount: threadCount,
            ownHooks: online.flatMap { $0.needsRuntime ? OnlineHooks($0, model: model, threadCount: threadCount) : nil })
    }
}
