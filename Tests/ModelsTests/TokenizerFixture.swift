import Formats
import Models
import Testing

/// A small model's tokenizer and what llama.cpp's converter made of it (`scripts/fixtures/make-tokenizers`).
struct TokenizerFixture: CustomTestStringConvertible, Sendable {
    let name: String
    let files: HuggingFaceFiles
    /// Keys in order with their values; an array as its element type, count and FNV-1a hash.
    let keys: JSONObject

    var testDescription: String { name }
    var vocabularySize: Int { files.config["vocab_size"]?.integer ?? 0 }

    static let all: [TokenizerFixture] = {
        do {
            let file = #filePath
            let path = file[..<(file.lastIndex(of: "/") ?? file.endIndex)] + "/Fixtures/tokenizers.json"
            let json = try JSONValue(parsing: TensorBytes(try MappedFile(path: String(path))))
            return (json.object?.keys ?? []).map { TokenizerFixture(name: $0, json[$0] ?? .null) }
        } catch {
            fatalError("the fixtures: \(error)")
        }
    }()

    static func named(_ name: String) -> TokenizerFixture {
        guard let found = all.first(where: { $0.name == name }) else { fatalError("no fixture \(name)") }
        return found
    }

    private init(name: String, _ json: JSONValue) {
        self.name = name
        var files = HuggingFaceFiles(config: json["config"] ?? .null)
        for file in json["files"]?.object?.keys ?? [] {
            let text = json["files"]?[file]?.string ?? ""
            files.files[file] = TensorBytes(file == "tokenizer.model" ? decodedBase64(text) : Array(text.utf8))
        }
        self.files = files
        keys = json["gguf"]?.object ?? [:]
    }

    /// The JSON of one of the files.
    func json(_ file: String) throws -> JSONValue { try JSONValue(parsing: try #require(files.files[file])) }
}

/// A value in the form that the fixture has it.
func fixtureForm(_ value: GGUFValue?) -> JSONValue {
    switch value {
    case .u32(let number)?: ["u32", .integer(Int(number))]
    case .bool(let flag)?: ["bool", .bool(flag)]
    case .string(let text)?: ["string", .string(text)]
    case .array(let array)?: ["array", [.string("\(array.elementType)"), .integer(array.count), .string(fnv1a(array.encoded.array))]]
    default: .null
    }
}

func fnv1a(_ bytes: [UInt8]) -> String {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
    let digits = String(hash, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
}

func decodedBase64(_ text: String) -> [UInt8] {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    var bytes: [UInt8] = [], bits: UInt32 = 0, count = 0
    for digit in text.utf8 where digit != UInt8(ascii: "=") {
        bits = bits << 6 | UInt32(alphabet.firstIndex(of: digit) ?? 0)
        count += 6
        if count >= 8 {
            count -= 8
            bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
        }
    }
    return bytes
}

/// A directory with these files: texts, or values that are written as JSON.
func directory(_ files: [String: JSONValue]) -> HuggingFaceFiles { directory(["model_type": "llama"], files) }

func directory(_ config: JSONValue, _ files: [String: JSONValue]) -> HuggingFaceFiles {
    HuggingFaceFiles(config: config, files: files.mapValues { TensorBytes($0.bytes()) })
}

/// `tokenizer.json` of a byte-level BPE of eight tokens, with changes.
func smallTokenizer(
    vocabulary: JSONValue = ["a": 0, "b": 1, "c": 2, "ab": 3, "abc": 4, "Ġ": 5, "Ġa": 6], merges: JSONValue = ["a b", "ab c", "Ġ a"],
    added: JSONValue = [["id": 7, "content": "<|end|>", "special": true, "normalized": false]],
    preTokenizer: JSONValue = ["type": "ByteLevel", "add_prefix_space": false], model: JSONObject = [:], other: JSONObject = [:]
) -> JSONValue {
    var bpe: JSONObject = ["type": "BPE", "vocab": vocabulary, "merges": merges]
    for key in model.keys { bpe[key] = model[key] }
    var tokenizer: JSONObject = [
        "added_tokens": added, "normalizer": nil, "pre_tokenizer": preTokenizer, "post_processor": nil, "decoder": ["type": "ByteLevel"],
        "model": .object(bpe),
    ]
    for key in other.keys { tokenizer[key] = other[key] }
    return .object(tokenizer)
}
