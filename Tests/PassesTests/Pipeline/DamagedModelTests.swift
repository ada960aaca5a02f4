import Formats
import Foundation
import Models
import Passes
import TestSupport
import Testing

/// The JSON files of a model, cut at every byte and with every value replaced by what does not belong there: a typed error
/// that names the file, or a model; never a trap, never the work that an absurd number asks for.
@Suite(.timeLimit(.minutes(2))) struct DamagedModelTests {
    let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        try SmallModel(layers: 1, shardCount: 2).write(to: folder)
    }

    static let files = ["config.json", "tokenizer.json", "model.safetensors.index.json"]

    /// What becomes of the directory on its way to GGUF: "fine", or the error's sentence.
    private func outcome() throws -> String {
        do {
            _ = try Conversion(
                input: folder.path("model"), passes: [], output: Output(path: folder.path("o.gguf"), format: .gguf),
                onFallback: .error, provenance: nil, architectures: .builtIn)
            return "fine"
        } catch let error as FormatError {
            return error.description
        } catch let error as ModelError {
            return error.description
        }
    }

    @Test(arguments: files) func cutFilesAreRefusedByName(file: String) throws {
        let path = "model/" + file
        let whole = try folder.read(path)
        #expect(try outcome() == "fine")
        for count in whole.indices {
            try folder.write(Array(whole[..<count]), to: path)
            let message = try outcome()
            #expect(message.contains(file) && !message.contains("\n"), "cut to \(count): \(message)")
        }
    }

    @Test(arguments: files) func valuesThatDoNotBelongThereNeverTrap(file: String) throws {
        let path = "model/" + file
        let whole = try JSONSerialization.jsonObject(with: Data(try folder.read(path)))
        var refused = 0
        for place in places(in: whole) {
            for text in Self.foreignValues {
                let value = try JSONSerialization.jsonObject(with: Data(text.utf8), options: .fragmentsAllowed)
                try folder.write(jsonBytes(replacing(place[...], in: whole, with: value)), to: path)
                let message = try outcome()
                #expect(!message.contains("\n"), "\(place) = \(text): \(message)")
                if message != "fine" { refused += 1 }
            }
        }
        #expect(refused > 100)
    }

    static let foreignValues = [
        "null", "true", "-1", "0", "1.5", "1e300", "9223372036854775807", "18446744073709551615", "2147483648", #""""#, #""x""#,
        #""\u0000""#, "[]", "{}", "[[[[]]]]", #"{"a": 1}"#, "[0]", #"["x"]"#,
    ]

    /// The paths of all values inside an object: keys, and places in lists as text.
    private func places(in value: Any) -> [[String]] {
        if let object = value as? [String: Any] {
            return object.sorted { $0.key < $1.key }.flatMap { key, inner in [[key]] + places(in: inner).map { [key] + $0 } }
        }
        guard let list = value as? [Any] else { return [] }
        return list.enumerated().flatMap { index, inner in [["\(index)"]] + places(in: inner).map { ["\(index)"] + $0 } }
    }

    private func replacing(_ place: ArraySlice<String>, in value: Any, with new: Any) -> Any {
        guard let first = place.first else { return new }
        if var object = value as? [String: Any] {
            object[first] = replacing(place.dropFirst(), in: object[first] ?? NSNull(), with: new)
            return object
        }
        guard var list = value as? [Any], let index = Int(first) else { return new }
        list[index] = replacing(place.dropFirst(), in: list[index], with: new)
        return list
    }
}
