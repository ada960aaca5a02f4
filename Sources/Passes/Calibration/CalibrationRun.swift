import Formats
import Foundation
import LinearAlgebra
import Models

/// Runs a model over calibration tokens and keeps what its linear layers see: the analysis other methods start from.
///
/// Layer by layer, so that memory is one layer, a few windows and one layer's statistics. Each finished layer is a
/// safetensors file in the work folder; a killed run goes on with the first layer that has none.
public struct CalibrationRun {
    public let graph: TensorGraph
    public let windows: CalibrationWindows
    /// What is gathered, and what each is called.
    private let statistics: [(name: String, statistic: any Statistic)]
    public let threadCount: Int
    /// Bytes of decoded weights; a calibration uses each layer once, so few are enough.
    private let network: Network

    /// - Throws: `ModelError` for a model that does not run; `ForwardError` for windows longer than its context.
    public init(
        of graph: TensorGraph, windows: CalibrationWindows, kinds: StatisticsKinds, threadCount: Int
    ) throws {
        let statistics = StatisticsKinds.names.filter { kinds.contains($0.kind) }.map { ($0.name, BuiltInStatistic(kinds: $0.kind)) }
        try self.init(of: graph, windows: windows, statistics: statistics, threadCount: threadCount)
    }

    /// - Throws: `ModelError` for a model that does not run; `ForwardError` for windows longer than its context.
    public init(
        of graph: TensorGraph, windows: CalibrationWindows, statistics: [(name: String, statistic: any Statistic)], threadCount: Int
    ) throws {
        self.graph = graph
        self.windows = windows
        self.statistics = statistics
        self.threadCount = threadCount
        network = try graph.network(weightBudget: 0, threadCount: threadCount)
        try network.checkContext(windows.context)
    }

    private var merged: [any Statistic] { statistics.map(\.statistic).merged }

    /// The name of the folder for one set of inputs and options.
    func folderName(model: Digest) -> String {
        let key = Digest(of: [model, windows.digest, Digest(of: "calibration 1 \(merged.map(\.summary).joined(separator: "; "))")])
        return "calibration-" + key.description.prefix(16)
    }

    /// Gathers everything and writes it as one safetensors file.
    ///
    /// - Parameters:
    ///   - output: the artifact's path.
    ///   - work: keeps finished layers and the residual streams; removed at the end.
    ///   - model: SHA-256 of the model, part of the key.
    /// - Returns: layers that an earlier run had finished.
    public func run(output: String, work: String, model: Digest, progress: Progress = Progress()) throws -> Int {
        let lock = try WorkDirectory(path: work)
        let folder = lock.path + "/" + folderName(model: model)
        try createFolder(folder)
        let finished = LayerStream.finishedLayers(in: folder, of: network.layerCount) { Self.layerPath(in: folder, $0) }
        try collect(in: folder, startingAt: finished, progress: progress)
        try assemble(folder, output: output, model: model, progress: progress)
        try? FileManager.default.removeItem(atPath: folder)
        return finished
    }

    static func layerPath(in folder: String, _ layer: Int) -> String { "\(folder)/layer-\(layer).safetensors" }

    private func collect(in folder: String, startingAt first: Int, progress: Progress) throws {
        guard first < network.layerCount else { return }
        let stream = try LayerStream(network, windows: windows.windows, folder: folder, startingAt: first)
        let collectors = merged.map { $0.collector(for: network.model, threadCount: threadCount) }
        let group = CollectorGroup(collectors)
        let tokenCount = windows.windows.count * windows.context
        progress.begin(.calibrating, total: (network.layerCount - first) * tokenCount)
        for layer in first..<network.layerCount {
            try stream.advance(try network.block(layer), hooks: group) { tokens in
                try progress.checkCancellation()
                progress.advance(tokens)
            }
            let tensors = try collectors.flatMap { try $0.take(layer: layer) }
            try Self.write(tensors, to: Self.layerPath(in: folder, layer), metadata: [:])
            stream.removeEarlierInput()
        }
    }

    /// Joins the layers' files into the artifact.
    private func assemble(_ folder: String, output: String, model: Digest, progress: Progress) throws {
        var tensors: [LazyTensor] = []
        for layer in 0..<network.layerCount {
            let source = try openTensorSource(at: Self.layerPath(in: folder, layer))
            tensors += source.manifest.tensors.enumerated().map { LazyTensor(info: $1, operation: SourceSlice(source: source, index: $0)) }
        }
        try Self.write(
            tensors, to: output,
            metadata: [
                "format": "resq.calibration", "version": "1", "resq.version": toolVersion, "model.sha256": model.description,
                "tokens.sha256": windows.digest.description, "windows": "\(windows.windows.count)", "context": "\(windows.context)",
                "statistics": statistics.map(\.name).joined(separator: " "),
            ], progress: progress)
    }

    /// Writes a safetensors file as every output is written: under another name until it is complete and read back.
    static func write(_ tensors: [LazyTensor], to path: String, metadata: [String: String], progress: Progress = Progress()) throws {
        let layout = try Safetensors.layout(tensors: tensors.map(\.info), metadata: metadata, fileName: "")
        _ = try ArtifactWriter(
            layout: layout, tensors: tensors, path: path, inputs: [], threadCount: 1, journal: nil, progress: progress
        ).write()
    }
}

extension StatisticsCollector.State {
    /// A layer's statistics as tensors. Moments are means over the rows seen, in F32; counts are in `rows`.
    func tensors(layer: Int) -> [LazyTensor] {
        var result: [LazyTensor] = []
        func add(_ name: String, _ values: [Double], shape: [Int]) { result.append(.floats("layers.\(layer).\(name)", values.map(Float.init), shape: shape)) }
        for (place, input) in inputs.sorted(by: { $0.key.name < $1.key.name }) {
            let count = Double(max(1, input.rowCount))
            let width = input.sums.count
            add("\(place.name).rows", [Double(input.rowCount)], shape: [1])
            add("\(place.name).mean", input.sums.map { $0 / count }, shape: [width])
            add("\(place.name).mean_square", input.channelSquareSums.map { $0 / count }, shape: [width])
            add("\(place.name).largest", input.largest.map(Double.init), shape: [width])
            if let gram = input.gram { add("\(place.name).second_moment", gram.mean.elements, shape: [width, width]) }
        }
        for (name, grams) in [("keys", keys), ("queries", queries), ("values", values)] where !grams.isEmpty {
            let dimension = grams[0].dimension
            add("\(name).second_moment", grams.flatMap { $0.mean.elements }, shape: [grams.count, dimension, dimension])
        }
        return result
    }
}

extension LinearInput {
    /// The name in calibration artifacts.
    public var name: String {
        switch self {
        case .attention: "attention"
        case .attentionOutput: "attention_output"
        case .mlp: "mlp"
        case .mlpOutput: "mlp_output"
        case .expert(let expert): "experts.\(expert)"
        case .expertOutput(let expert): "experts.\(expert).output"
        case .sharedExpertOutput: "shared_expert_output"
        case .head: "head"
        }
    }
}

extension LazyTensor {
    /// Floats in memory as an F32 tensor.
    public static func floats(_ name: String, _ values: [Float], shape: [Int]) -> LazyTensor {
        let bytes = TensorBytes(
            ArrayStorage(byteCount: values.count * 4) { target in
                for (index, value) in values.enumerated() { target.storeBytes(of: value, toByteOffset: 4 * index, as: Float.self) }
            })
        guard let info = try? TensorInfo(name: name, encoding: .plain(.f32), shape: shape) else {
            preconditionFailure("the shape of numbers in memory is valid")
        }
        return LazyTensor(info: info, operation: Constant(bytes: bytes, summary: "statistics"))
    }
}
