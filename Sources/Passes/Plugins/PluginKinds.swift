import Formats
import Foundation
import LinearAlgebra
import Models
import Synchronization

// What a plugin may bring beside passes. Each kind is asked with the questions that passes are asked with, *plan* and *apply*.

/// A plugin's way of rounding: *apply* with a weight's rows in F32, and the moments of its input in F64, gives the rows rounded.
struct PluginRounding: RoundingMethod {
    /// What it says of itself beside its declaration.
    struct Facts: Sendable {
        var isCalibrated = false
        /// Whether it answers with numbers, which are then stored to nearest, and not with the type's bytes.
        var givesValues = false
        /// The types it rounds to; all when there are none.
        var types: [Encoding] = []
    }

    let call: PluginCall
    let facts: Facts

    var summary: String { call.summary }
    var isCalibrated: Bool { facts.isCalibrated }

    func rounds(to type: GGMLType) -> Bool { facts.types.isEmpty || facts.types.contains(Encoding(type)) }

    func round(_ rows: RowsToRound) throws -> TensorBytes {
        let (weights, columnCount) = (rows.weights, rows.weights.columnCount)
        let info = try TensorInfo(name: rows.tensor, encoding: .plain(.f32), shape: [weights.rowCount, columnCount])
        let rounded = try TensorInfo(name: rows.tensor, encoding: Encoding(rows.type), shape: info.shape)
        var inputs = [(info: info.described(), bytes: TensorBytes(floats: weights.elements))]
        if let moments = rows.moments {
            let info = try TensorInfo(name: "moments", encoding: .plain(.f64), shape: [columnCount, columnCount])
            inputs.append((info.described(), TensorBytes(doubles: moments.elements)))
        }
        var described = rounded.described()
        if facts.givesValues { described = info.described(roundedTo: rows.type) }
        let byteCount = facts.givesValues ? info.byteCount : rounded.byteCount
        let answer = try call.apply(inputs: inputs, outputs: [(described, byteCount)], rows: nil, tensor: rows.tensor)[0]
        guard facts.givesValues else { return answer }
        let values = LazyTensor(info: info, operation: Constant(bytes: answer, summary: "values"))
        return try values.encoded(as: rounded.encoding).rows(0..<weights.rowCount)
    }
}

extension TensorInfo {
    /// Numbers that will be stored as a type, in the words of the protocol.
    fileprivate func described(roundedTo type: GGMLType) -> JSONValue {
        guard var object = described().object else { return described() }
        object["rounded-to"] = .string(type.name)
        return .object(object)
    }
}

/// A plugin's block type: *apply* with rows in F32 gives rows of blocks, and the other way round.
struct PluginCodec: CustomCodec {
    let call: PluginCall
    let blockSize: Int
    let typeSize: Int

    func decode(_ source: RawSpan, into target: inout MutableSpan<Float>) throws(FormatError) {
        let bytes = try converted(TensorBytes(copying: source), elementCount: target.count, isDecoding: true)
        let span = bytes.bytes
        for index in 0..<target.count { target[index] = Float(bitPattern: span.littleEndian(UInt32.self, at: 4 * index)) }
    }

    func encode(_ source: Span<Float>, columnCount: Int, into target: inout MutableRawSpan) throws(FormatError) {
        let bytes = try converted(TensorBytes(copying: unsafe source.bytes), elementCount: source.count, isDecoding: false)
        copy(bytes.bytes, into: &target, at: 0)
    }

    /// Blocks know nothing of rows: all of them go as rows of one block.
    private func converted(_ bytes: TensorBytes, elementCount: Int, isDecoding: Bool) throws(FormatError) -> TensorBytes {
        do {
            let blockCount = elementCount / blockSize
            let values = try TensorInfo(name: "blocks", encoding: .plain(.f32), shape: [blockCount, blockSize])
            let blocks: JSONValue = [
                "name": "blocks", "dtype": .string(call.identifier), "shape": [.integer(blockCount), .integer(blockSize)],
                "bytes": .integer(blockCount * typeSize),
            ]
            return try call.apply(
                inputs: [(isDecoding ? blocks : values.described(), bytes)],
                outputs: [isDecoding ? (values.described(), values.byteCount) : (blocks, blockCount * typeSize)], rows: nil, tensor: "blocks")[0]
        } catch let error as FormatError {
            throw error
        } catch {
            throw FormatError(.unsupported(what: "\(isDecoding ? "decoding" : "encoding") \(call.identifier) (\(error))"))
        }
    }
}

/// A plugin's metric: *apply* with logits gives a number for each row; the mean is reported.
struct PluginMetric: Metric {
    let call: PluginCall
    let title: String
    let needsReference: Bool

    var summary: String { call.summary }

    func scores(of rows: JudgedRows) throws -> [Double] {
        let count = rows.next.count
        var inputs: [(info: JSONValue, bytes: TensorBytes)] = []
        for (name, logits) in [("logits", rows.logits), ("reference", rows.referenceLogits)] {
            guard let logits else { continue }
            let info = try TensorInfo(name: name, encoding: .plain(.f32), shape: [count, rows.vocabulary])
            inputs.append((info.described(), TensorBytes(floats: logits)))
        }
        let next = try TensorInfo(name: "next", encoding: .plain(.i32), shape: [count])
        inputs.append((next.described(), TensorBytes(rows.next.flatMap { id in (0..<4).map { UInt8(truncatingIfNeeded: id >> (8 * $0)) } })))
        let scores = try TensorInfo(name: "scores", encoding: .plain(.f64), shape: [count])
        let bytes = try call.apply(inputs: inputs, outputs: [(scores.described(), scores.byteCount)], rows: nil, tensor: "logits")[0]
        return bytes.doubles
    }

    func figures(of text: JudgedText) -> [Figure] {
        let (mean, error) = text.mean
        return [Figure(call.identifier, title: title, value: mean, error: error)]
    }
}

/// A plugin's statistic: *apply* with some rows that linear layers read gives numbers, which are added up over all rows, or of
/// which the largest are kept.
struct PluginStatistic: Statistic {
    /// What it says of itself beside its declaration.
    struct Facts: Sendable {
        /// Whether there is a number for each pair of channels, and not one for each channel.
        var isMatrix = false
        /// Whether the largest are kept, and not the sums.
        var keepsLargest = false
        /// The inputs it looks at, as calibration files name them (`experts` for those of all experts); all when there are none.
        var inputs: Set<String> = []
    }

    static let inputNames = ["attention", "attention_output", "mlp", "mlp_output", "experts", "experts_output", "shared_expert_output"]

    let call: PluginCall
    let facts: Facts

    var summary: String { call.summary }

    func collector(for model: ModelDescription, threadCount: Int) -> any StatisticCollector { Collector(statistic: self) }

    /// The numbers of some rows, `[rows, columns]`.
    func numbers(of rows: [Float], columnCount: Int) throws -> [Double] {
        let info = try TensorInfo(name: "rows", encoding: .plain(.f32), shape: [rows.count / columnCount, columnCount])
        let shape = facts.isMatrix ? [columnCount, columnCount] : [columnCount]
        let result = try TensorInfo(name: "statistic", encoding: .plain(.f64), shape: shape)
        let bytes = try call.apply(
            inputs: [(info.described(), TensorBytes(floats: rows))], outputs: [(result.described(), result.byteCount)], rows: nil, tensor: "rows")[0]
        return bytes.doubles
    }

    private final class Collector: StatisticCollector {
        private let statistic: PluginStatistic
        private let sums = Mutex<[LinearInput: [Double]]>([:])

        init(statistic: PluginStatistic) { self.statistic = statistic }

        func input(_ place: LinearInput, layer: Int, rows: inout MutableSpan<Float>, columnCount: Int) throws {
            let kind: String? =
                switch place {
                case .expert: "experts"
                case .expertOutput: "experts_output"
                case .head: nil
                default: place.name
                }
            guard let kind, rows.count > 0, statistic.facts.inputs.isEmpty || statistic.facts.inputs.contains(kind) else { return }
            let span = rows.span
            let numbers = try statistic.numbers(of: span.indices.map { span[$0] }, columnCount: columnCount)
            let keepsLargest = statistic.facts.keepsLargest
            sums.withLock { sums in
                sums[place] = sums[place].map { before in zip(before, numbers).map { keepsLargest ? max($0, $1) : $0 + $1 } } ?? numbers
            }
        }

        func take(layer: Int) throws -> [LazyTensor] {
            let found = sums.withLock { sums in
                defer { sums = [:] }
                return sums.sorted { $0.key.name < $1.key.name }
            }
            return found.map { place, numbers in
                let width = statistic.facts.isMatrix ? Int(Double(numbers.count).squareRoot().rounded()) : numbers.count
                return .floats(
                    "layers.\(layer).\(place.name).\(statistic.call.identifier)", numbers.map(Float.init),
                    shape: statistic.facts.isMatrix ? [width, width] : [width])
            }
        }
    }
}

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
            let answer = try call.plugin.door.plan(
                ["pass": .string(call.pass), "options": .object(call.options), "model": .object(model), "tensors": .array(tensors)],
                pass: call.identifier)
            do throws(RecipeError) {
                return try ArtifactLayout(RecipeNode(answer, at: RecipeLocation(file: call.plugin.path)), tensors: infos)
            } catch {
                throw PluginError(plugin: call.plugin.path, pass: call.identifier, what: error.sentence)
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

extension TensorBytes {
    /// Numbers as they stand in memory.
    init(floats: [Float]) { self.init(copying: unsafe floats.span.bytes) }
    init(doubles: [Double]) { self.init(copying: unsafe doubles.span.bytes) }

    /// The numbers that the bytes are.
    fileprivate var doubles: [Double] {
        let span = bytes
        var numbers: [Double] = []
        for offset in stride(from: 0, to: count, by: 8) { numbers.append(Double(bitPattern: span.littleEndian(UInt64.self, at: offset))) }
        return numbers
    }

    init(copying bytes: RawSpan) {
        self.init(ArrayStorage(byteCount: bytes.byteCount) { target in copy(bytes, into: &target, at: 0) })
    }
}
