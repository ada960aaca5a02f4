import Formats

/// A way to a plugin's code. Every door answers the same questions, in the words of `docs/plugins.md`.
protocol PluginDoor: Sendable {
    /// Asks what the plugin is and which passes it has.
    func describe() throws -> JSONValue
    /// Asks what a pass will make of tensors whose data nobody has read.
    func plan(_ question: JSONObject, pass: String) throws -> JSONValue
    /// Asks for the bytes of a step's outputs.
    /// - Parameters:
    ///   - tensor: the output that is wanted, for messages.
    ///   - inputs: the bytes of the inputs, in the order of the question.
    ///   - byteCounts: the bytes that each output must have.
    /// - Returns: as many as `byteCounts`, each of its length.
    func apply(
        _ question: JSONObject, pass: String, tensor: String, inputs: [TensorBytes], byteCounts: [Int]
    ) throws -> [TensorBytes]
}
