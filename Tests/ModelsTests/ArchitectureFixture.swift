import Formats
import Models
import Testing

/// A small model as llama.cpp's converter made it (`scripts/fixtures/make-architectures`).
struct ArchitectureFixture: CustomTestStringConvertible, Sendable {
    let name: String
    let config: JSONValue
    let generationConfig: JSONValue
    let tensors: [TensorInfo]
    let ggufKeys: GGUFMetadata
    let ggufTensors: [TensorInfo]
    let tables: [String: [Float]]

    var testDescription: String { name }

    static let all: [ArchitectureFixture] = {
        do {
            let file = #filePath
            let path = file[..<(file.lastIndex(of: "/") ?? file.endIndex)] + "/Fixtures/architectures.json"
            let json = try JSONValue(parsing: TensorBytes(try MappedFile(path: String(path))))
            return try (json.object?.keys ?? []).map { try ArchitectureFixture(name: $0, json[$0] ?? .null) }
        } catch {
            fatalError("the fixtures: \(error)")
        }
    }()

    static func named(_ name: String) -> ArchitectureFixture {
        guard let found = all.first(where: { $0.name == name }) else { fatalError("no fixture \(name)") }
        return found
    }

    private init(name: String, _ json: JSONValue) throws {
        self.name = name
        config = json["config"] ?? .null
        generationConfig = json["generation_config"] ?? .null
        tensors = try (json["tensors"]?.array ?? []).map(Self.tensor)
        ggufTensors = try (json["gguf_tensors"]?.array ?? []).map(Self.tensor)
        var keys = GGUFMetadata()
        for key in json["gguf_keys"]?.object?.keys ?? [] {
            let pair = json["gguf_keys"]?[key]?.array ?? []
            keys[key] = Self.value(type: pair[0].string ?? "", pair[1])
        }
        ggufKeys = keys
        var tables: [String: [Float]] = [:]
        for key in json["tables"]?.object?.keys ?? [] {
            tables[key] = (json["tables"]?[key]?.array ?? []).map { Float(bitPattern: UInt32($0.integer ?? 0)) }
        }
        self.tables = tables
    }

    private static func tensor(_ json: JSONValue) throws -> TensorInfo {
        let parts = json.array ?? []
        let encoding = try #require(Encoding(name: parts[1].string ?? ""))
        return try TensorInfo(
            name: parts[0].string ?? "", encoding: encoding, shape: (parts[2].array ?? []).map { $0.integer ?? -1 })
    }

    private static func value(type: String, _ json: JSONValue) -> GGUFValue? {
        switch type {
        case "UINT32": .u32(UInt32(json.integer ?? -1))
        case "INT32": .i32(Int32(json.integer ?? -1))
        case "FLOAT32": .f32(Float(json.double ?? .nan))
        case "BOOL": json.bool.map(GGUFValue.bool)
        case "STRING": json.string.map(GGUFValue.string)
        default: nil
        }
    }

    var architecture: Architecture {
        get throws { try ArchitectureLibrary.builtIn.architecture(forConfig: config) }
    }

    var description: ModelDescription {
        get throws { try ModelDescription(config: config, architecture: try architecture) }
    }

    /// The description of the converter's file.
    var ggufDescription: ModelDescription {
        get throws {
            try ModelDescription(
                metadata: ggufKeys, tensors: ggufTensors, computed: tables,
                architecture: ArchitectureLibrary.builtIn.architecture(for: ggufKeys))
        }
    }
}
