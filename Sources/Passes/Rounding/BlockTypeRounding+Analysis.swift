import Formats
import Models
import ResQ

extension BlockTypeRounding {
    /// The analysis that rounds a graph's weights, layer by layer.
    /// - Parameters:
    ///   - graph: what the layers see: weights that are not rounded here are as they will be stored.
    ///   - original: the same model with nothing rounded.
    /// - Throws: what keeps the model from being calibrated.
    func analysis(of graph: TensorGraph, original: TensorGraph, in context: PassContext) throws -> Analysis<RoundedWeights> {
        let calibration = try context.calibrationSource(for: "quantize").first(sequences)
        let network = try graph.network(weightBudget: 0, threadCount: 1)
        let widest = (types.keys.map { $0 } + splits.keys).compactMap { graph[$0]?.info.columnCount }.max() ?? 0
        let beside = residual.map { ", residual \($0.summary)" } ?? ""
        let order = (actOrder ? ", act-order" : "") + (scaleSearch == .weighted && !splits.isEmpty ? ", weighted scales" : "")
            + (sweeps > 0 ? ", \(sweeps) sweeps" : "")
        let gptq = methods.count < types.count + splits.count ? ["gptq, damping \(damping)\(order)\(beside)"] : []
        let how = (gptq + Set(methods.values.map(\.summary)).sorted()).joined(separator: " and ")
        let summary = "round with \(how), calibrated on \(calibration.summary)"
        if calibration.tokenCount < widest {
            context.report(
                .warning,
                "the calibration has \(calibration.tokenCount) tokens for inputs of up to \(widest) channels: more sequences make better weights")
        }
        var work = graph.walkWork(
            tokens: calibration.tokenCount, context: calibration.context, gateAndUp: network.model.hyperparameters.experts > 0 ? 2 : 1)
            + graph.roundingWork(of: types.keys.map { $0 } + splits.keys, tokens: calibration.tokenCount, sweeps: sweeps)
        if let residual {
            for (name, rank) in ranks { if let shape = graph[name]?.info.shape { work = work + residual.work(shape, rank: rank) } }
        }
        // What the head reads in the original network.
        if tiedEmbedding != nil { work = work + original.walkWork(tokens: calibration.tokenCount, context: calibration.context) }
        return Analysis(summary, peakMemoryByteCount: peakMemory(of: graph, network, widest: widest), work: work) { run in
            let windows = try calibration.windows(in: run)
            let what = (types.map { "\($0.key) \($0.value.name)" } + methods.map { "\($0.key) \($0.value.summary)" }
                + splits.map { "\($0.key) \($0.value)" } + ranks.map { "\($0.key) rank \($0.value)" }).sorted().joined(separator: "\n")
            let folder = try run.folder(for: "gptq", key: [windows.digest, Digest(of: what), Digest(of: graph.chain), Digest(of: summary)])
            let factors = FactorCache()
            let round: SequentialRounding.Round = { name, weight, inputs in
                do {
                    return try self.round(name, weight, inputs, factors: factors, threadCount: run.threadCount)
                } catch ResQError.notFinite(let row, let column) {
                    throw ForwardError.notFiniteWeight(tensor: name, index: row * weight.columnCount + column)
                } catch ResQError.tooLarge(let row, let column) {
                    let type = types[name]?.name ?? splits[name]?.name ?? ""
                    throw PipelineError.overflows(tensor: name, index: row * weight.columnCount + column, type: type)
                }
            }
            var (files, graph) = ([String](), graph)
            if let tiedEmbedding {
                files.append(
                    try HeadRounding(network: try original.network(weightBudget: 0, threadCount: run.threadCount))
                        .roundTied(windows, folder: folder, threadCount: run.threadCount, progress: run.progress, round))
                try graph.replace(tiedEmbedding, with: try RoundedWeights(files: files), type: types[tiedEmbedding])
            }
            files += try SequentialRounding(
                network: try graph.network(weightBudget: 0, threadCount: run.threadCount), windows: windows, folder: folder, threadCount: run.threadCount,
                isRounded: { types[$0] != nil || splits[$0] != nil }, round: round
            ).run(progress: run.progress)
            let weights = try RoundedWeights(files: files)
            let byRemark = Dictionary(grouping: weights.remarks, by: \.remark)
            for (remark, found) in byRemark.sorted(by: { $0.key < $1.key }) {
                let names = found.prefix(3).map(\.tensor).joined(separator: ", ") + (found.count > 3 ? ", …" : "")
                run.report(.warning, "\(found.count) weights: \(remark): \(names)")
            }
            return weights
        }
    }

    /// One layer in floats, the moments of its widest input and their factor, and a few thousand tokens on their way.
    private func peakMemory(of graph: TensorGraph, _ network: Network, widest: Int) -> Int {
        let layer = (0..<network.layerCount).map { layer in
            network.tensorNames(ofLayer: layer).reduce(0) { $0 + 4 * (graph[$1.name]?.info.elementCount ?? 0) }
        }.max() ?? 0
        let activations = LayerStream.tokensAtOnce(hidden: network.model.hyperparameters.hidden) * 4 * 8 * network.model.hyperparameters.hidden
        return layer + 3 * 8 * widest * widest + activations + 2 * LayerStream.memoryBudget
    }
}

extension TensorGraph {
    /// Puts rounded rows in the place of a tensor.
    fileprivate mutating func replace(_ name: String, with weights: RoundedWeights, type: GGMLType?) throws {
        guard let type else { return }
        try mapTensors { tensor in
            guard tensor.info.name == name else { return [tensor] }
            let info = try TensorInfo(name: name, encoding: Encoding(type), shape: tensor.info.shape)
            return [LazyTensor(info: info, operation: StoredRows(weights: weights, name: name))]
        }
    }
}

/// Rows of a weight that is rounded already.
private struct StoredRows: TensorOperation {
    let weights: RoundedWeights
    let name: String

    var inputs: [LazyTensor] { [] }
    var summary: String { "rounded" }

    func rows(_ range: Range<Int>, of info: TensorInfo) throws -> TensorBytes {
        try weights.rows(range, of: name, as: info)
    }
}
