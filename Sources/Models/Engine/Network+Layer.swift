import Formats
import LinearAlgebra

// One block definition for every architecture; what a model does not have is skipped.
//
//     h ← x + P_a( O · attention( rope(N_q(Q n)), rope(N_k(K n)), V n ) )        n = N_1(x)
//     x ← h + P_m( D · (act(G m) ∘ U m) )  or experts                            m = N_2(h)
//
// N: norms; P: norms on the way out (Gemma), else nothing; biases where a layer has them.

extension Network {
    /// Runs one layer over a batch.
    ///
    /// - Parameters:
    ///   - block: the layer's weights, possibly changed by the caller.
    ///   - caches: one per sequence, to which its keys and values are appended; `nil` when sequences start at 0 and are whole.
    ///   - hooks: what watches or changes values on the way.
    /// - Throws: `ForwardError.notFinite` naming layer and token; what the hooks throw.
    public func run(
        _ block: Block, on batch: inout Batch, caches: inout [KeyValueCache]?, tables: RotaryTables, hooks: (any ForwardHooks)? = nil
    ) throws {
        try beginAttention(block, &batch, hooks)
        try attentionRows(block, &batch, &caches, tables, hooks)
        endAttention(block, &batch)
        try beginMLP(block, &batch, hooks)
        try mlpRows(block, &batch, hooks)
        try endMLP(block, &batch, hooks)
    }

    // A layer in six steps, for those that quantize between them. Each leaves its result in the batch.

    /// scratch.normed ← N_1(x).
    package func beginAttention(_ block: Block, _ batch: inout Batch, _ hooks: (any ForwardHooks)? = nil) throws {
        let width = model.hyperparameters.hidden
        normalized(block[.attentionNorm], &batch)
        try watch(.attention, block.layer, &batch.scratch.normed, count: batch.tokenCount * width, width: width, batch.places, hooks)
    }

    /// hidden ← hidden + P_a(O · scratch.attention).
    package func endAttention(_ block: Block, _ batch: inout Batch) {
        Batch.Scratch.reserve(&batch.scratch.out, batch.hidden.count)
        linear(batch.scratch.attention, block[.o], bias: block[.oBias], into: &batch.scratch.out, count: batch.tokenCount)
        addToStream(&batch, norm: block[.attentionPostNorm])
    }

    /// scratch.normed ← N_2(h).
    package func beginMLP(_ block: Block, _ batch: inout Batch, _ hooks: (any ForwardHooks)? = nil) throws {
        let width = model.hyperparameters.hidden
        normalized(block[.mlpNorm], &batch)
        try watch(.mlp, block.layer, &batch.scratch.normed, count: batch.tokenCount * width, width: width, batch.places, hooks)
    }

    /// scratch.out ← the MLP's or the experts' rows.
    /// - Parameter skipsDown: stops at the input of down, for hooks that only watch it.
    package func mlpRows(_ block: Block, _ batch: inout Batch, _ hooks: (any ForwardHooks)? = nil, skipsDown: Bool = false) throws {
        if block.expertCount > 0 {
            try experts(block, &batch, hooks, skipsDown: skipsDown)
        } else {
            try mlp(block, &batch, hooks, skipsDown: skipsDown)
        }
    }

    /// scratch.out ← the MLP's rows, of inputs of down that a hook was shown before.
    /// - Parameter inner: gives the inputs of some of the batch's tokens, `[tokens, inner]`.
    /// - Throws: what `inner` throws.
    package func downRows(_ block: Block, _ batch: inout Batch, inner: (Range<Int>) throws -> [Float]) throws {
        let count = batch.tokenCount
        Batch.Scratch.reserve(&batch.scratch.out, count * model.hyperparameters.hidden)
        for rows in innerRuns(block, count) {
            linear(try inner(rows), block[.down], bias: block[.downBias], into: &batch.scratch.out, count: rows.count, to: rows.lowerBound)
        }
    }

    /// Runs of tokens whose inner rows, the widest of all, are computed together.
    private func innerRuns(_ block: Block, _ count: Int) -> [Range<Int>] {
        let run = max(64, (1 << 22) / max(1, block[.down]?.columnCount ?? 0))
        return stride(from: 0, to: count, by: run).map { $0..<min(count, $0 + run) }
    }

    /// hidden ← hidden + P_m(scratch.out).
    /// - Throws: `ForwardError.notFinite` naming layer and token; what the hooks throw.
    package func endMLP(_ block: Block, _ batch: inout Batch, _ hooks: (any ForwardHooks)? = nil) throws {
        addToStream(&batch, norm: block[.mlpPostNorm])
        for hooks in [ownHooks, hooks].compactMap(\.self) {
            try placing(block.layer, batch.places) {
                try with(&batch.hidden, batch.hidden.count) { (rows) throws in
                    try hooks.stream(after: block.layer, rows: &rows, columnCount: model.hyperparameters.hidden)
                }
            }
        }
        try checkFinite(batch.hidden.span, width: model.hyperparameters.hidden, block.layer, batch)
    }

    private func checkFinite(_ rows: Span<Float>, width: Int, _ layer: Int, _ batch: Batch) throws(ForwardError) {
        guard let bad = Codec.firstNonFinite(rows) else { return }
        let place = batch.place(ofRow: bad / width)
        throw ForwardError.notFinite(layer: layer, sequence: place.sequence, position: place.position)
    }

    /// The rotary tables for positions below a count.
    public func rotaryTables(contextLength: Int) -> RotaryTables {
        RotaryTables(model, contextLength: contextLength)
    }

    /// scratch.attention ← attention(scratch.normed).
    package func attentionRows(
        _ block: Block, _ batch: inout Batch, _ caches: inout [KeyValueCache]?, _ tables: RotaryTables,
        _ hooks: (any ForwardHooks)? = nil
    ) throws {
        let numbers = model.hyperparameters
        let (count, dimension) = (batch.tokenCount, numbers.headDimension)
        let (queryWidth, keyWidth) = (numbers.heads * dimension, numbers.keyValueHeads * dimension)
        Batch.Scratch.reserve(&batch.scratch.queries, count * queryWidth)
        Batch.Scratch.reserve(&batch.scratch.keys, count * keyWidth)
        Batch.Scratch.reserve(&batch.scratch.values, count * keyWidth)
        Batch.Scratch.reserve(&batch.scratch.attention, count * queryWidth)
        if let qkv = block[.qkv] {
            linear(batch.scratch.normed, qkv, rows: 0..<queryWidth, into: &batch.scratch.queries, count: count)
            linear(batch.scratch.normed, qkv, rows: queryWidth..<queryWidth + keyWidth, into: &batch.scratch.keys, count: count)
            linear(
                batch.scratch.normed, qkv, rows: queryWidth + keyWidth..<queryWidth + 2 * keyWidth, into: &batch.scratch.values, count: count)
        } else {
            linear(batch.scratch.normed, block[.q], bias: block[.qBias], into: &batch.scratch.queries, count: count)
            linear(batch.scratch.normed, block[.k], bias: block[.kBias], into: &batch.scratch.keys, count: count)
            linear(batch.scratch.normed, block[.v], bias: block[.vBias], into: &batch.scratch.values, count: count)
        }
        let table = tables[isLocal: parameters.usesLocalRoPE[block.layer]]
        try turned(&batch.scratch.queries, norm: block[.qNorm], headCount: numbers.heads, batch.positions, table)
        try turned(&batch.scratch.keys, norm: block[.kNorm], headCount: numbers.keyValueHeads, batch.positions, table)
        let (layer, places) = (block.layer, batch.places)
        for hooks in [ownHooks, hooks].compactMap(\.self) {
            try placing(layer, places) {
                try with(&batch.scratch.queries, count * queryWidth) { (rows) throws in try hooks.queries(layer: layer, rows: &rows) }
                try with(&batch.scratch.keys, count * keyWidth) { (rows) throws in try hooks.keys(layer: layer, rows: &rows) }
                try with(&batch.scratch.values, count * keyWidth) { (rows) throws in try hooks.values(layer: layer, rows: &rows) }
            }
        }
        // A value that is not finite would spoil all tokens near it, and its place could not be told any more.
        try checkFinite(batch.scratch.values.span.extracting(0..<count * keyWidth), width: keyWidth, block.layer, batch)
        try attend(block.layer, &batch, &caches)
        try watch(.attentionOutput, block.layer, &batch.scratch.attention, count: count * queryWidth, width: queryWidth, places, hooks)
    }

    private func attend(_ layer: Int, _ batch: inout Batch, _ caches: inout [KeyValueCache]?) throws(ForwardError) {
        let numbers = model.hyperparameters
        let shape = AttentionShape(
            heads: numbers.heads, keyValueHeads: numbers.keyValueHeads, dimension: numbers.headDimension,
            scale: parameters.attentionScale, cap: parameters.attentionCap, window: parameters.windows[layer])
        let sequences = batch.sequences.map {
            AttentionSequence(row: $0.rows.lowerBound, count: $0.rows.count, start: $0.start, keyRow: $0.rows.lowerBound)
        }
        guard caches != nil else {
            Models.attend(
                batch.scratch.queries, keys: batch.scratch.keys, values: batch.scratch.values, sequences: sequences, shape: shape,
                into: &batch.scratch.attention, threadCount: threadCount)
            return
        }
        for (index, sequence) in sequences.enumerated() {
            let (width, from, to) = (shape.keyWidth, sequence.row * shape.keyWidth, sequence.start * shape.keyWidth)
            guard sequence.start + sequence.count <= caches![index].capacity else {
                throw .contextTooLong(tokens: sequence.start + sequence.count, context: caches![index].capacity)
            }
            for offset in 0..<sequence.count * width {
                caches![index].layers[layer].keys[to + offset] = batch.scratch.keys[from + offset]
                caches![index].layers[layer].values[to + offset] = batch.scratch.values[from + offset]
            }
            Models.attend(
                batch.scratch.queries, keys: caches![index].layers[layer].keys, values: caches![index].layers[layer].values,
                sequences: [AttentionSequence(row: sequence.row, count: sequence.count, start: sequence.start, keyRow: 0)],
                shape: shape, into: &batch.scratch.attention, threadCount: threadCount)
        }
    }

    private func mlp(_ block: Block, _ batch: inout Batch, _ hooks: (any ForwardHooks)?, skipsDown: Bool) throws {
        let (count, width) = (batch.tokenCount, model.hyperparameters.hidden)
        let inner = block[.down]?.columnCount ?? 0
        Batch.Scratch.reserve(&batch.scratch.out, count * width)
        let runs = innerRuns(block, count)
        Batch.Scratch.reserve(&batch.scratch.gate, (runs.first?.count ?? 0) * inner)
        Batch.Scratch.reserve(&batch.scratch.up, (runs.first?.count ?? 0) * inner)
        for rows in runs {
            let first = rows.lowerBound
            if let gateUp = block[.gateUp] {
                linear(batch.scratch.normed, gateUp, rows: 0..<inner, into: &batch.scratch.gate, count: rows.count, from: first)
                linear(batch.scratch.normed, gateUp, rows: inner..<2 * inner, into: &batch.scratch.up, count: rows.count, from: first)
            } else {
                linear(batch.scratch.normed, block[.gate], bias: block[.gateBias], into: &batch.scratch.gate, count: rows.count, from: first)
                linear(batch.scratch.normed, block[.up], bias: block[.upBias], into: &batch.scratch.up, count: rows.count, from: first)
            }
            multiplyGate(&batch, rowCount: rows.count, inner: inner)
            try watch(.mlpOutput, block.layer, &batch.scratch.gate, count: rows.count * inner, width: inner, batch.places(from: first), hooks)
            guard !skipsDown else { continue }
            linear(batch.scratch.gate, block[.down], bias: block[.downBias], into: &batch.scratch.out, count: rows.count, to: first)
        }
    }
}

// MARK: - Steps

extension Network {
    /// scratch.normed ← norm(hidden).
    func normalized(_ gain: Weight?, _ batch: inout Batch) {
        Batch.Scratch.reserve(&batch.scratch.normed, batch.hidden.count)
        guard let gain else { preconditionFailure("the network was checked to have its norms") }
        normalize(batch.hidden, count: batch.hidden.count, gain, into: &batch.scratch.normed)
    }

    /// out ← norm(x), for the first `count` elements of both.
    private func normalize(_ x: [Float], count: Int, _ gain: Weight, into out: inout [Float]) {
        with(&out, count) { rows in
            Models.normalize(
                x.span.extracting(0..<count), gain: gain.floats, epsilon: parameters.epsilon, into: &rows, threadCount: threadCount)
        }
    }

    /// Calls `body` with the first elements of an array.
    private func with<E: Error>(_ array: inout [Float], _ count: Int, _ body: (inout MutableSpan<Float>) throws(E) -> Void) throws(E) {
        var all = array.mutableSpan
        var part = all.part(0..<count)
        try body(&part)
    }

    /// Lets the hooks see and change the input of a linear layer.
    func watch(
        _ place: LinearInput, _ layer: Int, _ rows: inout [Float], count: Int, width: Int, _ places: Batch.Places,
        _ hooks: (any ForwardHooks)?
    ) throws {
        for hooks in [ownHooks, hooks].compactMap(\.self) {
            try placing(layer, places) {
                try with(&rows, count) { (part) throws in try hooks.input(place, layer: layer, rows: &part, columnCount: width) }
            }
        }
    }

    /// Lets errors of hooks say where their row stands.
    private func placing(_ layer: Int, _ places: Batch.Places, _ body: () throws -> Void) throws {
        do { try body() } catch let bad as NotFiniteRow {
            let place = places.place(ofRow: bad.row)
            throw ForwardError.notFinite(layer: layer < layerCount ? layer : nil, sequence: place.sequence, position: place.position)
        }
    }

    /// y ← W x (+ b), for `count` rows that start at row `from` of x and row `to` of y.
    /// - Parameter rows: the rows of W to use; all when `nil`.
    func linear(
        _ x: [Float], _ weight: Weight?, rows: Range<Int>? = nil, bias: Weight? = nil, into y: inout [Float], count: Int, from: Int = 0,
        to: Int = 0
    ) {
        guard let weight else { preconditionFailure("the network was checked to have its weights") }
        let rows = rows ?? 0..<weight.rowCount
        let (inputs, outputs) = (weight.columnCount, rows.count)
        var all = y.mutableSpan
        var out = all.part(to * outputs..<(to + count) * outputs)
        applyLinear(
            x.span.extracting(from * inputs..<(from + count) * inputs), xStride: inputs, rowCount: count,
            weight: weight.floats.extracting(rows.lowerBound * inputs..<rows.upperBound * inputs), inputCount: inputs,
            outputCount: outputs, into: &out, yStride: outputs, threadCount: threadCount)
        if let bias { addBias(bias.floats, to: &out) }
    }

    private func turned(
        _ rows: inout [Float], norm: Weight?, headCount: Int, _ positions: [Int], _ table: RotaryTable
    ) throws {
        let dimension = model.hyperparameters.headDimension
        var all = rows.mutableSpan
        var part = all.part(0..<positions.count * headCount * dimension)
        if let norm { normalizeHeads(&part, gain: norm.floats, epsilon: parameters.epsilon, threadCount: threadCount) }
        rotate(&part, positions: positions, headCount: headCount, headDimension: dimension, table: table, threadCount: threadCount)
    }

    func multiplyGate(_ batch: inout Batch, rowCount: Int, inner: Int) {
        multiply(&batch.scratch.gate, batch.scratch.up, rowCount: rowCount, inner: inner)
    }

    private func multiply(_ gate: inout [Float], _ up: [Float], rowCount: Int, inner: Int) {
        with(&gate, rowCount * inner) { rows in
            activate(
                &rows, up: up.span.extracting(0..<rowCount * inner), parameters.activation, rowCount: rowCount, threadCount: threadCount)
        }
    }

    /// hidden ← hidden + norm(out), or + out.
    func addToStream(_ batch: inout Batch, norm: Weight?) {
        if let norm {
            // A step that follows no other finds the scratch empty.
            Batch.Scratch.reserve(&batch.scratch.normed, batch.hidden.count)
            normalize(batch.scratch.out, count: batch.hidden.count, norm, into: &batch.scratch.normed)
            add(batch.scratch.normed, to: &batch.hidden)
        } else {
            add(batch.scratch.out, to: &batch.hidden)
        }
    }

    private func add(_ x: [Float], to hidden: inout [Float]) {
        let count = hidden.count
        with(&hidden, count) { rows in Models.add(x.span.extracting(0..<count), to: &rows, threadCount: threadCount) }
    }
}

/// The rotary tables of a model: of full layers, and of those with a window where they differ.
public struct RotaryTables: Sendable {
    private var full: RotaryTable
    private var local: RotaryTable?

    init(_ model: ModelDescription, contextLength: Int) {
        full = RotaryTable(model, isLocal: false, contextLength: contextLength)
        full.reserve(contextLength)
        if model.rope.localTheta != nil {
            local = RotaryTable(model, isLocal: true, contextLength: contextLength)
            local?.reserve(contextLength)
        }
    }

    subscript(isLocal isLocal: Bool) -> RotaryTable { isLocal ? local ?? full : full }
}
