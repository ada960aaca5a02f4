/// Keys (after RoPE) and values of the tokens a sequence has seen, layer by layer.
public struct KeyValueCache: Sendable {
    struct Layer: Sendable {
        /// `[capacity, keyValueWidth]`; the first `count` rows are filled.
        var keys: [Float]
        var values: [Float]
    }

    /// Tokens seen.
    public internal(set) var count = 0
    public let capacity: Int
    let width: Int
    var layers: [Layer]

    /// - Parameters:
    ///   - capacity: the most tokens it will hold.
    ///   - width: key-value heads times head dimension.
    init(layerCount: Int, capacity: Int, width: Int) {
        self.capacity = capacity
        self.width = width
        layers = Array(
            repeating: Layer(
                keys: Array(repeating: 0, count: capacity * width), values: Array(repeating: 0, count: capacity * width)),
            count: layerCount)
    }
}
