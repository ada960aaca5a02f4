import Formats
import Foundation
import LinearAlgebra
import Models

/// Rounds the linear weights of a model layer by layer, each with the second moments of what it will really see: the
/// activations of the layers before it as they are after rounding.
///
///     for each layer:  {q k v} → {o} → {gate up} → {down}
///
/// Each set is rounded with the moments of its input in the network whose earlier weights are rounded already, and then
/// takes its place in the network. Source: GPTQ (arXiv 2210.17323), section 4, "sequential".
///
/// Each finished layer is a file in the work folder; a killed run goes on at the first layer that has none, with the same
/// bytes at the end.
struct SequentialRounding {
    /// What one weight becomes.
    struct Rounded {
        /// The rows in the encoding promised for the tensor.
        let bytes: TensorBytes
        /// The numbers these bytes stand for, with the residual.
        let weight: Weight
        /// What is kept beside the weight.
        let residual: ResidualRounding.Factors?
        /// What the user should know of it, one sentence each.
        let remarks: [String]
    }

    /// Rounds one weight, given the second moments of its input: `nil` when no row reached it.
    /// Returns `nil` for a weight that stays as it is.
    typealias Round = (_ name: String, _ weight: Weight, _ moments: GramAccumulator?) throws -> Rounded?

    let network: Network
    let windows: CalibrationWindows
    let folder: String
    let threadCount: Int
    /// Whether a weight will be rounded.
    let isRounded: (_ name: String) -> Bool
    let round: Round

    /// What became of a layer, or of the head.
    struct Layer {
        private var tensors: [LazyTensor] = []
        /// Lines as `RoundedWeights` reads them.
        private var remarks: [String] = []

        mutating func append(_ name: String, _ bytes: TensorBytes, _ remarks: [String]) {
            tensors.append(.stored(name, bytes))
            self.remarks += remarks.map { "\(name)\t\($0)" }
        }

        mutating func append(_ name: String, _ rounded: Rounded) {
            append(name, rounded.bytes, rounded.remarks)
            if let residual = rounded.residual {
                tensors.append(.stored(ResidualRounding.right(of: name), residual.right))
                tensors.append(.stored(ResidualRounding.left(of: name), residual.left))
            }
        }

        func write(to path: String) throws {
            try CalibrationRun.write(tensors, to: path, metadata: [RoundedWeights.remarksKey: remarks.joined(separator: "\n")])
        }
    }

    /// Runs over the layers that are not yet finished, up to the last that has something to round.
    /// - Returns: the file of each layer.
    func run(progress: Progress) throws -> [String] {
        let hasHead = network.headName != network.embeddingName && isRounded(network.headName)
        let count = hasHead ? network.layerCount : (network.lastLayer { isRounded($0) } ?? -1) + 1
        var first = LayerStream.finishedLayers(in: folder, of: count, result: layerPath)
        let isHeadMissing = hasHead && !FileManager.default.fileExists(atPath: headPath)
        if isHeadMissing, first == count, !LayerStream.holdsInput(ofLayer: count, in: folder) {
            first = 0
        }
        if first < count || isHeadMissing {
            let stream = try LayerStream(network, windows: windows.windows, folder: folder, startingAt: first)
            progress.begin(.rounding, total: count - first)
            for number in first..<count {
                try progress.checkCancellation()
                let layer = try roundLayer(stream, progress)
                try layer.write(to: layerPath(number))
                stream.removeEarlierInput()
                progress.advance(1)
            }
            if isHeadMissing { try roundHead(stream).write(to: headPath) }
        }
        // What the layer after the last would read.
        try? FileManager.default.removeItem(atPath: LayerStream.path(in: folder, layer: count))
        return (0..<count).map(layerPath) + (hasHead ? [headPath] : [])
    }

    /// Rounds a head of its own, behind the last layer.
    private func roundHead(_ stream: LayerStream) throws -> Layer {
        let collector = MomentCollector(threadCount: threadCount)
        let head = HeadRounding(network: network)
        try head.watch(stream, collector)
        return try head.round(collector.take(.head), round)
    }

    private var headPath: String { "\(folder)/rounded-head.safetensors" }

    private func layerPath(_ layer: Int) -> String { "\(folder)/rounded-\(layer).safetensors" }

    /// Rounds the layer the stream stands at, and moves the stream past it.
    private func roundLayer(_ stream: LayerStream, _ progress: Progress) throws -> Layer {
        var block = try network.block(stream.layer)
        let names = network.tensorNames(ofLayer: stream.layer)
        var done = Layer()
        guard names.contains(where: { isRounded($0.name) }) else {
            try stream.advance(block) { _ in try progress.checkCancellation() }
            return done
        }
        let collector = MomentCollector(threadCount: threadCount)

        func settle(_ roles: [TensorRole], at place: LinearInput) throws {
            let moments = collector.take(place)
            try progress.checkCancellation()
            for (role, name) in names where roles.contains(role) {
                guard let weight = block[role], let rounded = try round(name, weight, moments) else { continue }
                block[role] = rounded.weight
                done.append(name, rounded)
            }
        }
        func settleExperts(_ roles: [TensorRole], at place: (Int) -> LinearInput) throws {
            for role in roles {
                let experts = names.filter { $0.role == role }.map(\.name)
                for (expert, name) in experts.enumerated() {
                    let moments = collector.moments(place(expert))
                    try progress.checkCancellation()
                    guard let weight = block[role, expert: expert], let rounded = try round(name, weight, moments) else { continue }
                    block[role, expert: expert] = rounded.weight
                    done.append(name, rounded)
                }
            }
            collector.forget()
        }

        collector.watched = { $0 == .attention }
        try stream.forEachBatch { batch, _ in try network.beginAttention(block, &batch, collector) }
        try settle([.q, .k, .v, .qkv], at: .attention)

        collector.watched = { $0 == .attentionOutput }
        let attention = try stream.store(width: network.model.hyperparameters.heads * network.model.hyperparameters.headDimension)
        var caches: [KeyValueCache]?
        try stream.forEachBatch { batch, rows in
            try network.beginAttention(block, &batch)
            try network.attentionRows(block, &batch, &caches, stream.tables, collector)
            try attention.write(batch.attentionRows(of: network).span, from: rows.lowerBound)
        }
        try settle([.o], at: .attentionOutput)

        // From here on the stream holds what the MLP reads.
        collector.watched = { $0 == .mlp }
        try stream.rewrite { batch, rows in
            batch.setAttentionRows(try attention.read(rows), of: network)
            network.endAttention(block, &batch)
            try network.beginMLP(block, &batch, collector)
        }
        try settle([.gate, .up, .gateUp, .sharedExpertGate, .sharedExpertUp], at: .mlp)

        let hasExperts = names.contains { $0.role == .expertDown }
        if hasExperts {
            collector.watched = { if case .expert = $0 { true } else { false } }
            try stream.forEachBatch { batch, _ in
                try network.beginMLP(block, &batch)
                try network.mlpRows(block, &batch, collector, skipsDown: true)
            }
            try settleExperts([.expertGate, .expertUp]) { .expert($0) }
        }
        collector.watched = { place in
            switch place {
            case .mlpOutput, .expertOutput, .sharedExpertOutput: true
            default: false
            }
        }
        // The inputs of down are those that down gets when it is rounded.
        let inner = hasExperts ? nil : try stream.store(width: block[.down]?.columnCount ?? 0)
        collector.record = inner
        try stream.forEachBatch { batch, _ in
            try network.beginMLP(block, &batch)
            try network.mlpRows(block, &batch, collector, skipsDown: true)
        }
        collector.record = nil
        if hasExperts {
            let shared = collector.moments(.sharedExpertOutput)
            try settleExperts([.expertDown]) { .expertOutput($0) }
            if let (role, name) = names.first(where: { $0.role == .sharedExpertDown }), let weight = block[role],
                let rounded = try round(name, weight, shared)
            {
                block[role] = rounded.weight
                done.append(name, rounded)
            }
        } else {
            try settle([.down], at: .mlpOutput)
        }
        try stream.finishLayer { batch, rows in
            if let inner {
                try network.downRows(block, &batch) { try inner.read(rows.lowerBound + $0.lowerBound..<rows.lowerBound + $0.upperBound) }
            } else {
                try network.beginMLP(block, &batch)
                try network.mlpRows(block, &batch)
            }
            try network.endMLP(block, &batch)
        }
        return done
    }
}

extension Network {
    /// The last layer with a tensor that satisfies a condition.
    fileprivate func lastLayer(where condition: (String) -> Bool) -> Int? {
        (0..<layerCount).last { layer in tensorNames(ofLayer: layer).contains { condition($0.name) } }
    }
}

extension LazyTensor {
    /// Bytes of a rounded tensor, for a file of the work folder.
    static func stored(_ name: String, _ bytes: TensorBytes) -> LazyTensor {
        guard let info = try? TensorInfo(name: name, encoding: .plain(.u8), shape: [bytes.count]) else {
            preconditionFailure("bytes in memory have a valid shape")
        }
        return LazyTensor(info: info, operation: Constant(bytes: bytes, summary: "rounded"))
    }
}
