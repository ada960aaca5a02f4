import Formats
import Models

/// A pass of a plugin: what it plans becomes lazy tensors like any other.
struct PluginPass: Pass {
    private let call: PluginCall
    private let selector: Selector
    private let paths: [String]
    private let location: RecipeLocation

    /// - Parameter options: checked against `declaration`.
    init(_ plugin: Plugin, _ declaration: Declaration, _ options: PassOptions) {
        self.location = options.location
        selector = options.selector(Declaration.matchOption.name)
        call = PluginCall(plugin, declaration, options)
        paths = declaration.options.compactMap { option in
            if case .path = option.type, options.has(option.name) { options.text(option.name) } else { nil }
        }
    }

    func rewrite(_ graph: inout TensorGraph, in context: PassContext) throws {
        let facts = graph.facts
        let places = facts.indices.filter { selector.matches(facts[$0]) }
        guard !places.isEmpty else { throw selector.matchesNothing("pass '\(call.identifier)'", in: facts) }
        context.use(call.plugin)
        for path in paths { try context.read(path) }
        let shown = places.map { graph.tensors[$0].info.described(role: facts[$0].role, layer: facts[$0].layer) }
        let answer = try call.plan(graph.describedModel, shown)
        let plan: PluginPlan
        do throws(RecipeError) {
            let infos = Dictionary(uniqueKeysWithValues: places.map { (graph.tensors[$0].info.name, graph.tensors[$0].info) })
            plan = try PluginPlan(answer, shown: infos, location: location)
        } catch {
            throw call.error(error.sentence)
        }
        if plan.steps.isEmpty {
            let roles = Set(places.compactMap { facts[$0].role }).sorted()
            let known = roles.isEmpty ? "no roles are known" : "roles are " + roles.joined(separator: ", ")
            context.report(.warning, "pass '\(call.identifier)' was shown \(places.count) tensors and takes none (\(known))")
        }
        for diagnostic in plan.diagnostics {
            context.report(diagnostic.severity, "pass '\(call.identifier)': \(printable(diagnostic.message, limit: 600))")
        }
        try apply(plan, to: &graph, Dictionary(facts.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first }))
    }

    /// Puts the outputs of every step where the first of its inputs was.
    private func apply(_ plan: PluginPlan, to graph: inout TensorGraph, _ facts: [String: TensorFacts]) throws {
        var replacements: [String: [LazyTensor]] = [:]
        let order = Dictionary(uniqueKeysWithValues: graph.tensors.enumerated().map { ($1.info.name, $0) })
        let store = PluginStep.Store()
        for step in plan.steps {
            for input in step.inputs { replacements[input] = [] }
            let first = step.inputs.min { (order[$0] ?? 0) < (order[$1] ?? 0) } ?? step.inputs[0]
            replacements[first] = try outputs(of: step, graph, facts, store)
        }
        do {
            try graph.mapTensors { tensor in replacements[tensor.info.name] ?? [tensor] }
        } catch let error as FormatError {
            throw call.error("its plan cannot be: \(error.description)")
        }
    }

    private func outputs(
        of step: PluginPlan.Step, _ graph: TensorGraph, _ facts: [String: TensorFacts], _ store: PluginStep.Store
    ) throws -> [LazyTensor] {
        let inputs = step.inputs.compactMap { graph[$0] }
        let infos = step.outputs.compactMap { output -> TensorInfo? in if case .computed(let info) = output { info } else { nil } }
        // A plugin that only renames and drops is not asked for data.
        let given = infos.isEmpty || !step.isDecoded ? inputs : try inputs.map { try $0.encoded(as: .plain(.f32)) }
        let shared = PluginStep(call, inputs: given, outputs: infos, facts: facts, store: store)
        let line = call.identifier + (step.note.map { ": " + $0 } ?? "")
        let history = inputs[0].history
        var place = -1
        return step.outputs.map { output in
            switch output {
            case .same(let name, let input):
                let tensor = inputs.first { $0.info.name == input } ?? inputs[0]
                return tensor.renamed(name).noting(line + (name == input ? "" : " (was \(input))"))
            case .computed(let info):
                place += 1
                let operation: any TensorOperation = step.isByRows
                    ? PluginRows(call: call, inputs: given, facts: facts) : PluginTensor(step: shared, place: place)
                return LazyTensor(info: info, operation: operation, history: history).noting(line)
            }
        }
    }
}

extension TensorInfo {
    /// The tensor in the words of the protocol.
    func described(role: String? = nil, layer: Int? = nil) -> JSONValue {
        var object: JSONObject = [
            "name": .string(name), "dtype": .string(encoding.name), "shape": .array(shape.map { .integer($0) }),
            "bytes": .integer(byteCount),
        ]
        if let role { object["role"] = .string(role) }
        if let layer { object["layer"] = .integer(layer) }
        return .object(object)
    }
}

extension TensorGraph {
    /// What is known of the model, in the words of the protocol.
    var describedModel: JSONObject {
        var object: JSONObject = [:]
        if let model {
            object["architecture"] = .string(model.architecture.identifier)
            object["layers"] = .integer(model.hyperparameters.layers)
        }
        if case .huggingFace(let files) = metadata { object["config"] = files.config }
        return object
    }
}
