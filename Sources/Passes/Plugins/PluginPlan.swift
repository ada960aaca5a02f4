import Formats

/// A plugin's answer to *plan*, checked against the tensors it was shown.
struct PluginPlan {
    /// Some tensors that go in, and those that take their place.
    struct Step {
        var inputs: [String]
        var outputs: [Output]
        /// Whether a row of the output needs only that row of the inputs.
        var isByRows: Bool
        /// Whether the plugin is given the inputs as F32.
        var isDecoded: Bool
        var note: String?
    }

    enum Output {
        /// Computed by the plugin.
        case computed(TensorInfo)
        /// An input under a name of its own.
        case same(name: String, input: String)
    }

    var steps: [Step] = []
    var diagnostics: [Diagnostic] = []

    /// - Parameter shown: the tensors that the plugin was told of.
    /// - Throws: `RecipeError` whose sentence says what is wrong.
    init(_ answer: JSONValue, shown: [String: TensorInfo], location: RecipeLocation) throws(RecipeError) {
        let node = RecipeNode(answer, at: location)
        _ = try node.mapping("the plan", keys: ["id", "steps", "diagnostics"])
        var taken: Set<String> = []
        for (number, node) in try node.required("steps", in: "the plan").sequence("'steps'").enumerated() {
            let step = try Step(node, what: "step \(number + 1) of the plan", shown: shown)
            for input in step.inputs where !taken.insert(input).inserted {
                throw RecipeError("step \(number + 1) of the plan takes '\(input)', which is taken already", at: location)
            }
            steps.append(step)
        }
        for node in try node["diagnostics"]?.sequence("'diagnostics'") ?? [] {
            _ = try node.mapping("a diagnostic", keys: ["severity", "message"])
            let severity = try node.required("severity", in: "a diagnostic").choice("'severity'", of: ["note", "warning"])
            let message = try node.required("message", in: "a diagnostic").text("'message'")
            diagnostics.append(Diagnostic(severity == "note" ? .note : .warning, message))
        }
    }
}

extension PluginPlan.Step {
    fileprivate init(_ node: RecipeNode, what: String, shown: [String: TensorInfo]) throws(RecipeError) {
        _ = try node.mapping(what, keys: ["inputs", "outputs", "rows", "decoded", "note"])
        inputs = []
        for input in try node.required("inputs", in: what).sequence("'inputs' of \(what)") {
            let name = try input.text("an input of \(what)")
            guard shown[name] != nil else {
                throw RecipeError(
                    "\(what) takes '\(name)', which is none of the tensors it was shown", at: node.location, word: name,
                    known: shown.keys.sorted())
            }
            inputs.append(name)
        }
        guard !inputs.isEmpty else { throw RecipeError("\(what) has no inputs", at: node.location) }
        outputs = []
        for output in try node.required("outputs", in: what).sequence("'outputs' of \(what)") {
            outputs.append(try PluginPlan.Output(output, what: "an output of \(what)", inputs: inputs))
        }
        isByRows = try node["rows"]?.boolean("'rows' of \(what)") ?? false
        isDecoded = try node["decoded"]?.boolean("'decoded' of \(what)") ?? false
        note = try node["note"]?.text("'note' of \(what)")
        if isByRows { try checkRows(what, shown, at: node.location) }
    }

    /// A step by rows has one computed output, with as many rows as every input, all of whole bytes.
    private func checkRows(_ what: String, _ shown: [String: TensorInfo], at location: RecipeLocation) throws(RecipeError) {
        var computed: [TensorInfo] = []
        for case .computed(let info) in outputs { computed.append(info) }
        guard computed.count == 1 else {
            throw RecipeError("\(what) is by rows and computes \(computed.count) outputs, expected one", at: location)
        }
        let output = computed[0]
        for input in inputs.compactMap({ shown[$0] }) where input.rowCount != output.rowCount {
            throw RecipeError(
                "\(what) is by rows, and '\(output.name)' has \(output.rowCount) rows where '\(input.name)' has \(input.rowCount)",
                at: location)
        }
        for info in inputs.compactMap({ shown[$0] }) + [output] where info.rowByteCount == nil {
            throw RecipeError("\(what) is by rows, and a row of '\(info.name)' is no whole number of bytes", at: location)
        }
    }
}

extension PluginPlan.Output {
    fileprivate init(_ node: RecipeNode, what: String, inputs: [String]) throws(RecipeError) {
        _ = try node.mapping(what, keys: ["name", "dtype", "shape", "from"])
        let name = try node.required("name", in: what).text("'name' of \(what)")
        if let from = node["from"] {
            guard node["dtype"] == nil, node["shape"] == nil else {
                throw RecipeError("\(what) has 'from' and so neither 'dtype' nor 'shape'", at: node.location)
            }
            let input = try from.text("'from' of \(what)")
            guard inputs.contains(input) else {
                throw RecipeError("\(what) is from '\(input)', which is no input of the step", at: node.location, word: input, known: inputs)
            }
            self = .same(name: name, input: input)
            return
        }
        let encoding = try node.required("dtype", in: what).encoding("'dtype' of \(what)")
        var shape: [Int] = []
        for dimension in try node.required("shape", in: what).sequence("'shape' of \(what)") {
            shape.append(try dimension.integer("a dimension of \(what)", in: 0...Int.max))
        }
        do throws(FormatError) {
            self = .computed(try TensorInfo(name: name, encoding: encoding, shape: shape))
        } catch {
            throw RecipeError("\(what) cannot be: \(error.description)", at: node.location)
        }
    }
}
