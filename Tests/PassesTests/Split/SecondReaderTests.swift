import Crypto
import Formats
import Foundation
import Models
import Passes
import TestSupport
import Testing

/// `Examples/read_resq.py`, run by the system's Python.
private enum SecondReader {
    static func python(_ arguments: [String]) throws -> (status: Int32, output: String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["python3"] + arguments
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = FileHandle.nullDevice
        try process.run()
        let output = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: output, as: UTF8.self))
    }

    static let hasNumpy = (try? python(["-c", "import numpy"]).status) == 0

    static let script: String = {
        let here = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        return here.appendingPathComponent("../../../Examples/read_resq.py").standardizedFileURL.path
    }()
}

/// The second reader, written from the document, must find the values that we do, bit for bit.
@Suite(.enabled(if: SecondReader.hasNumpy, "python3 with numpy")) struct SecondReaderTests {
    @Test(arguments: ["a.gguf", "a.gguf.zst"]) func everyTensorHasTheSameValues(name: String) throws {
        let folder = try TemporaryFolder()
        let rules = [
            "{match: {role: linear}, type: {split: {high: int7, middle: int5, low: int2}}}", "{match: {role: gate}, type: int3}",
            "{match: 'model.layers.1.*', type: {split: {high: int7, middle: int5, low: int2, group: 24, zero-points: true}}}",
            "{match: {role: down}, type: q4_k}", "{match: {role: [embedding]}, type: q8_0}", "{match: {role: [head]}, type: bf16}",
            "{match: 'model.layers.1.mlp.down_proj.weight', type: q6_k}", "{match: 'model.layers.0.mlp.up_proj.weight', type: q5_0}",
        ]
        let recipe = try Recipe.parse(
            """
            {recipe: 1, name: t, passes: [{use: resq.rotate, with: {basis: random, low-fraction: 0.125}}, {use: resq.online},
            {use: quantize, with: {rules: [\(rules.joined(separator: ", "))]}}]}
            """, file: "t")
        let path = folder.path(name)
        _ = try Conversion(
            input: try SmallModel().write(to: folder), passes: try recipe.passes.map { try Registry.builtIn.pass(for: $0) },
            output: Output(path: path, format: name.hasSuffix(".zst") ? .ggufZst : .gguf), onFallback: .error,
            provenance: ("recipe text", "t"), architectures: .builtIn
        ).run(threadCount: 2)
        let (status, output) = try SecondReader.python([SecondReader.script, path])
        #expect(status == 0)
        var theirs: [String: String] = [:]
        for line in output.split(separator: "\n") {
            let fields = line.split(separator: "\t").map(String.init)
            theirs[fields[0]] = fields[3]
        }
        let graph = try TensorGraph(try openTensorSource(at: path), architectures: .builtIn)
        let model = try #require(graph.model)
        for tensor in graph.tensors {
            let match = try #require(model.match(name: tensor.info.name))
            // The file has the rows of q and k in another order.
            let stored = [.q, .k].contains(match.role) ? tensor.reordered(RowOrder(rowsPerHead: 16, direction: .toInterleaved)) : tensor
            let rows = try stored.rows(0..<stored.info.rowCount)
            var values = [Float](repeating: 0, count: stored.info.elementCount)
            var span = values.mutableSpan
            try Codec.decode(stored.info.encoding, rows.bytes, into: &span)
            let digest = SHA256.hash(data: Data(bytes(values))).map { String(format: "%02x", $0) }.joined()
            #expect(theirs.removeValue(forKey: match.ggufName) == digest, "\(tensor.info.name)")
        }
        #expect(theirs.keys.sorted() == [
            "blk.0.attn_key_rotation.weight", "blk.0.attn_value_rotation.weight", "blk.1.attn_key_rotation.weight",
            "blk.1.attn_value_rotation.weight", "residual_rotation.weight",
        ])
    }
}
