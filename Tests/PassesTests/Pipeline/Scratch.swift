import Formats
import Foundation

/// A folder of its own for one test, gone with the object.
final class Scratch {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("resq-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// A safetensors file of `count` F32 matrices named w0.weight, w1.weight, ...; element 5 of one may be spoiled.
    func model(count: Int, rows: Int = 64, columns: Int = 64, spoiling: Int? = nil) throws -> String {
        var generator = SplitMix64(seed: 7)
        let infos = try (0..<count).map { try TensorInfo(name: "w\($0).weight", encoding: .plain(.f32), shape: [rows, columns]) }
        let layout = try Safetensors.layout(tensors: infos, fileName: "")
        let file = path + "/in.safetensors"
        let output = try OutputFile(path: file, byteCount: layout.byteCount)
        let header = layout.files[0].header
        try output.write(header.bytes, at: 0)
        for placed in layout.files[0].tensors {
            var values = (0..<rows * columns).map { _ in Float.random(in: -1...1, using: &generator) }
            if placed.index == spoiling { values[5] = .infinity }
            let data = TensorBytes(bytes(values))
            try output.write(data.bytes, at: placed.byteOffset)
        }
        try output.finish()
        return file
    }

    func contents(_ name: String) throws -> [UInt8] { try MappedFile(path: path + "/" + name).bytes.array }

    var names: [String] { (try? FileManager.default.contentsOfDirectory(atPath: path).sorted()) ?? [] }
}
