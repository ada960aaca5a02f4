import Formats

/// A pass that is held to what it promises.
struct PromisedPass: Pass {
    let pass: any Pass
    let identifier: String
    let promises: Promises

    func rewrite(_ graph: inout TensorGraph, in context: PassContext) throws {
        let before = graph
        try pass.rewrite(&graph, in: context)
        let touched = TouchedTensors(before, graph)
        let facts = Dictionary(before.facts.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        func check(_ names: Set<String>, _ verb: String, _ selector: Selector?) throws {
            guard let selector, let stranger = names.sorted().first(where: { !(facts[$0].map(selector.matches) ?? true) }) else { return }
            throw PipelineError.cannotApply(pass: identifier, why: "it \(verb) '\(stranger)', and says of itself that it does not")
        }
        try check(touched.written, "writes", promises.writes)
        try check(touched.read.subtracting(touched.written), "reads", promises.reads)
        guard promises.preservesFunction else { return }
        guard before.model != nil else {
            return context.report(
                .warning, "nobody checks that '\(identifier)' keeps what the model computes: its architecture is not known")
        }
        let check = FunctionCheck(pass: identifier, before: before, after: graph, made: touched.made)
        context.perform(Analysis("check that '\(identifier)' keeps what the model computes") { run in try check.perform(threadCount: run.threadCount) })
    }
}

/// What a pass did to the tensors of a graph.
struct TouchedTensors {
    /// Tensors of the graph before that are not in the one after as they were.
    var written: Set<String> = []
    /// Tensors of the graph before from which others are computed.
    var read: Set<String> = []
    /// Tensors of the graph after that are computed, or were not there before.
    var made: Set<String> = []

    init(_ before: TensorGraph, _ after: TensorGraph) {
        // Equal constants have one signature.
        let names = Dictionary(grouping: before.tensors.map(\.info.name)) { before[$0]?.signature ?? "" }
        var kept: Set<String> = []
        for tensor in after.tensors {
            if names[tensor.signature]?.contains(tensor.info.name) == true {
                kept.insert(tensor.info.name)
            } else {
                made.insert(tensor.info.name)
                note(tensor, names)
            }
        }
        written = Set(before.tensors.map(\.info.name)).subtracting(kept)
    }

    /// Notes which of the tensors before a tensor comes from.
    private mutating func note(_ tensor: LazyTensor, _ names: [String: [String]]) {
        if let found = names[tensor.signature] {
            read.formUnion(found)
        } else {
            for input in tensor.operation.inputs { note(input, names) }
        }
    }
}

extension LazyTensor {
    /// Tells a tensor from any other of its graph, whatever either is called.
    fileprivate var signature: String {
        let place = (operation as? SourceSlice).map { "\($0.index)" } ?? operation.inputs.map(\.signature).joined(separator: ", ")
        return "\(operation.summary)[\(place)] \(info.encoding.name) \(info.shape)"
    }
}
