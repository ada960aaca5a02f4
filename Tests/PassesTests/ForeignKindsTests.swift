import Formats
import LinearAlgebra
import Models
import Passes
import Synchronization
import Testing
import TestSupport

// One thing of each kind, as a program that depends on this package would write it: with what is public alone.

private struct Halving: RoundingMethod, Declared {
    static let declaration = Declaration(identifier: "our.halving", summary: "Nearest to half of every weight.")

    init(options: PassOptions) {}

    var summary: String { "halving" }

    func rounds(to type: GGMLType) -> Bool { type == .q8_0 }

    func round(_ rows: RowsToRound) throws -> TensorBytes {
        let halves = rows.weights.elements.map { $0 / 2 }
        return TensorBytes(
            try ArrayStorage(byteCount: rows.byteCount) { target throws(FormatError) in
                try Codec.encode(halves.span, as: .block(rows.type), columnCount: rows.weights.columnCount, importance: nil, into: &target)
            })
    }
}

/// The upper 16 bits of single precision.
private struct UpperHalf: CustomCodec {
    static let type = CustomType(name: "our.upper", blockSize: 1, typeSize: 2, codec: UpperHalf())

    func decode(_ source: RawSpan, into target: inout MutableSpan<Float>) {
        for index in 0..<target.count {
            let (low, high) = (source.unsafeLoad(2 * index), source.unsafeLoad(2 * index + 1))
            target[index] = Float(bitPattern: UInt32(low) << 16 | UInt32(high) << 24)
        }
    }

    func encode(_ source: Span<Float>, columnCount: Int, into target: inout MutableRawSpan) {
        for index in source.indices {
            target.storeBytes(of: UInt8(truncatingIfNeeded: source[index].bitPattern >> 16), toByteOffset: 2 * index, as: UInt8.self)
            target.storeBytes(of: UInt8(truncatingIfNeeded: source[index].bitPattern >> 24), toByteOffset: 2 * index + 1, as: UInt8.self)
        }
    }
}

extension RawSpan {
    fileprivate func unsafeLoad(_ offset: Int) -> UInt8 {
        // Every bit pattern is a byte, and the span checks the offset.
        unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self)
    }
}

private struct LargestLogit: Metric, Declared {
    static let declaration = Declaration(identifier: "our.largest", summary: "The largest logit.")

    init(options: PassOptions) {}

    var summary: String { "largest" }

    func scores(of rows: JudgedRows) -> [Double] {
        rows.next.indices.map { row in Double(rows.logits[row * rows.vocabulary..<(row + 1) * rows.vocabulary].max() ?? 0) }
    }

    func figures(of text: JudgedText) -> [Figure] { [Figure("our.largest", title: "largest logit", value: text.mean.value, error: text.mean.error)] }
}

private struct RowCount: Statistic, Declared {
    static let declaration = Declaration(identifier: "our.rows", summary: "Rows that q, k and v read.")

    init(options: PassOptions) {}

    var summary: String { "rows" }

    func collector(for model: ModelDescription, threadCount: Int) -> any StatisticCollector { Counter() }

    private final class Counter: StatisticCollector {
        private let count = Mutex(0)

        func input(_ place: LinearInput, layer: Int, rows: inout MutableSpan<Float>, columnCount: Int) {
            if place == .attention { let found = rows.count / columnCount; count.withLock { $0 += found } }
        }

        func take(layer: Int) -> [LazyTensor] {
            let found = count.withLock { count in
                defer { count = 0 }
                return count
            }
            return [.floats("layers.\(layer).our.rows", [Float(found)], shape: [1])]
        }
    }
}

/// All tensors behind a line with the recipe's name.
private struct Concatenation: Exporter, Declared {
    static let declaration = Declaration(identifier: "our.bytes", summary: "One after another.")

    init(options: PassOptions) {}

    var container: ContainerFormat? { nil }

    func export(_ graph: TensorGraph, to output: Output, in context: ExportContext) -> ExportedModel {
        let infos = graph.tensors.map(\.info)
        return ExportedModel(tensors: graph.tensors, entryFileCount: 0) { provenance in
            let name = provenance.first { $0.key == "resq.recipe.name" }?.value ?? ""
            let header = TensorBytes(Array((name + "\n").utf8))
            var (placed, end) = ([PlacedTensor](), header.count)
            for (index, info) in infos.enumerated() {
                placed.append(PlacedTensor(info: info, byteOffset: end, index: index))
                end += info.byteCount
            }
            return ArtifactLayout(files: [FileLayout(name: "", header: header, tensors: placed, byteCount: end)])
        }
    }
}

/// Things of a program's own, of every kind, go through the registry to where the built-in ones go.
@Suite struct ForeignKindsTests {
    private let registry: Registry = {
        var registry = Registry.builtIn
        registry.register(Halving.self)
        registry.register(UpperHalf.type)
        registry.register(LargestLogit.self)
        registry.register(RowCount.self)
        registry.register(Concatenation.self)
        return registry
    }()

    /// Runs a recipe over a small model.
    /// - Returns: the path of what it wrote.
    private func run(_ text: String, in folder: TemporaryFolder, to name: String) throws -> String {
        let model = try SmallModel().write(to: folder)
        let recipe = try Recipe.parse("{recipe: 1, name: t, \(text)}", file: "t")
        let declared = recipe.outputs[0]
        let output = try declared.format.map { Output(path: folder.path(name), format: $0) }
            ?? Output(path: folder.path(name), exporter: (declared.formatName, try registry.exporter(for: declared)))
        _ = try Conversion(
            input: model, passes: try recipe.passes.map { try registry.pass(for: $0) }, output: output, onFallback: .error,
            provenance: ("text", recipe.name), architectures: .builtIn, types: registry.types
        ).run(threadCount: 2)
        return output.path
    }

    private func values(_ path: String, _ name: String) throws -> [Float] {
        let graph = try TensorGraph(try openTensorSource(at: path), architectures: .builtIn, types: registry.types)
        let tensor = try #require(graph[name])
        return floats(try tensor.encoded(as: .plain(.f32)).rows(0..<tensor.info.rowCount))
    }

    @Test func aRounding() throws {
        let folder = try TemporaryFolder()
        let path = try run(
            "passes: [{use: quantize, with: {rules: [{match: '*up_proj.weight', type: q8_0, rounding: our.halving}]}}], output: [{format: gguf, path: a}]",
            in: folder, to: "a.gguf")
        let (before, after) = (try values(folder.path("model"), "model.layers.0.mlp.up_proj.weight"), try values(path, "model.layers.0.mlp.up_proj.weight"))
        // Q8_0 has 254 steps between the largest number and its negative; its scale is a half-precision number.
        for (before, after) in zip(before, after) { #expect(abs(before / 2 - after) < 0.25 / 250) }
        #expect(before.contains { abs($0) > 0.4 })
    }

    @Test func aType() throws {
        let folder = try TemporaryFolder()
        let path = try run(
            "passes: [{use: quantize, with: {rules: [{match: {role: linear}, type: our.upper}]}}], output: [{format: gguf.zst, path: a}]", in: folder,
            to: "a.gguf.zst")
        // The model is in BF16, which is the upper half of single precision.
        for name in ["model.layers.0.mlp.up_proj.weight", "model.layers.1.self_attn.q_proj.weight"] {
            #expect(try values(path, name) == values(folder.path("model"), name))
        }
        let blind = try TensorGraph(try openTensorSource(at: path), architectures: .builtIn)
        #expect(blind.model == nil && blind.modelProblem?.description.contains("'our.upper'") == true)
    }

    @Test func aMetric() throws {
        let folder = try TemporaryFolder()
        let graph = try TensorGraph(try openTensorSource(at: SmallModel().write(to: folder)), architectures: .builtIn)
        let network = try graph.network(weightBudget: 1 << 30, threadCount: 2)
        let evaluation = try Evaluation(
            of: network, named: "m", text: TokenText(ids: (0..<64).map { $0 * 5 % 8 }, name: "ids"), context: 16, protocol: .huggingFace)
        let metric = try registry.metric(RecipeNode(.text("our.largest"), at: RecipeLocation(file: "test"))).metric
        let result = try EvaluationRun(evaluation, metrics: [metric], threadCount: 2).run()
        #expect(result.metricScores[0].count == 60)
        // The first row's, computed here.
        let window = Array((0..<16).map { $0 * 5 % 8 })
        var logits: [Float] = []
        var batch = try network.embed([window])
        var caches: [KeyValueCache]?
        try network.runLayers(on: &batch, caches: &caches, tables: network.rotaryTables(contextLength: 16)) { _ in }
        try network.logits(of: batch, rows: 0..<1, into: &logits)
        #expect(result.metricScores[0][0] == Double(logits.prefix(8).max() ?? 0))
    }

    @Test func aStatistic() throws {
        let scratch = try Scratch()
        let windows = try CalibrationWindows(drawnFrom: (0..<500).map { $0 * 7 % 64 }, count: 3, context: 16, seed: 1)
        let path = scratch.path + "/s.safetensors"
        let wanted = try ["channels", "our.rows"].map { (name: $0, statistic: try registry.statistic($0)) }
        _ = try CalibrationRun(of: try tinyModel(), windows: windows, statistics: wanted, threadCount: 2)
            .run(output: path, work: scratch.path + "/work", model: Digest(of: "a model"))
        let statistics = try CalibrationStatistics(path: path)
        for layer in 0..<3 {
            #expect(try statistics.values("layers.\(layer).our.rows") == [48])
            #expect(try statistics.values("layers.\(layer).attention.rows") == [48])
        }
        #expect(statistics.metadata["statistics"] == "channels our.rows")
    }

    @Test func aFormat() throws {
        let folder = try TemporaryFolder()
        let path = try run("passes: [], output: [{format: our.bytes, path: a}]", in: folder, to: "a.bytes")
        let model = SmallModel()
        let weights = model.weights()
        let expected = Array("t\n".utf8) + model.tensors.flatMap { weights[$0.name] ?? [] }
        #expect(try folder.read("a.bytes") == expected && path == folder.path("a.bytes"))
    }
}
