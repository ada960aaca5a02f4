/// Tokens that a model writes after a prompt, one at a time.
///
/// The prompt goes through the layers in one piece, every token after it by itself, with keys and values in a cache.
public struct Generation {
    /// Why there are no more tokens.
    public enum Ending: String, Sendable {
        /// A token came after which texts stop.
        case stop
        /// As many tokens as were asked for.
        case length
        /// The model's context is full.
        case context
    }

    public let network: Network
    public let prompt: [Int]
    /// Tokens written so far; one after which texts stop is the last.
    public private(set) var tokens: [Int] = []
    /// `nil` while there is more to come.
    public private(set) var ending: Ending?
    private let limit: Int
    private let stops: Set<Int>
    private let hooks: (any ForwardHooks)?
    private let tables: RotaryTables
    private var sampler: Sampler
    private var caches: [KeyValueCache]?
    private var logits: [Float] = []
    /// Tokens that have not been through the layers yet.
    private var pending: [Int]

    /// - Parameters:
    ///   - prompt: at least one token, fewer than the model's context.
    ///   - limit: the most tokens that are written.
    ///   - stops: tokens that end the text.
    ///   - hooks: what an artifact does inside the pass.
    /// - Throws: `ForwardError.emptySequence`, `.contextTooLong`; ids out of range are found by the first `next`.
    public init(
        _ network: Network, prompt: [Int], limit: Int, sampling: Sampling = .greedy, stops: Set<Int> = [],
        hooks: (any ForwardHooks)? = nil
    ) throws {
        guard !prompt.isEmpty else { throw ForwardError.emptySequence }
        try network.checkContext(prompt.count)
        self.network = network
        self.prompt = prompt
        self.limit = limit
        self.stops = stops
        self.hooks = hooks
        let context = network.model.hyperparameters[.context] ?? Int.max
        let capacity = max(prompt.count, min(context, prompt.count + max(0, limit)))
        tables = network.rotaryTables(contextLength: capacity)
        caches = [try network.cache(capacity: capacity)]
        sampler = Sampler(sampling)
        pending = prompt
        if limit <= 0 { ending = .length }
    }

    /// The next token; `nil` when the text has ended, which `ending` then explains.
    /// - Throws: what the forward pass throws.
    public mutating func next() throws -> Int? {
        guard ending == nil else { return nil }
        let start = prompt.count + tokens.count - pending.count
        var batch = try network.embed([pending], starts: [start])
        try network.runLayers(on: &batch, caches: &caches, tables: tables, hooks: hooks)
        try network.logits(of: batch, rows: batch.tokenCount - 1..<batch.tokenCount, into: &logits, hooks: hooks)
        var sampler = sampler
        let token = sampler.next(logits.span.extracting(0..<network.model.hyperparameters.vocabulary))
        self.sampler = sampler
        tokens.append(token)
        pending = [token]
        if stops.contains(token) {
            ending = .stop
        } else if tokens.count == limit {
            ending = .length
        } else if prompt.count + tokens.count > network.model.hyperparameters[.context] ?? Int.max {
            ending = .context
        }
        return token
    }
}
