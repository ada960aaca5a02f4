/// Places where a linear layer's input can be watched or replaced.
public enum LinearInput: Sendable, Hashable {
    /// Read by q, k and v (or the matrix that holds them).
    case attention
    /// Read by o.
    case attentionOutput
    /// Read by gate and up, or by the router, the shared expert and, row by row, by the experts.
    case mlp
    /// Read by down.
    case mlpOutput
    /// Read by gate and up of one expert: the rows routed to it.
    case expert(Int)
    /// Read by down of one expert.
    case expertOutput(Int)
    /// Read by down of the shared expert.
    case sharedExpertOutput
    /// Read by the head; the layer is the number of layers.
    case head
}

/// What a pass or an artifact does inside the forward pass. The engine calls, and knows no reasons.
///
/// Every method gets rows (tokens of all sequences, in order) and may change them; the defaults do nothing.
/// Methods are called from one thread at a time, in the order of the computation. A hook that meets a number that is not
/// finite throws `NotFiniteRow`, to which the engine adds where that is.
public protocol ForwardHooks: AnyObject, Sendable {
    /// - Parameters:
    ///   - rows: `[tokens, columnCount]`.
    func input(_ place: LinearInput, layer: Int, rows: inout MutableSpan<Float>, columnCount: Int) throws
    /// Queries `[tokens, heads · dimension]`, after RoPE.
    func queries(layer: Int, rows: inout MutableSpan<Float>) throws
    /// Keys `[tokens, key-value-heads · dimension]`, after RoPE.
    func keys(layer: Int, rows: inout MutableSpan<Float>) throws
    /// Values `[tokens, key-value-heads · dimension]`.
    func values(layer: Int, rows: inout MutableSpan<Float>) throws
    /// The residual stream `[tokens, columnCount]` as a layer leaves it.
    func stream(after layer: Int, rows: inout MutableSpan<Float>, columnCount: Int) throws
}

extension ForwardHooks {
    public func input(_ place: LinearInput, layer: Int, rows: inout MutableSpan<Float>, columnCount: Int) throws {}
    public func queries(layer: Int, rows: inout MutableSpan<Float>) throws {}
    public func keys(layer: Int, rows: inout MutableSpan<Float>) throws {}
    public func values(layer: Int, rows: inout MutableSpan<Float>) throws {}
    public func stream(after layer: Int, rows: inout MutableSpan<Float>, columnCount: Int) throws {}
}

/// A row, of those a hook was given, that is not finite.
public struct NotFiniteRow: Error {
    public let row: Int

    public init(row: Int) { self.row = row }
}
