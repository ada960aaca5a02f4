import Formats
import Foundation
import Models
import Passes
import Testing

/// A small model and the logits that transformers computed from it (`scripts/fixtures/make-forward`).
struct ForwardFixture: CustomTestStringConvertible, Sendable {
    /// Token ids, and those positions whose logits are known.
    struct Sequence: Sendable {
        let ids: [Int]
        let rows: [Int]
        /// `[rows.count, vocabulary]`.
        let logits: [[Float]]
    }

    let name: String
    let config: JSONValue
    let tensors: [(name: String, shape: [Int], center: Float, amplitude: Float)]
    let sequences: [Sequence]

    var testDescription: String { name }

    static let all: [ForwardFixture] = {
        do {
            let folder = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(2).joined(separator: "/") + "/Fixtures"
            let json = try JSONValue(parsing: TensorBytes(try MappedFile(path: folder + "/forward.json")))
            let golden = try openTensorSource(at: folder + "/forward.safetensors")
            return try (json.object?.keys ?? []).map { name in
                guard let index = golden.manifest.tensors.firstIndex(where: { $0.name == name }) else { fatalError("no logits of \(name)") }
                let logits = floats(try golden.bytes(ofTensorAt: index))
                return ForwardFixture(name: name, json[name] ?? .null, logits, vocabulary: golden.manifest.tensors[index].columnCount)
            }
        } catch {
            fatalError("the fixtures: \(error)")
        }
    }()

    static func named(_ name: String) -> ForwardFixture {
        guard let found = all.first(where: { $0.name == name }) else { fatalError("no fixture \(name)") }
        return found
    }

    private init(name: String, _ json: JSONValue, _ logits: [Float], vocabulary: Int) {
        self.name = name
        config = json["config"] ?? .null
        tensors = (json["tensors"]?.array ?? []).map { entry in
            let parts = entry.array ?? []
            return (
                parts[0].string ?? "", (parts[1].array ?? []).map { $0.integer ?? 0 }, Float(parts[2].double ?? .nan),
                Float(parts[3].double ?? .nan)
            )
        }
        var start = 0
        sequences = (json["sequences"]?.array ?? []).map { entry in
            let rows = (entry["rows"]?.array ?? []).map { $0.integer ?? 0 }
            defer { start += rows.count }
            return Sequence(
                ids: (entry["ids"]?.array ?? []).map { $0.integer ?? 0 }, rows: rows,
                logits: rows.indices.map { Array(logits[(start + $0) * vocabulary..<(start + $0 + 1) * vocabulary]) })
        }
    }

    /// The elements of a tensor: the generator that the script describes.
    private static func values(_ name: String, count: Int, center: Float, amplitude: Float) -> [Float] {
        var state: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in name.utf8 { state = (state ^ UInt64(byte)) &* 0x100_0000_01B3 }
        var generator = SplitMix64(seed: state)
        return (0..<count).map { _ in
            let unit = Float(generator.next() >> 40) / Float(1 << 23) - 1
            return center + amplitude * unit
        }
    }

    /// Writes the model as a Hugging Face directory, with a tokenizer that names its tokens.
    func write(to folder: String) throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try Data(config.text().utf8).write(to: URL(fileURLWithPath: folder + "/config.json"))
        var vocabulary = JSONObject()
        for token in 0..<(config["vocab_size"]?.integer ?? 0) { vocabulary["t\(token)"] = .integer(token) }
        let byteLevel: JSONValue = ["type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true]
        let tokenizer: JSONValue = [
            "added_tokens": [], "pre_tokenizer": byteLevel, "decoder": byteLevel,
            "model": ["type": "BPE", "vocab": .object(vocabulary), "merges": []],
        ]
        try Data(tokenizer.text().utf8).write(to: URL(fileURLWithPath: folder + "/tokenizer.json"))
        let infos = try tensors.map { try TensorInfo(name: $0.name, encoding: .plain(.f32), shape: $0.shape) }
        let layout = try Safetensors.layout(tensors: infos, fileName: "")
        let output = try OutputFile(path: folder + "/model.safetensors", byteCount: layout.byteCount)
        let header = layout.files[0].header
        try output.write(header.bytes, at: 0)
        for placed in layout.files[0].tensors {
            let tensor = tensors[placed.index]
            let data = TensorBytes(
                bytes(Self.values(tensor.name, count: infos[placed.index].elementCount, center: tensor.center, amplitude: tensor.amplitude)))
            try output.write(data.bytes, at: placed.byteOffset)
        }
        try output.finish()
    }
}

/// A model opened from a path.
func graph(at path: String) throws -> TensorGraph { try TensorGraph(try openTensorSource(at: path), architectures: .builtIn) }

extension Network {
    /// Logits of every token of each sequence, all sequences in one batch, in pieces through a cache when lengths are given.
    ///
    /// - Parameter pieces: lengths of the pieces each sequence is cut into, shorter sequences ending earlier.
    func logits(_ sequences: [[Int]], pieces: [Int]? = nil, hooks: (any ForwardHooks)? = nil) throws -> [[[Float]]] {
        let longest = sequences.map(\.count).max() ?? 0
        let tables = rotaryTables(contextLength: longest)
        var result = [[[Float]]](repeating: [], count: sequences.count)
        var kept = try sequences.map { _ in try cache(capacity: longest) }
        var start = 0
        for piece in pieces ?? [longest] {
            let running = sequences.indices.filter { sequences[$0].count > start }
            let part = running.map { Array(sequences[$0][start..<min(sequences[$0].count, start + piece)]) }
            var batch = try embed(part, starts: running.map { _ in start })
            var caches: [KeyValueCache]? = pieces == nil ? nil : running.map { kept[$0] }
            try runLayers(on: &batch, caches: &caches, tables: tables, hooks: hooks)
            for (place, index) in running.enumerated() {
                if let caches { kept[index] = caches[place] }
                var rows: [Float] = []
                try logits(of: batch, rows: batch.sequences[place].rows, into: &rows, hooks: hooks)
                let width = model.hyperparameters.vocabulary
                result[index] += part[place].indices.map { Array(rows[$0 * width..<($0 + 1) * width]) }
            }
            start += piece
        }
        return result
    }
}

/// The largest difference between two lists of rows; infinite when their shapes differ.
func largestDifference(_ a: [[Float]], _ b: [[Float]]) -> Float {
    guard a.count == b.count, zip(a, b).allSatisfy({ $0.count == $1.count }) else { return .infinity }
    return zip(a, b).flatMap { zip($0, $1).map { abs($0 - $1) } }.reduce(0) { $1.isNaN ? .infinity : max($0, $1) }
}
