import ArgumentParser
import Formats
import Models
import Passes

struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect", abstract: "Shows what a file or model directory holds, from its headers alone.")

    @Argument(help: ArgumentHelp("A model file or directory.", valueName: "path"))
    var path: String

    @Flag(help: "Print JSON.")
    var json = false

    @Flag(help: "Print long arrays and texts whole instead of summing them up.")
    var full = false

    func run() throws {
        let source = try openTensorSource(at: path)
        let summary = ContainerSummary(source, full: full)
        standardOutput(json ? summary.json.text(pretty: true) + "\n" : summary.text)
    }
}

/// A container's header as `inspect` shows it.
struct ContainerSummary {
    let json: JSONValue
    let text: String

    init(_ source: any TensorSource, full: Bool) {
        let manifest = source.manifest
        let architecture = manifest.metadata.architectureName
        let metadata = manifest.metadata.json(full: full)
        let tensors = zip(manifest.tensors, manifest.byteOffsets).map { tensor, offset -> JSONValue in
            [
                "name": .string(tensor.name), "type": .string(tensor.encoding.name),
                "shape": .array(tensor.shape.map { .integer($0) }), "bytes": .integer(tensor.byteCount),
                "offset": .integer(offset),
            ]
        }
        json = [
            "format": .string(manifest.format.rawValue), "architecture": architecture.map { .string($0) } ?? .null,
            "metadata": .object(metadata), "tensors": .array(tensors),
        ]
        let elementCount = manifest.tensors.reduce(0) { $0 + $1.elementCount }
        let byteCount = manifest.tensors.reduce(0) { $0 + $1.byteCount }
        var text = "format        \(manifest.format.rawValue)\n"
        text += "architecture  \(architecture.map { printable($0) } ?? "unknown")\n"
        text += "tensors       \(manifest.tensors.count), \(elementCount) elements, \(formatted(bytes: byteCount))\n\n"
        text += metadata.keys.map { key in
            "\(printable(key)) = \(printable(metadata[key]!.text(pretty: false), limit: full ? .max : 120))\n"
        }.joined()
        let rows = zip(manifest.tensors, manifest.byteOffsets).map { tensor, offset in
            [
                printable(tensor.name), tensor.encoding.name, "\(tensor.shape)", "\(tensor.byteCount)", "\(offset)",
            ]
        }
        text += "\n" + table([["tensor", "type", "shape", "bytes", "offset"]] + rows, rightAligned: [3, 4])
        self.text = text
    }
}

extension ContainerMetadata {
    /// `general.architecture`, or what `config.json` calls the model.
    var architectureName: String? {
        switch self {
        case .gguf(let metadata): metadata["general.architecture"]?.string
        case .huggingFace(let files):
            files.config["model_type"]?.string ?? files.config["architectures"]?.array?.first?.string
        case .safetensors: nil
        }
    }

    /// The metadata as one JSON object; long arrays are summed up unless `full`.
    func json(full: Bool) -> JSONObject {
        var object = JSONObject()
        switch self {
        case .gguf(let metadata):
            for key in metadata.keys { object[key] = metadata[key]!.json(full: full) }
        case .safetensors(let map):
            for key in map.keys.sorted() { object[key] = .string(map[key]!) }
        case .huggingFace(let files):
            object = files.config.object ?? JSONObject()
            object["files"] = .array(files.files.keys.sorted().map { .string($0) })
        }
        return object
    }
}

extension GGUFValue {
    fileprivate func json(full: Bool) -> JSONValue {
        switch self {
        case .f32(let value): .number(Double(value))
        case .f64(let value): .number(value)
        case .bool(let value): .bool(value)
        case .u64(let value): Int(exactly: value).map { .integer($0) } ?? .unsigned(value)
        case .string(let value): .string(value)
        case .array(let array):
            if full || array.count <= 16 {
                .array(array.values().map { $0.json(full: full) })
            } else {
                [
                    "type": .string("\(array.elementType)"), "count": .integer(array.count),
                    "first": .array(array.values(upTo: 4).map { $0.json(full: full) }),
                ]
            }
        default: .integer(integer ?? 0)
        }
    }
}
