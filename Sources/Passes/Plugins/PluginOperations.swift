import Formats
import Synchronization

/// A pass of a plugin, or a thing of another kind, with its options: everything an *apply* says beside the tensors.
struct PluginCall: Sendable {
    let plugin: Plugin
    /// The pass's name inside the plugin.
    let pass: String
    /// The pass's name in recipes.
    let identifier: String
    let options: JSONObject
    /// What it is, in messages: `pass`.
    let kind: String

    /// - Parameter options: checked against `declaration`.
    init(_ plugin: Plugin, _ declaration: Declaration, _ options: PassOptions, kind: String = "pass") {
        self.plugin = plugin
        self.kind = kind
        identifier = declaration.identifier
        pass = String(declaration.identifier.dropFirst(plugin.name.count + 1))
        var object = JSONObject()
        for option in declaration.options where option.name != Declaration.matchOption.name {
            object[option.name] = options.json(option.name)
        }
        self.options = object
    }

    /// Two calls of equal summaries do the same: the plugin's file is part of it.
    var summary: String {
        let digest = plugin.digest.description.prefix(16)
        return "\(identifier) \(JSONValue.object(options).text()) (\(plugin.name) \(plugin.version), \(digest))"
    }

    /// The bytes of some outputs.
    func apply(
        inputs: [(info: JSONValue, bytes: TensorBytes)], outputs: [(info: JSONValue, byteCount: Int)], rows: Range<Int>?, tensor: String
    ) throws -> [TensorBytes] {
        var question: JSONObject = [
            "pass": .string(pass), "options": .object(options), "inputs": .array(inputs.map(\.info)),
            "outputs": .array(outputs.map(\.info)),
        ]
        if let rows { question["rows"] = [.integer(rows.lowerBound), .integer(rows.upperBound)] }
        return try naming {
            try plugin.door.apply(question, pass: identifier, tensor: tensor, inputs: inputs.map(\.bytes), byteCounts: outputs.map(\.byteCount))
        }
    }

    /// What it plans for some tensors.
    func plan(_ model: JSONObject, _ tensors: [JSONValue]) throws -> JSONValue {
        try naming {
            try plugin.door.plan(
                ["pass": .string(pass), "options": .object(options), "model": .object(model), "tensors": .array(tensors)], pass: identifier)
        }
    }

    /// An error over this.
    func error(_ what: String) -> PluginError {
        var error = PluginError(plugin: plugin.path, pass: identifier, what: what)
        error.kind = kind
        return error
    }

    private func naming<Result>(_ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch var error as PluginError {
            error.kind = kind
            throw error
        }
    }
}

extension LazyTensor {
    /// What of a plugin had a part in the tensor last, for messages.
    var madeByPlugin: String? {
        let call = (operation as? PluginRows)?.call ?? (operation as? PluginTensor)?.step.call
        guard let call else { return operation.inputs.lazy.compactMap(\.madeByPlugin).first }
        return "pass '\(call.identifier)' of plugin \(call.plugin.path), which made '\(info.name)' of it"
    }
}

/// Rows that a plugin computes from the same rows of its inputs.
struct PluginRows: TensorOperation {
    let call: PluginCall
    let inputs: [LazyTensor]
    /// What is known of the inputs, by name.
    let facts: [String: TensorFacts]

    var summary: String { call.summary }

    func rows(_ range: Range<Int>, of info: TensorInfo) throws -> TensorBytes {
        let given = try inputs.map { (info: try $0.info.part(range, facts), bytes: try $0.rows(range)) }
        let wanted = (info: try info.part(range, facts), byteCount: range.count * (info.rowByteCount ?? 0))
        return try call.apply(inputs: given, outputs: [wanted], rows: range, tensor: info.name)[0]
    }
}

extension TensorInfo {
    /// Some rows as a matrix of its own, in the words of the protocol.
    fileprivate func part(_ rows: Range<Int>, _ facts: [String: TensorFacts]) throws(FormatError) -> JSONValue {
        try TensorInfo(name: name, encoding: encoding, shape: [rows.count, columnCount]).described(facts[name])
    }

    /// The tensor in the words of the protocol, with what is known of it.
    func described(_ facts: TensorFacts?) -> JSONValue { described(role: facts?.role, layer: facts?.layer) }
}

/// One of the tensors that a step computes as a whole.
struct PluginTensor: TensorOperation {
    let step: PluginStep
    /// Which of the step's outputs.
    let place: Int

    var summary: String { step.call.summary + " -> \(step.outputs[place].name)" }
    var inputs: [LazyTensor] { step.inputs }

    func rows(_ range: Range<Int>, of info: TensorInfo) throws -> TensorBytes {
        let whole = try step.bytes(ofOutput: place, rowCount: range.count)
        guard let rowByteCount = info.rowByteCount else { return whole }
        return whole[range.lowerBound * rowByteCount..<range.upperBound * rowByteCount]
    }
}

/// A step of a plugin that needs its inputs whole: asked for once, and kept until every row was taken.
final class PluginStep: Sendable {
    let call: PluginCall
    let inputs: [LazyTensor]
    let outputs: [TensorInfo]
    /// What is known of the inputs, by name.
    private let facts: [String: TensorFacts]
    private let store: Store
    private let memory = Mutex(Memory())

    private struct Memory {
        var results: Once<[TensorBytes]>?
        var takenRowCount = 0
    }

    /// The steps whose results are in memory: a few, so that a look at all of a model's tensors does not keep them all.
    final class Store: Sendable {
        /// A step that its tensors hold, and so the plugin; held here too, neither would ever end.
        private struct Open { weak var step: PluginStep? }

        private let open = Mutex<[Open]>([])

        /// Marks a step as used now, and lets go of the one that was not for longest.
        fileprivate func touch(_ step: PluginStep) {
            let dropped: PluginStep? = open.withLock { open in
                if open.last?.step === step { return nil }
                open.removeAll { $0.step === step || $0.step == nil }
                open.append(Open(step: step))
                return open.count > 4 ? open.removeFirst().step : nil
            }
            dropped?.memory.withLock { $0 = Memory() }
        }

        fileprivate func close(_ step: PluginStep) { open.withLock { $0.removeAll { $0.step === step } } }
    }

    init(_ call: PluginCall, inputs: [LazyTensor], outputs: [TensorInfo], facts: [String: TensorFacts], store: Store) {
        (self.call, self.inputs, self.outputs, self.facts, self.store) = (call, inputs, outputs, facts, store)
    }

    /// Bytes that are in memory while the step is computed.
    var byteCount: Int { inputs.reduce(0) { $0 + $1.info.byteCount } + outputs.reduce(0) { $0 + $1.byteCount } }

    /// All bytes of an output.
    /// - Parameter rowCount: how many of its rows the caller takes.
    func bytes(ofOutput place: Int, rowCount: Int) throws -> TensorBytes {
        store.touch(self)
        let once = memory.withLock { memory in
            let once = memory.results ?? Once()
            memory.results = once
            return once
        }
        let results = try once.value { try compute(for: outputs[place].name) }
        let isDone = memory.withLock { memory in
            memory.takenRowCount += rowCount
            guard memory.takenRowCount >= outputs.reduce(0, { $0 + $1.rowCount }) else { return false }
            memory = Memory()
            return true
        }
        if isDone { store.close(self) }
        return results[place]
    }

    private func compute(for tensor: String) throws -> [TensorBytes] {
        let given = try inputs.map { (info: $0.info.described(facts[$0.info.name]), bytes: try $0.rows(0..<$0.info.rowCount)) }
        return try call.apply(
            inputs: given, outputs: outputs.map { ($0.described(facts[$0.name]), $0.byteCount) }, rows: nil, tensor: tensor)
    }
}
