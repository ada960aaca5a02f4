import Formats
import Models
import Passes
import Testing

/// `quantize` with an importance matrix: which numbers each tensor is rounded with, and what is refused.
@Suite struct QuantizeImportanceTests {
    private static let weight = "blk.0.ffn_up.weight", experts = "blk.0.ffn_up_exps.weight"

    /// A GGUF file of an unknown architecture with a matrix of [3, 256] and a stack of [2, 3, 256].
    private func model(_ scratch: Scratch) throws -> (path: String, weight: [Float], experts: [Float]) {
        var random = SplitMix64(seed: 3)
        let weight = (0..<3 * 256).map { _ in Float.random(in: -1...1, using: &random) }
        let experts = (0..<6 * 256).map { _ in Float.random(in: -1...1, using: &random) }
        var metadata = GGUFMetadata()
        metadata["general.architecture"] = .string("unheard-of")
        let infos = [
            try TensorInfo(name: Self.weight, encoding: .plain(.f32), shape: [3, 256]),
            try TensorInfo(name: Self.experts, encoding: .plain(.f32), shape: [2, 3, 256]),
        ]
        let layout = try GGUF.layout(tensors: infos, metadata: metadata).files[0]
        let path = scratch.path + "/in.gguf"
        let output = try OutputFile(path: path, byteCount: layout.byteCount)
        try output.write(layout.header.bytes, at: 0)
        for placed in layout.tensors {
            let data = TensorBytes(bytes(placed.index == 0 ? weight : experts))
            try output.write(data.bytes, at: placed.byteOffset)
        }
        try output.finish()
        return (path, weight, experts)
    }

    private func matrix(_ scratch: Scratch, _ entries: [(String, [Float], [Int])]) throws -> String {
        var matrix = ImportanceMatrix(datasets: ["text"], chunkCount: 5, chunkSize: 2)
        for (name, sums, counts) in entries { try matrix.add(name, ImportanceMatrix.Entry(sums: sums, counts: counts)) }
        let path = scratch.path + "/importance.gguf"
        try matrix.write(to: path)
        return path
    }

    private func conversion(_ input: String, _ scratch: Scratch, type: String, matrix: String?) throws -> Conversion {
        let option = matrix.map { ", imatrix: \($0)" } ?? ""
        let recipe = try Recipe.parse(
            "{recipe: 1, name: t, passes: [{use: quantize, with: {rules: [{match: '*', type: \(type)}]\(option)}}]}", file: "t")
        return try Conversion(
            input: input, passes: try recipe.passes.map { try Registry.builtIn.pass(for: $0) },
            output: Output(path: scratch.path + "/out.gguf", format: .gguf), onFallback: .error, provenance: ("text", "t"),
            architectures: .builtIn)
    }

    private func encoded(_ values: [Float], as type: GGMLType, _ importance: [Float]) throws -> [UInt8] {
        let info = try TensorInfo(name: "", encoding: .block(type), shape: [values.count / 256, 256])
        let storage = try ArrayStorage(byteCount: info.byteCount) { (target: inout MutableRawSpan) throws(FormatError) in
            try Codec.encode(values.span, as: .block(type), columnCount: 256, importance: importance.span, into: &target)
        }
        return TensorBytes(storage).array
    }

    /// Every expert has its own numbers, and the artifact names the matrix.
    @Test(arguments: [GGMLType.q4_K, .iq2_xs, .q5_1]) func everyTensorHasItsOwn(_ type: GGMLType) throws {
        let scratch = try Scratch()
        let (input, weight, experts) = try model(scratch)
        let sums = (0..<256).map { Float($0 % 7 * 10) }
        let expertSums = (0..<512).map { Float($0 % 5 + 1) }
        let path = try matrix(scratch, [(Self.weight, sums, [10]), (Self.experts, expertSums, [2, 0])])
        let conversion = try conversion(input, scratch, type: type.name.lowercased(), matrix: path)
        #expect(conversion.diagnostics.isEmpty)
        _ = try conversion.run(threadCount: 2)

        let written = try GGUFFile(path: scratch.path + "/out.gguf")
        #expect(written.manifest.tensors.map(\.encoding) == [.block(type), .block(type)])
        #expect(try written.bytes(ofTensorAt: 0).array == encoded(weight, as: type, sums.map { $0 / 10 }))
        let first = try encoded(Array(experts[..<768]), as: type, expertSums[..<256].map { $0 / 2 })
        let second = try encoded(Array(experts[768...]), as: type, [Float](repeating: 1, count: 256))
        #expect(try written.bytes(ofTensorAt: 1).array == first + second)
        guard case .gguf(let metadata) = written.manifest.metadata else { fatalError("GGUF has GGUF metadata") }
        #expect(metadata["quantize.imatrix.file"]?.string == String(path.prefix(127)))
        #expect(metadata["quantize.imatrix.dataset"] == .string("text"))
        #expect(metadata["quantize.imatrix.entries_count"] == .u32(2))
        #expect(metadata["quantize.imatrix.chunks_count"] == .u32(5))
        #expect(metadata["resq.inputs"]?.string?.contains("importance.gguf") == true)
    }

    /// A weight that the matrix lacks is rounded without, and said.
    @Test func whatIsMissingIsSaid() throws {
        let scratch = try Scratch()
        let (input, _, _) = try model(scratch)
        let path = try matrix(scratch, [(Self.weight, [Float](repeating: 1, count: 256), [1])])
        let diagnostics = try conversion(input, scratch, type: "q4_k", matrix: path).diagnostics
        #expect(diagnostics == [Diagnostic(.warning, "the importance matrix says nothing of 1 tensors: \(Self.experts)")])
        // Types that ignore importance miss nothing.
        #expect(try conversion(input, scratch, type: "q8_0", matrix: path).diagnostics.isEmpty)
    }

    @Test func smallTypesNeedOne() throws {
        let scratch = try Scratch()
        let (input, _, _) = try model(scratch)
        for type in ["iq2_xxs", "iq2_xs", "iq2_s", "iq3_xxs", "iq1_s", "iq1_m"] {
            #expect(throws: PipelineError.needsImportance(tensor: Self.weight, type: type.uppercased(), matrix: nil)) {
                try conversion(input, scratch, type: type, matrix: nil)
            }
        }
        let path = try matrix(scratch, [(Self.weight, [Float](repeating: 1, count: 256), [1])])
        #expect(throws: PipelineError.needsImportance(tensor: Self.experts, type: "IQ2_S", matrix: path)) {
            try conversion(input, scratch, type: "iq2_s", matrix: path)
        }
        _ = try conversion(input, scratch, type: "iq3_s", matrix: nil)
    }

    @Test func aMatrixOfAnotherModelIsRefused() throws {
        let scratch = try Scratch()
        let (input, _, _) = try model(scratch)
        for (sums, counts) in [(128, 1), (512, 2), (512, 1)] {
            let path = try matrix(
                scratch, [(Self.weight, [Float](repeating: 1, count: sums), [Int](repeating: 1, count: counts))])
            let expected = FormatError(
                .invalid(
                    field: "importance of '\(Self.weight)'", found: "\(sums) numbers",
                    expected: "256, for this model's tensor of shape [3, 256]"),
                path: path, tensor: Self.weight)
            #expect(throws: expected) { try conversion(input, scratch, type: "q4_k", matrix: path) }
        }
    }
}
