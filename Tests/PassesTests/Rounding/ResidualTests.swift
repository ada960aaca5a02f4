import Formats
import Models
import Passes
import Testing
import TestSupport

/// `quantize` with a residual: the adapter beside the model.
@Suite struct ResidualTests {
    /// - Returns: what the run remarks.
    @discardableResult
    private func convert(
        _ folder: TemporaryFolder, to name: String, format: ContainerFormat = .gguf, rule: String = "type: q4_0", options: String
    ) throws -> [Diagnostic] {
        let scratch = try Scratch()
        // The file is read until the run ends.
        defer { withExtendedLifetime(scratch) {} }
        let text = try SequentialRoundingTests.tokenFile(scratch, vocabulary: SmallModel.vocabulary)
        let recipe = try Recipe.parse(
            """
            {recipe: 1, name: t, calibration: {text: "\(text)", sequences: 12, context: 24},
             passes: [{use: quantize, with: {rules: [{match: {role: linear}, \(rule), rounding: gptq}], \(options)}}]}
            """, file: "t")
        let conversion = try Conversion(
            input: folder.path + "/model", passes: try recipe.passes.map { try Registry.builtIn.pass(for: $0) },
            output: Output(path: folder.path + "/" + name, format: format), onFallback: .error, provenance: ("text", "t"),
            architectures: .builtIn, calibration: recipe.calibration)
        _ = try conversion.run(threadCount: 2)
        return conversion.diagnostics
    }

    /// Every tensor of a file, as floats.
    private func numbers(_ path: String) throws -> [String: (values: [Float], shape: [Int])] {
        var result: [String: (values: [Float], shape: [Int])] = [:]
        for tensor in try graphOfFile(path) {
            var values = [Float](repeating: 0, count: tensor.info.elementCount)
            var target = values.mutableSpan
            let stored = try tensor.rows(0..<tensor.info.rowCount)
            try Codec.decode(tensor.info.encoding, stored.bytes, into: &target)
            result[tensor.info.name] = (values, tensor.info.shape)
        }
        return result
    }

    private func graphOfFile(_ path: String) throws -> [LazyTensor] {
        let source = try openTensorSource(at: path)
        return source.manifest.tensors.enumerated().map { LazyTensor(info: $1, operation: SourceSlice(source: source, index: $0)) }
    }

    /// With q and k in the order of GGUF's rows, as everything in the two files must be.
    @Test(arguments: [("f16", 8), ("q8_0", 32)]) func baseAndAdapterTogetherComeCloser(type: String, rank: Int) throws {
        let folder = try TemporaryFolder()
        try SmallModel().write(to: folder)
        _ = try Conversion(
            input: folder.path + "/model", passes: [], output: Output(path: folder.path + "/plain.gguf", format: .gguf), onFallback: .error,
            provenance: nil, architectures: .builtIn
        ).run(threadCount: 1)
        try convert(folder, to: "base.gguf", options: "residual-rank: \(rank), residual-type: \(type)")
        let plain = try numbers(folder.path + "/plain.gguf")
        let base = try numbers(folder.path + "/base.gguf")
        let factors = try numbers(folder.path + "/base-lora.gguf")
        let adapter = try openTensorSource(at: folder.path + "/base-lora.gguf")
        guard case .gguf(let metadata) = adapter.manifest.metadata else {
            Issue.record("no GGUF")
            return
        }
        #expect(metadata["general.type"]?.string == "adapter" && metadata["adapter.type"]?.string == "lora")
        #expect(metadata["general.architecture"]?.string == "llama" && metadata["resq.recipe"]?.string != nil)
        let names = adapter.manifest.tensors.map(\.name).filter { $0.hasSuffix(".lora_a") }.map { String($0.dropLast(7)) }
        #expect(!names.isEmpty && adapter.manifest.tensors.count == 2 * names.count)
        for name in names {
            guard let (weight, shape) = plain[name], let rounded = base[name]?.values, let (right, rightShape) = factors[name + ".lora_a"],
                let (left, leftShape) = factors[name + ".lora_b"]
            else {
                Issue.record("\(name) is missing")
                continue
            }
            #expect(rightShape == [rank, shape[1]] && leftShape == [shape[0], rank])
            var (alone, together) = (0.0, 0.0)
            for row in 0..<shape[0] {
                for column in 0..<shape[1] {
                    let error = weight[row * shape[1] + column] - rounded[row * shape[1] + column]
                    let residual = (0..<rank).reduce(Float(0)) { $0 + left[row * rank + $1] * right[$1 * shape[1] + column] } / Float(rank)
                    alone += Double(error * error)
                    together += Double((error - residual) * (error - residual))
                }
            }
            // A projection shortens; the same product with rows in another order would lengthen.
            #expect(together < alone, "\(name)")
        }
    }

    /// The model with its adapter is what the sums of both files are.
    @Test func theAdapterCanBeAddedToItsBase() throws {
        let folder = try TemporaryFolder()
        try SmallModel().write(to: folder)
        try convert(folder, to: "base.gguf", options: "residual-rank: 8, residual-type: f16")
        var graph = try TensorGraph(try openTensorSource(at: folder.path + "/base.gguf"), architectures: .builtIn)
        let before = graph
        let files = try graph.add(adapter: folder.path + "/base-lora.gguf")
        #expect(files.map(\.path) == [folder.path + "/base-lora.gguf"])
        let plain = try TensorGraph(try openTensorSource(at: folder.path + "/model"), architectures: .builtIn)
        for tensor in plain.tensors where tensor.info.name.hasSuffix("proj.weight") {
            let name = tensor.info.name
            func values(_ graph: TensorGraph) throws -> [Float] {
                guard let tensor = graph[name] else { return [] }
                var values = [Float](repeating: 0, count: tensor.info.elementCount)
                var target = values.mutableSpan
                let stored = try tensor.rows(0..<tensor.info.rowCount)
                try Codec.decode(tensor.info.encoding, stored.bytes, into: &target)
                return values
            }
            let (weight, alone, together) = (try values(plain), try values(before), try values(graph))
            func distance(_ other: [Float]) -> Float { zip(weight, other).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) } }
            #expect(distance(together) < distance(alone), "\(name)")
        }
        // Of another model: a llama with other columns.
        try SmallModel(hidden: 128).write(to: folder, as: "other")
        var other = try TensorGraph(try openTensorSource(at: folder.path + "/other"), architectures: .builtIn)
        #expect(throws: FormatError.self) { try other.add(adapter: folder.path + "/base-lora.gguf") }
        #expect(throws: FormatError.self) { try graph.add(adapter: folder.path + "/base.gguf") }
    }

    /// Base and adapter together keep to the bytes. In so small a model a rank costs more than a type, and comes later.
    @Test(arguments: [6.5, 8.0]) func ranksAreDealtOutWithTheTypes(bits: Double) throws {
        let folder = try TemporaryFolder()
        try SmallModel(hidden: 128).write(to: folder)
        try convert(folder, to: "base.gguf", rule: "type: q4_0, reallocate: true, bits: \(bits)", options: "residual-rank: 64, residual-type: q4_0")
        let base = try graphOfFile(folder.path + "/base.gguf").filter { ($0.info.encoding.ggmlType?.blockSize ?? 1) > 1 }
        let adapter = try graphOfFile(folder.path + "/base-lora.gguf")
        func byteCount(_ tensors: [LazyTensor]) throws -> Int { try tensors.reduce(0) { $0 + (try $1.rows(0..<$1.info.rowCount)).count } }
        let weightCount = base.reduce(0) { $0 + $1.info.elementCount }
        #expect(Double(try byteCount(base) + byteCount(adapter)) * 8 <= bits * Double(weightCount))
        let ranks = adapter.filter { $0.info.name.hasSuffix(".lora_a") }.map(\.info.shape[0])
        #expect(!ranks.isEmpty && ranks.allSatisfy { $0 == 32 || $0 == 64 })
    }

    /// Bits per weight are those of the model's own weights, factors included in the bits.
    @Test func factorsAreBitsAndNoWeights() throws {
        let folder = try TemporaryFolder()
        let model = try SmallModel(hidden: 128).write(to: folder)
        let text = try folder.write(numPyBytes((0..<400).map { $0 % SmallModel.vocabulary }), to: "tokens.npy")
        let recipe = try Recipe.parse(
            """
            {recipe: 1, name: t, calibration: {text: "\(text)", sequences: 4, context: 24}, passes: [{use: quantize, with:
              {rules: [{match: {role: linear}, type: q4_0, rounding: gptq}], residual-rank: 32}}]}
            """, file: "t")
        let plan = try Conversion(
            input: model, passes: try recipe.passes.map { try Registry.builtIn.pass(for: $0) },
            output: Output(path: folder.path("out.gguf"), format: .gguf), onFallback: .error, provenance: ("text", "t"),
            architectures: .builtIn, calibration: recipe.calibration
        ).plan(threadCount: 1)
        let isFactor = { (tensor: Plan.Tensor) in tensor.name.contains(".lora_") }
        #expect(plan.tensors.contains(where: isFactor))
        let weights = plan.tensors.filter { !isFactor($0) }.reduce(0) { $0 + $1.shape.reduce(1, *) }
        #expect(abs(plan.bitsPerWeight - 8 * Double(plan.tensors.reduce(0) { $0 + $1.byteCount }) / Double(weights)) < 1e-9)
    }

    /// The factors' blocks hold neighbouring columns too.
    @Test func actOrderGoesWithAResidual() throws {
        let folder = try TemporaryFolder()
        try SmallModel().write(to: folder)
        try convert(folder, to: "base.gguf", options: "residual-rank: 32, residual-type: q4_0, act-order: true")
        #expect(try numbers(folder.path + "/base-lora.gguf").values.allSatisfy { $0.values.allSatisfy(\.isFinite) })
    }

    @Test func bitsAreForRulesThatDealOut() throws {
        let folder = try TemporaryFolder()
        try SmallModel(hidden: 128).write(to: folder)
        for (rule, message) in [("type: q4_0, bits: 5", "reallocate"), ("type: int4, reallocate: true", "'int4' is none"), ("type: q4_0, reallocate: true, bits: 3", "smallest")] {
            let error = #expect(throws: RecipeError.self) { try convert(folder, to: "a.gguf", rule: rule, options: "residual-rank: 0") }
            #expect(error?.description.contains(message) == true, "\(String(describing: error))")
        }
    }

    /// Integers have none, and sides below twice the rank.
    @Test(arguments: [("type: int4", 32), ("type: q4_0", 512)]) func whereNoWeightGetsAResidualTheRunSaysSo(rule: String, rank: Int) throws {
        let folder = try TemporaryFolder()
        try SmallModel().write(to: folder)
        let remarks = try convert(folder, to: "out.gguf", rule: rule, options: "residual-rank: \(rank)")
        #expect(remarks.contains { $0.message.contains("no weight gets a residual of up to \(rank) ranks") }, "\(remarks)")
        #expect(!folder.names.contains { $0.contains("lora") })
    }

    @Test func aResidualNeedsASecondFileAndWeightsToBelongTo() throws {
        let folder = try TemporaryFolder()
        try SmallModel().write(to: folder)
        #expect(throws: PipelineError.self) { try convert(folder, to: "out.gguf.zst", format: .ggufZst, options: "residual-rank: 8, residual-type: f16") }
        let error = #expect(throws: RecipeError.self) { try convert(folder, to: "out.gguf", options: "residual-rank: 8") }
        #expect(error?.description.contains("multiple of 32") == true)
    }
}
