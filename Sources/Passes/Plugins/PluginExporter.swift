import Formats
import Foundation
import Models

/// A plugin's format: *plan* gives the files, their headers, and the places of tensors in them; the host writes.
struct PluginExporter: Exporter {
    let call: PluginCall

    var container: ContainerFormat? { nil }

    func export(_ graph: TensorGraph, to output: Output, in context: ExportContext) throws -> ExportedModel {
        let facts = graph.facts
        let tensors = graph.tensors.enumerated().map { $1.info.described(role: facts[$0].role, layer: facts[$0].layer) }
        let infos = graph.tensors.map(\.info)
        let described = graph.describedModel
        return ExportedModel(tensors: graph.tensors, entryFileCount: 0) { [call] provenance in
            var model = described
            model["output"] = .string(output.fileStem)
            var record: JSONObject = [:]
            for (key, value) in provenance { record[key] = .string(value) }
            model["provenance"] = .object(record)
            let answer = try call.plan(model, tensors)
            do throws(RecipeError) {
                return try ArtifactLayout(RecipeNode(answer, at: RecipeLocation(file: call.plugin.path)), tensors: infos)
            } catch {
                throw call.error(error.sentence)
            }
        }
    }
}

extension ArtifactLayout {
    /// A plugin's answer, checked: files inside the folder, every tensor once and inside its file, nothing over anything else.
    fileprivate init(_ answer: RecipeNode, tensors: [TensorInfo]) throws(RecipeError) {
        _ = try answer.mapping("the layout", keys: ["id", "files"])
        let nodes = try answer.required("files", in: "the layout").sequence("'files'")
        guard !nodes.isEmpty else { throw RecipeError("there are no files", at: answer.location) }
        let places = Dictionary(uniqueKeysWithValues: tensors.enumerated().map { ($1.name, $0) })
        var seen: Set<String> = [], names: Set<String> = []
        self.init(files: [])
        for node in nodes {
            let what = "a file of the layout"
            _ = try node.mapping(what, keys: ["name", "header", "tensors", "bytes"])
            var name = ""
            if let given = node["name"] {
                name = try given.text("'name' of \(what)")
                let isPlain = !name.contains("/") && !name.contains("\0") && !name.hasPrefix(".")
                guard isPlain, names.insert(name).inserted else {
                    throw RecipeError("'\(name)' is no name for a file in the output's folder, or stands twice", at: given.location)
                }
            } else if nodes.count > 1 {
                throw RecipeError("'name' is missing in \(what), of which there are \(nodes.count)", at: node.location)
            }
            let header = try node["header"].map { node throws(RecipeError) in try node.base64("'header' of \(what)") } ?? []
            let byteCount = try node.required("bytes", in: what).integer("'bytes' of \(what)", in: header.count...(1 << 50))
            var placed: [PlacedTensor] = []
            for tensor in try node["tensors"]?.sequence("'tensors' of \(what)") ?? [] {
                _ = try tensor.mapping("a tensor of the layout", keys: ["name", "at"])
                let tensorName = try tensor.required("name", in: "a tensor of the layout").text("'name' of a tensor of the layout")
                guard let place = places[tensorName] else {
                    throw RecipeError("the layout has a tensor '\(tensorName)', which the model has not", at: tensor.location, word: tensorName, known: places.keys)
                }
                guard seen.insert(tensorName).inserted else { throw RecipeError("the layout has tensor '\(tensorName)' twice", at: tensor.location) }
                let offset = try tensor.required("at", in: "a tensor of the layout")
                    .integer("'at' of tensor '\(tensorName)'", in: header.count...max(header.count, byteCount))
                placed.append(PlacedTensor(info: tensors[place], byteOffset: offset, index: place))
            }
            var end = header.count
            for tensor in placed.sorted(by: { $0.byteOffset < $1.byteOffset }) {
                guard tensor.byteOffset >= end, tensor.info.byteCount <= byteCount - tensor.byteOffset else {
                    throw RecipeError("tensor '\(tensor.info.name)' of the layout does not fit where it is put", at: node.location)
                }
                end = tensor.byteOffset + tensor.info.byteCount
            }
            files.append(FileLayout(name: name, header: TensorBytes(header), tensors: placed, byteCount: byteCount))
        }
        if let missing = tensors.first(where: { !seen.contains($0.name) }) {
            throw RecipeError("the layout has no place for tensor '\(missing.name)'", at: answer.location)
        }
    }
}

extension RecipeNode {
    /// Bytes in base64.
    fileprivate func base64(_ what: String) throws(RecipeError) -> [UInt8] {
        guard case .text(let text) = value, let data = Data(base64Encoded: text) else { throw unexpected(what, expected: "base64") }
        return Array(data)
    }
}
