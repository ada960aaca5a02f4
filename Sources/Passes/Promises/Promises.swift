/// What a pass promises of itself beyond its plan; the host holds those of others to it.
public struct Promises: Sendable {
    /// Whether the model still computes the same function. Then a run compares logits before and after the pass.
    public var preservesFunction: Bool
    /// The tensors it looks at beside those it writes; `nil`: any.
    public var reads: Selector?
    /// The tensors it replaces, renames or leaves out; `nil`: any.
    public var writes: Selector?

    public init(preservesFunction: Bool = false, reads: Selector? = nil, writes: Selector? = nil) {
        (self.preservesFunction, self.reads, self.writes) = (preservesFunction, reads, writes)
    }

    /// Whether nothing is promised.
    var isEmpty: Bool { !preservesFunction && reads == nil && writes == nil }
}
