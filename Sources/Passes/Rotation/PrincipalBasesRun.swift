import Formats
import Foundation
import LinearAlgebra
import Models
import ResQ

/// Finds the principal directions of what a model's layers see in calibration sequences.
///
///     residual:  Σ over layers of (S_attention + S_mlp)        S: second moment of the rows q/k/v, or gate/up, read
///                or, with a basis for each layer, its own S_attention + S_mlp
///     values:    S of each key-value head        keys:  Σ over heads of S, after RoPE
///
/// Weighed with the weights, each S becomes S / tr S + C / tr C, where C is Σ WᵀW of the weights that read the rows, for
/// values of the columns of o, and for keys the second moment of the queries. Source: ResQ (arXiv 2412.14363), section 4;
/// CoQuant (arXiv 2604.26378).
///
/// Each finished layer is a file in the folder, and a killed run goes on at the first that has none, with the same bytes
/// at the end. When all are joined in one file, that alone stays.
struct PrincipalBasesRun {
    /// The model with its gains folded, so that a row is what will be rounded.
    let graph: TensorGraph
    let windows: CalibrationWindows
    let parts: RotationParts
    let weighsWeights: Bool
    let isPerLayer: Bool
    let folder: String
    /// Of the model as it was opened, recorded in the file.
    let modelDigest: Digest
    let threadCount: Int

    /// - Returns: the file that holds the bases, as `GivenBases` reads it.
    func run(progress: Progress) throws -> String {
        let path = folder + "/bases.safetensors"
        guard !FileManager.default.fileExists(atPath: path) else { return path }
        let network = try graph.network(weightBudget: 0, threadCount: threadCount, roundsActivations: false)
        let first = finishedLayers(of: network.layerCount)
        var residual = try first > 0 && sumsLayers ? readMoments(afterLayer: first - 1) : nil
        if first < network.layerCount {
            let stream = try LayerStream(network, windows: windows.windows, folder: folder, startingAt: first)
            progress.begin(.calibrating, total: (network.layerCount - first) * windows.windows.count * windows.context)
            for number in first..<network.layerCount {
                let block = try network.block(number)
                let collector = MomentsCollector(parts, queries: weighsWeights, model: network.model, threadCount: threadCount)
                try stream.advance(block, hooks: collector) { tokens in
                    try progress.checkCancellation()
                    progress.advance(tokens)
                }
                try finish(number, block, collector.moments, numbers: network.model.hyperparameters, residual: &residual)
                stream.removeEarlierInput()
            }
        }
        try assemble(path, layerCount: network.layerCount, residual: residual)
        removeAllBut(path, layerCount: network.layerCount)
        return path
    }

    /// Whether the stream's moments are summed from layer to layer.
    private var sumsLayers: Bool { parts.contains(.residual) && !isPerLayer }

    private func layerPath(_ layer: Int) -> String { "\(folder)/bases-\(layer).safetensors" }
    private func momentsPath(_ layer: Int) -> String { "\(folder)/moments-\(layer).f64" }

    private func finishedLayers(of total: Int) -> Int {
        let count = LayerStream.finishedLayers(in: folder, of: total, result: layerPath)
        guard count > 0, sumsLayers else { return count }
        return FileManager.default.fileExists(atPath: momentsPath(count - 1)) ? count : 0
    }

    /// Writes what a layer adds: the sum of the stream's moments so far, and the bases of its heads.
    private func finish(
        _ layer: Int, _ block: Block, _ moments: MomentsCollector.Moments, numbers: Hyperparameters, residual: inout Matrix<Double>?
    ) throws {
        var tensors: [LazyTensor] = []
        let (heads, order) = (numbers.keyValueHeads, numbers.headDimension)
        if parts.contains(.residual) {
            var sum = residual ?? Matrix(rowCount: numbers.hidden, columnCount: numbers.hidden)
            for (gram, roles) in [(moments.attention, [TensorRole.q, .k, .v, .qkv]), (moments.mlp, [.gate, .up, .gateUp, .expertGate, .expertUp, .sharedExpertGate, .sharedExpertUp])] {
                guard let gram else { continue }
                sum.add(weighed(gram.sum) { block.gram(of: roles, width: numbers.hidden, threadCount: threadCount).sum })
            }
            if isPerLayer {
                tensors.append(.basis("layers.\(layer).residual", try principalBasis(of: sum).vectors))
            } else {
                try write(sum, afterLayer: layer)
                residual = sum
            }
        }
        if parts.contains(.values) {
            let bases = try moments.values.enumerated().map { head, gram in
                try principalBasis(of: weighed(gram.sum) { block.outputGram(ofKeyValueHead: head, numbers, threadCount: threadCount).sum }).vectors
            }
            tensors.append(.floats("layers.\(layer).values", bases.flatMap { $0.elements.map { Float($0) } }, shape: [heads, order, order]))
        }
        if parts.contains(.keys) {
            func sum(_ grams: [GramAccumulator]) -> Matrix<Double> {
                var sum = Matrix<Double>(rowCount: order, columnCount: order)
                for gram in grams { sum.add(gram.sum) }
                return sum
            }
            let basis = try principalBasis(of: weighed(sum(moments.keys)) { sum(moments.queries) }).vectors
            tensors.append(.basis("layers.\(layer).keys", basis))
        }
        try CalibrationRun.write(tensors, to: layerPath(layer), metadata: [:])
        try? FileManager.default.removeItem(atPath: momentsPath(layer - 1))
    }

    private func weighed(_ moments: Matrix<Double>, with weights: () -> Matrix<Double>) -> Matrix<Double> {
        weighsWeights ? activationAndWeightMoments(activations: moments, weights: weights()) : moments
    }

    private func assemble(_ path: String, layerCount: Int, residual: Matrix<Double>?) throws {
        var tensors: [LazyTensor] = []
        if let residual {
            tensors.append(.basis("residual", try principalBasis(of: residual).vectors))
        }
        for layer in 0..<layerCount {
            let source = try openTensorSource(at: layerPath(layer))
            tensors += source.manifest.tensors.enumerated().map { LazyTensor(info: $1, operation: SourceSlice(source: source, index: $0)) }
        }
        try CalibrationRun.write(
            tensors, to: path,
            metadata: ["format": "resq.bases", "version": "1", "resq.version": toolVersion, "model.sha256": modelDigest.description])
    }

    private func removeAllBut(_ path: String, layerCount: Int) {
        let last = [momentsPath(layerCount - 1), LayerStream.path(in: folder, layer: layerCount)]
        for file in (0..<layerCount).map(layerPath) + last { try? FileManager.default.removeItem(atPath: file) }
    }

    private func write(_ moments: Matrix<Double>, afterLayer layer: Int) throws {
        let elements = moments.elements
        // Doubles have no padding.
        try OutputFile.write(unsafe elements.span.bytes, to: momentsPath(layer))
    }

    private func readMoments(afterLayer layer: Int) throws -> Matrix<Double> {
        let width = graph.model?.hyperparameters.hidden ?? 0
        let bytes = try MappedFile(path: momentsPath(layer)).bytes
        guard bytes.count == width * width * 8 else {
            throw FormatError(
                .invalid(field: "size", found: "\(bytes.count)", expected: "\(width * width * 8)"), path: momentsPath(layer))
        }
        let raw = bytes.bytes
        let elements = (0..<width * width).map { Double(bitPattern: raw.littleEndian(UInt64.self, at: 8 * $0)) }
        return Matrix(rowCount: width, columnCount: width, elements: elements)
    }
}

extension LazyTensor {
    fileprivate static func basis(_ name: String, _ basis: Matrix<Double>) -> LazyTensor {
        .floats(name, basis.elements.map { Float($0) }, shape: [basis.rowCount, basis.columnCount])
    }
}

extension Matrix<Double> {
    mutating func add(_ other: Matrix<Double>) {
        for index in elements.indices { elements[index] += other.elements[index] }
    }
}

extension Block {
    /// Σ WᵀW of the weights of some roles, experts included.
    fileprivate func gram(of roles: [TensorRole], width: Int, threadCount: Int) -> GramAccumulator {
        var gram = GramAccumulator(dimension: width)
        for role in roles {
            for weight in weights(of: role) { gram.add(weight.floats, rowCount: weight.rowCount, stride: width, threadCount: threadCount) }
        }
        return gram
    }

    /// Σ WᵀW of the columns of o that read a key-value head, over the query heads that share it.
    fileprivate func outputGram(ofKeyValueHead head: Int, _ numbers: Hyperparameters, threadCount: Int) -> GramAccumulator {
        let (order, group) = (numbers.headDimension, numbers.heads / numbers.keyValueHeads)
        var gram = GramAccumulator(dimension: order)
        guard let output = self[.o] else { return gram }
        let width = output.columnCount
        for query in head * group..<(head + 1) * group {
            let part = output.floats.extracting(query * order..<(output.rowCount - 1) * width + (query + 1) * order)
            gram.add(part, rowCount: output.rowCount, stride: width, threadCount: threadCount)
        }
        return gram
    }
}
