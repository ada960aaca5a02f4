import Formats
import Threads

/// Multiple choice by likelihood: how probable a model finds each text that may follow a context.
///
///     log P(choice) = Σ_j log p(choice_j | context, choice_1 … choice_{j-1})
///
/// Items go through the layers together. A context runs once for all its choices, also of other items of the batch; each choice then runs
/// behind its keys and values, layer by layer, so that those of one layer are kept at a time. The last token of a choice
/// predicts nothing and is left out, so choices of one token cost no more than their context.
public struct ChoiceEvaluation: Sendable {
    public let network: Network
    public let items: [ChoiceItem]
    /// Items that run together: at most 4096 tokens, or one item.
    public let batches: [Range<Int>]
    private let path: String
    private let hooks: (any ForwardHooks)?

    /// - Parameter path: of the items' file, for messages.
    /// - Throws: `EvaluationError` naming the line for ids outside the vocabulary and items longer than the model's context.
    public init(
        of network: Network, items: [ChoiceItem], path: String, hooks: (any ForwardHooks)? = nil
    ) throws(EvaluationError) {
        guard !items.isEmpty else { throw EvaluationError(.emptyText, path: path) }
        let vocabulary = network.model.hyperparameters.vocabulary
        for item in items {
            func wrong(_ why: String) -> EvaluationError { EvaluationError(.task(line: item.line, why: why), path: path) }
            precondition(!item.context.isEmpty && item.choices.allSatisfy { !$0.ids.isEmpty }, "tokens to predict from and to predict")
            for ids in [item.context] + item.choices.map(\.ids) {
                if let id = ids.first(where: { !(0..<vocabulary).contains($0) }) {
                    throw wrong("token \(id) is outside the model's vocabulary of \(vocabulary)")
                }
            }
            let length = item.context.count + (item.choices.map(\.ids.count).max() ?? 0)
            do throws(ForwardError) { try network.checkContext(length) } catch { throw wrong(error.description) }
        }
        self.network = network
        self.items = items
        self.path = path
        self.hooks = hooks
        var cuts = [0], count = 0
        for (index, item) in items.enumerated() {
            let size = ChoiceEvaluation.tokenCount(of: item)
            if count > 0, count + size > 4096 {
                cuts.append(index)
                count = 0
            }
            count += size
        }
        batches = zip(cuts, cuts.dropFirst() + [items.count]).map { $0..<$1 }
    }

    private static func tokenCount(of item: ChoiceItem) -> Int {
        item.context.count + item.choices.reduce(0) { $0 + $1.ids.count - 1 }
    }

    /// Tokens that some items send through the model, contexts that they share counted for each.
    public func tokenCount(ofItems range: Range<Int>) -> Int {
        items[range].reduce(0) { $0 + ChoiceEvaluation.tokenCount(of: $1) }
    }

    /// Where the logits that judge a token are.
    private struct Place: Hashable {
        var isContext: Bool
        /// A row of the batch of contexts, or of that of choices.
        var row: Int
    }

    /// Scores some items.
    /// - Parameter progress: called with the share of the work that is done, from 0 to 1.
    /// - Returns: a log-likelihood for each choice of each item.
    /// - Throws: `EvaluationError` naming the line of the item whose values are not finite; errors of reading weights.
    public func logLikelihoods(
        ofItems range: Range<Int>, progress: (Double) throws -> Void = { _ in }
    ) throws -> [[Double]] {
        let part = items[range]
        // Contexts, each once; choices with the context they follow; which rows judge which tokens.
        var contexts: [[Int]] = [], placeOfContext: [[Int]: Int] = [:], firstItem: [Int] = []
        var tails: [(ids: [Int], context: Int, item: Int)] = []
        var tailOfChoice: [[Int?]] = []
        for (index, item) in zip(part.indices, part) {
            let place = placeOfContext[item.context] ?? contexts.count
            if place == contexts.count {
                placeOfContext[item.context] = place
                contexts.append(item.context)
                firstItem.append(index)
            }
            tailOfChoice.append(
                item.choices.map { choice in
                    guard choice.ids.count > 1 else { return nil }
                    tails.append((Array(choice.ids.dropLast()), place, index))
                    return tails.count - 1
                })
        }
        var batch = try network.embed(contexts)
        var tailBatch = tails.isEmpty ? nil : try network.embed(tails.map(\.ids), starts: tails.map { contexts[$0.context].count })
        try runLayers(&batch, &tailBatch, contextOfTail: tails.map(\.context), firstItem: firstItem, itemOfTail: tails.map(\.item)) {
            try progress($0 * 0.9)
        }
        // The rows whose logits are wanted, each once, and the tokens each of them judges.
        var wanted: [(place: Place, item: Int, tokens: [(token: Int, choice: (item: Int, index: Int))])] = []
        var indexOfPlace: [Place: Int] = [:]
        for (number, (index, item)) in zip(part.indices, part).enumerated() {
            for (choiceIndex, choice) in item.choices.enumerated() {
                for (position, token) in choice.ids.enumerated() {
                    let place =
                        position == 0
                        ? Place(isContext: true, row: batch.sequences[placeOfContext[item.context]!].rows.upperBound - 1)
                        : Place(
                            isContext: false, row: tailBatch!.sequences[tailOfChoice[number][choiceIndex]!].rows.lowerBound + position - 1)
                    if indexOfPlace[place] == nil {
                        indexOfPlace[place] = wanted.count
                        wanted.append((place, index, []))
                    }
                    wanted[indexOfPlace[place]!].tokens.append((token, (number, choiceIndex)))
                }
            }
        }
        var results = part.map { [Double](repeating: 0, count: $0.choices.count) }
        let width = network.model.hyperparameters.hidden, vocabulary = network.model.hyperparameters.vocabulary
        var rows = Batch(hidden: [], lengths: [wanted.count])
        rows.hidden.reserveCapacity(wanted.count * width)
        for entry in wanted {
            let source = entry.place.isContext ? batch : tailBatch!
            rows.hidden += source.hidden[entry.place.row * width..<(entry.place.row + 1) * width]
        }
        var logits: [Float] = []
        for first in stride(from: 0, to: wanted.count, by: network.logitRowsAtOnce) {
            let last = min(wanted.count, first + network.logitRowsAtOnce)
            try naming({ _, row in wanted[row].item }) {
                try network.logits(of: rows, rows: first..<last, into: &logits, hooks: hooks)
            }
            let found = logits
            let sums = ordered(count: last - first, threadCount: network.threadCount) { row in
                LogitSummary(found.span.extracting(row * vocabulary..<(row + 1) * vocabulary)).logSum
            }
            for row in first..<last {
                for (token, choice) in wanted[row].tokens {
                    results[choice.item][choice.index] += Double(found[(row - first) * vocabulary + token]) - sums[row - first]
                }
            }
        }
        try progress(1)
        return results
    }

    private func runLayers(
        _ batch: inout Batch, _ tailBatch: inout Batch?, contextOfTail: [Int], firstItem: [Int], itemOfTail: [Int],
        progress: (Double) throws -> Void
    ) throws {
        let numbers = network.model.hyperparameters
        let width = numbers.keyValueHeads * numbers.headDimension
        let ends = batch.sequences.map(\.rows.count) + (tailBatch?.sequences.map { $0.start + $0.rows.count } ?? [])
        let tables = network.rotaryTables(contextLength: ends.max() ?? 0)
        for layer in 0..<network.layerCount {
            let block = try network.block(layer)
            var none: [KeyValueCache]?
            try naming({ sequence, _ in firstItem[sequence] }) {
                try network.run(block, on: &batch, caches: &none, tables: tables, hooks: hooks)
            }
            if tailBatch != nil {
                var caches: [KeyValueCache]? = zip(tailBatch!.sequences, contextOfTail).map { sequence, context in
                    let rows = batch.sequences[context].rows
                    return KeyValueCache(
                        holding: rows.lowerBound * width..<rows.upperBound * width, of: batch.scratch, inLayer: layer,
                        capacity: sequence.start + sequence.rows.count, width: width)
                }
                try naming({ sequence, _ in itemOfTail[sequence] }) {
                    try network.run(block, on: &tailBatch!, caches: &caches, tables: tables, hooks: hooks)
                }
            }
            try progress(Double(layer + 1) / Double(network.layerCount))
        }
    }

    /// Lets errors of the forward pass name the item's line.
    private func naming(_ item: (_ sequence: Int, _ position: Int) -> Int, _ body: () throws -> Void) throws {
        do { try body() } catch let error as ForwardError {
            guard case .notFinite(let layer, let sequence, let position) = error else { throw EvaluationError(.forward(error)) }
            let what = layer.map { "the output of layer \($0)" } ?? "a logit"
            throw EvaluationError(
                .task(line: items[item(sequence, position)].line, why: "\(what) is not finite at token \(position)"), path: path)
        }
    }
}

extension KeyValueCache {
    /// A cache of one layer, whose first rows are some keys and values of a batch.
    fileprivate init(
        holding elements: Range<Int>, of scratch: Batch.Scratch, inLayer layer: Int, capacity: Int, width: Int
    ) {
        let rest = [Float](repeating: 0, count: capacity * width - elements.count)
        self.capacity = capacity
        self.width = width
        layers =
            Array(repeating: Layer(keys: [], values: []), count: layer) + [
                Layer(keys: scratch.keys[elements] + rest, values: scratch.values[elements] + rest)
            ]
    }
}
