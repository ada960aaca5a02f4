import Formats

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

extension Network {
    /// The experts of a layer.
    ///
    ///     p = softmax(R m);   y = Σ_{e in top k} p_e · D_e (act(G_e m) ∘ U_e m)  + σ(r · m) · shared(m)
    ///
    /// With `expert-weights: chosen`, the k weights are divided by their sum. Experts add up in ascending order.
    func experts(_ block: Block, _ batch: inout Batch, _ hooks: (any ForwardHooks)?, skipsDown: Bool = false) throws {
        let (count, width) = (batch.tokenCount, model.hyperparameters.hidden)
        let routes = routes(block, batch)
        Batch.Scratch.reserve(&batch.scratch.out, count * width)
        for index in 0..<count * width { batch.scratch.out[index] = 0 }
        var input: [Float] = []
        for (expert, route) in routes.enumerated() where !route.isEmpty {
            input.removeAll(keepingCapacity: true)
            for (row, _) in route { input += batch.scratch.normed[row * width..<(row + 1) * width] }
            let result = try expertOutput(
                block, &batch, &input, rowCount: route.count, standing: batch.places(of: route.map(\.row)), gate: block[.expertGate, expert: expert],
                up: block[.expertUp, expert: expert], down: block[.expertDown, expert: expert], places: (.expert(expert), .expertOutput(expert)),
                hooks, skipsDown: skipsDown)
            guard !skipsDown else { continue }
            for (index, (row, weight)) in route.enumerated() {
                for column in 0..<width { batch.scratch.out[row * width + column] += weight * result[index * width + column] }
            }
        }
        if block[.sharedExpertDown] != nil {
            input = Array(batch.scratch.normed[0..<count * width])
            let shares = try sharedWeights(block, input, count: count)
            let result = try expertOutput(
                block, &batch, &input, rowCount: count, standing: batch.places, gate: block[.sharedExpertGate], up: block[.sharedExpertUp],
                down: block[.sharedExpertDown], places: (nil, .sharedExpertOutput), hooks, skipsDown: skipsDown)
            guard !skipsDown else { return }
            for row in 0..<count {
                for column in 0..<width { batch.scratch.out[row * width + column] += shares[row] * result[row * width + column] }
            }
        }
    }

    /// The rows each expert gets, with their weights.
    private func routes(_ block: Block, _ batch: Batch) -> [[(row: Int, weight: Float)]] {
        let (count, experts) = (batch.tokenCount, block.expertCount)
        let chosen = model.hyperparameters[.expertsUsed] ?? 1
        var scores = [Float](repeating: 0, count: count * experts)
        linear(batch.scratch.normed, block[.router], into: &scores, count: count)
        var routes = [[(row: Int, weight: Float)]](repeating: [], count: experts)
        for row in 0..<count {
            let logits = scores[row * experts..<(row + 1) * experts]
            let largest = logits.max() ?? 0
            let weights = logits.map { exp($0 - largest) }
            let total = weights.reduce(0, +)
            // The first of equal scores wins, as in the reference.
            let best = weights.indices.sorted { (weights[$1], $0) < (weights[$0], $1) }.prefix(chosen)
            let divisor = parameters.expertWeights == .chosen ? best.reduce(0) { $0 + weights[$1] } : total
            for expert in best.sorted() { routes[expert].append((row, weights[expert] / divisor)) }
        }
        return routes
    }

    /// σ(r · m) of each row; 1 where the layer weighs nothing.
    private func sharedWeights(_ block: Block, _ input: [Float], count: Int) throws -> [Float] {
        guard let router = block[.sharedExpertRouter] else { return Array(repeating: 1, count: count) }
        var scores = [Float](repeating: 0, count: count)
        linear(input, router, into: &scores, count: count)
        return scores.map { 1 / (1 + exp(-$0)) }
    }

    private func expertOutput(
        _ block: Block, _ batch: inout Batch, _ input: inout [Float], rowCount: Int, standing: Batch.Places, gate: Weight?,
        up: Weight?, down: Weight?, places: (input: LinearInput?, output: LinearInput), _ hooks: (any ForwardHooks)?, skipsDown: Bool
    ) throws -> [Float] {
        let width = model.hyperparameters.hidden
        let inner = down?.columnCount ?? 0
        if let place = places.input { try watch(place, block.layer, &input, count: rowCount * width, width: width, standing, hooks) }
        Batch.Scratch.reserve(&batch.scratch.gate, rowCount * inner)
        Batch.Scratch.reserve(&batch.scratch.up, rowCount * inner)
        linear(input, gate, into: &batch.scratch.gate, count: rowCount)
        linear(input, up, into: &batch.scratch.up, count: rowCount)
        multiplyGate(&batch, rowCount: rowCount, inner: inner)
        try watch(places.output, block.layer, &batch.scratch.gate, count: rowCount * inner, width: inner, standing, hooks)
        guard !skipsDown else { return [] }
        var result = [Float](repeating: 0, count: rowCount * width)
        linear(batch.scratch.gate, down, into: &result, count: rowCount)
        return result
    }
}
