import Formats
import LinearAlgebra
import Models
import Threads

/// A conformance suite: what passes, and things of other kinds, do with small tensors that were made for them.
public struct ConformanceCheck: Sendable {
    /// What was found of a pass, in words its author can act on.
    public struct Finding: Sendable, Equatable {
        public enum Verdict: String, Sendable { case ok, failed, skipped }
        public var verdict: Verdict
        /// The pass, or the plugin's path where no pass is meant.
        public var subject: String
        public var what: String
    }

    /// Everything that was looked at, in order.
    public private(set) var findings: [Finding] = []

    /// Whether nothing failed.
    public var isSound: Bool { findings.allSatisfy { $0.verdict != .failed } }

    private let report: @Sendable (Finding) -> Void

    /// Starts a plugin, asks everything it has for plans and bytes, and ends it.
    /// - Parameters:
    ///   - timeLimit: seconds that the plugin may take for one answer.
    ///   - hear: is given each line that the plugin writes to standard error.
    ///   - report: is given each finding when it is made.
    public init(
        plugin path: String, timeLimit: Int, hear: @escaping @Sendable (String) -> Void = { _ in },
        report: @escaping @Sendable (Finding) -> Void = { _ in }
    ) throws {
        self.report = report
        let contents: PluginDescription
        do {
            contents = try Plugin(path: path, timeLimit: timeLimit, hear: hear).contents
            add(.ok, path, "describes \(contents.name) \(contents.version) with \(contents.summary)")
        } catch let error as PluginError {
            add(.failed, path, error.sentence)
            return
        }
        // A process that was ended for one mistake is started again for the next question.
        let registry = {
            var registry = Registry.builtIn
            try registry.add(try Plugin(path: path, timeLimit: timeLimit, hear: hear))
            return registry
        }
        for declaration in contents.passes { try check(declaration) { try registry() } }
        for (declaration, _) in contents.roundings { try check(rounding: declaration) { try registry() } }
        for (declaration, _) in contents.metrics { try check(metric: declaration) { try registry() } }
        for (declaration, facts) in contents.statistics { try check(statistic: declaration, facts) { try registry() } }
        for (declaration, _, _) in contents.types { try check(type: declaration) { try registry() } }
        for declaration in contents.exporters { try check(exporter: declaration) { try registry() } }
    }

    /// Tries one pass.
    /// - Parameter report: is given each finding when it is made.
    public init(pass declaration: Declaration, of registry: Registry, report: @escaping @Sendable (Finding) -> Void = { _ in }) throws {
        self.report = report
        try check(declaration) { registry }
    }

    /// What the synthetic weights are stored as.
    private static let encodings: [Encoding] = [.plain(.f32), .plain(.bf16), .block(.q8_0)]

    private mutating func check(_ declaration: Declaration, _ registry: () throws -> Registry) throws {
        guard let options = sampleOptions(of: declaration) else { return }
        let step = RecipeStep(id: nil, use: declaration.identifier, useLocation: sampleLocation, options: options)
        for encoding in Self.encodings {
            try attempt(declaration.identifier, with: "weights in \(encoding.name)") {
                let registry = try registry()
                let pass = PromisedPass(
                    pass: try registry.passes.make(step.use, step.options, at: step.useLocation), identifier: step.use,
                    promises: declaration.promises)
                let before = try TensorGraph(synthetic: encoding)
                let inputs = try before.tensors.map { Digest(of: try $0.rows(0..<$0.info.rowCount)) }
                let graph = try Self.rewritten(before, by: pass)
                let again = try Self.rewritten(before, by: pass)
                guard again.tensors.map(\.info) == graph.tensors.map(\.info), again.tensors.map(\.chain) == graph.tensors.map(\.chain) else {
                    throw Complaint("plans differently when asked again; a plan must depend on what it is shown alone")
                }
                if declaration.promises.preservesFunction {
                    try FunctionCheck(
                        pass: declaration.identifier, before: before, after: graph, made: TouchedTensors(before, graph).made
                    ).perform(threadCount: 1)
                }
                let untouched = Set(before.tensors.map(\.chain))
                let made = graph.tensors.filter { !untouched.contains($0.chain) }
                // Of ours it is known for which models they do nothing.
                guard Registry.builtIn.passes[declaration.identifier] != nil || !TouchedTensors(before, graph).written.isEmpty else {
                    let roles = Set(before.facts.compactMap(\.role)).sorted().joined(separator: ", ")
                    throw NothingTried("it was shown \(before.tensors.count) tensors and takes none; roles are \(roles)")
                }
                let bytes = try made.map { try $0.rows(0..<$0.info.rowCount) }
                for (tensor, digest) in zip(before.tensors, inputs) where try Digest(of: tensor.rows(0..<tensor.info.rowCount)) != digest {
                    throw Complaint("writes into its input '\(tensor.info.name)'; inputs may be read only")
                }
                try Self.judge(made, bytes)
                return "\(before.tensors.count) tensors in, \(graph.tensors.count) out, \(made.count) of them computed"
            }
        }
    }

    private mutating func check(rounding declaration: Declaration, _ registry: () throws -> Registry) throws {
        guard let options = sampleOptions(of: declaration) else { return }
        for type in [GGMLType.q8_0, .q4_0, .f16] {
            try attempt(declaration.identifier, with: "weights to \(type.name)") {
                let method = try registry().roundings.make(declaration.identifier, options, at: sampleLocation)
                guard method.rounds(to: type) else { return "not one of its types" }
                let tensor = try TensorGraph(synthetic: .plain(.f32))["model.layers.0.mlp.up_proj.weight"]!
                if method.isCalibrated {
                    let weights = Matrix(
                        rowCount: tensor.info.rowCount, columnCount: tensor.info.columnCount,
                        elements: try decodedRows(0..<tensor.info.rowCount, of: tensor))
                    let rows = RowsToRound(tensor: tensor.info.name, weights: weights, type: type, moments: .identity(weights.columnCount))
                    let info = try TensorInfo(name: tensor.info.name, encoding: Encoding(type), shape: tensor.info.shape)
                    let bytes = try method.round(rows)
                    guard bytes.count == rows.byteCount else { throw Complaint("gives \(bytes.count) bytes, expected \(rows.byteCount)") }
                    guard isEqual(try method.round(rows), bytes) else { throw Complaint("gives other bytes when it is asked again") }
                    try Self.judge([LazyTensor(info: info, operation: Constant(bytes: bytes, summary: "rounded"))], [bytes])
                } else {
                    let rounded = try method.rounded(tensor, to: type, importance: nil)
                    try Self.judge([rounded], [try rounded.rows(0..<rounded.info.rowCount)])
                }
                return "\(tensor.info.rowCount) rows of \(tensor.info.columnCount)"
            }
        }
    }

    private mutating func check(metric declaration: Declaration, _ registry: () throws -> Registry) throws {
        guard let options = sampleOptions(of: declaration) else { return }
        try attempt(declaration.identifier, with: "random logits") {
            let metric = try registry().metrics.make(declaration.identifier, options, at: sampleLocation)
            let (rows, vocabulary) = (5, 64)
            let numbers = try decodedRows(0..<10, of: TensorGraph(synthetic: .plain(.f32))["model.embed_tokens.weight"]!)
            func scores(_ range: Range<Int>) throws -> [Double] {
                func part(_ start: Int) -> [Float] { Array(numbers[(start + range.lowerBound) * vocabulary..<(start + range.upperBound) * vocabulary]) }
                return try metric.scores(
                    of: JudgedRows(
                        next: range.map { $0 * 7 }, vocabulary: vocabulary, logits: part(0),
                        referenceLogits: metric.needsReference ? part(rows) : nil))
            }
            let all = try scores(0..<rows)
            guard try scores(0..<rows) == all else { throw Complaint("gives other numbers when it is asked again") }
            guard try scores(0..<1) + scores(1..<rows) == all else { throw Complaint("gives a row another number beside other rows") }
            guard all.allSatisfy(\.isFinite) else { throw Complaint("gives numbers that are not finite for logits that are") }
            return "\(rows) rows of \(vocabulary)"
        }
    }

    private mutating func check(statistic declaration: Declaration, _ facts: PluginStatistic.Facts, _ registry: () throws -> Registry) throws {
        try attempt(declaration.identifier, with: "random rows") {
            guard let statistic = try registry().statistic(declaration.identifier) as? PluginStatistic else { return "not a plugin's" }
            let columnCount = 64
            let rows = try decodedRows(0..<10, of: TensorGraph(synthetic: .plain(.f32))["model.embed_tokens.weight"]!)
            let all = try statistic.numbers(of: rows, columnCount: columnCount)
            guard try statistic.numbers(of: rows, columnCount: columnCount) == all else { throw Complaint("gives other numbers when it is asked again") }
            let parts = try [rows.prefix(4 * columnCount), rows.dropFirst(4 * columnCount)].map { try statistic.numbers(of: Array($0), columnCount: columnCount) }
            for (together, apart) in zip(all, zip(parts[0], parts[1]).map { facts.keepsLargest ? max($0, $1) : $0 + $1 }) {
                // Sums of a few numbers, in whatever precision the plugin has beyond single.
                guard abs(together - apart) <= 1e-5 * max(1, abs(together)) else {
                    throw Complaint("gives \(together) for ten rows, and \(apart) for four of them and the other six")
                }
            }
            return "10 rows of \(columnCount)"
        }
    }

    private mutating func check(type declaration: Declaration, _ registry: () throws -> Registry) throws {
        try attempt(declaration.identifier, with: "random blocks") {
            guard case .custom(let type)? = try registry().types[declaration.identifier] else { return "not there" }
            let count = 8 * type.blockSize
            let numbers = try floats(of: TensorGraph(synthetic: .plain(.f32))["model.layers.0.mlp.up_proj.weight"]!)
            let info = try TensorInfo(name: "numbers", encoding: .plain(.f32), shape: [8, type.blockSize])
            let values = (0..<count).map { numbers[$0 % numbers.count] }
            let encoded = try LazyTensor(info: info, operation: Constant(bytes: TensorBytes(floats: values), summary: "numbers")).encoded(as: .custom(type))
            try Self.judge([encoded], [try encoded.rows(0..<8)])
            let decoded = try decodedRows(0..<8, of: encoded)
            let error = zip(values, decoded).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
            let whole = values.reduce(0) { $0 + $1 * $1 }
            guard error < whole else { throw Complaint("decodes what it encodes to numbers that are no nearer to the original than zeros") }
            return "8 blocks of \(type.blockSize), relative error \((error / whole).squareRoot())"
        }
    }

    private mutating func check(exporter declaration: Declaration, _ registry: () throws -> Registry) throws {
        guard let options = sampleOptions(of: declaration) else { return }
        for encoding in Self.encodings {
            try attempt(declaration.identifier, with: "weights in \(encoding.name)") {
                let exporter = try registry().exporters.make(declaration.identifier, options, at: sampleLocation)
                let output = Output(path: "model", exporter: (declaration.identifier, exporter))
                let context = ExportContext(architectures: .builtIn, passes: PassContext(onFallback: .error))
                let model = try exporter.export(TensorGraph(synthetic: encoding), to: output, in: context)
                func headers() throws -> [Digest] { try model.layout([("resq.version", toolVersion)]).files.map { Digest(of: $0.header) } }
                guard try headers() == headers() else { throw Complaint("lays the model out otherwise when asked again") }
                let layout = try model.layout([])
                return "\(model.tensors.count) tensors in \(layout.files.count) files of \(layout.byteCount) bytes"
            }
        }
    }

    /// What is wrong, when the thing is to blame.
    private struct Complaint: Error {
        var what: String
        init(_ what: String) { self.what = what }
    }

    /// Why there was nothing to judge.
    private struct NothingTried: Error {
        var why: String
        init(_ why: String) { self.why = why }
    }

    /// Tries something and notes what came of it.
    private mutating func attempt(_ subject: String, with what: String, _ body: () throws -> String) throws {
        do {
            add(.ok, subject, "\(what): \(try body())")
        } catch let nothing as NothingTried {
            add(.skipped, subject, "\(what): \(nothing.why)")
        } catch let error as Complaint {
            add(.failed, subject, "\(what): \(error.what)")
        } catch let error as PluginError {
            add(.failed, subject, "\(what): \(error.sentence)")
        } catch let error as RecipeError {
            add(.failed, subject, "\(what): \(error.what)")
        } catch let error as any Error & CustomStringConvertible {
            // Ours, of whatever does not go with what the pass made: a model that no longer runs, say.
            add(.failed, subject, "\(what): \(error.description)")
        }
    }

    /// Options that say only what they must; notes that nothing can be tried where there are none.
    private mutating func sampleOptions(of declaration: Declaration) -> RecipeNode? {
        var entries: [RecipeNode.Entry] = []
        for option in declaration.options where option.fallback == .required {
            guard let sample = option.type.sample else {
                add(.skipped, declaration.identifier, "option '\(option.name)' must be given, and nothing can be made up for it")
                return nil
            }
            entries.append(RecipeNode.Entry(key: option.name, keyLocation: sampleLocation, value: RecipeNode(sample, at: sampleLocation)))
        }
        return RecipeNode(.mapping(entries), at: sampleLocation)
    }

    private static func rewritten(_ graph: TensorGraph, by pass: any Pass) throws -> TensorGraph {
        var graph = graph
        try pass.rewrite(&graph, in: PassContext(onFallback: .error))
        return graph
    }

    /// - Throws: what is wrong with tensors whose bytes were computed once already.
    private static func judge(_ tensors: [LazyTensor], _ bytes: [TensorBytes]) throws {
        if let what = try complaint(about: tensors, bytes) { throw Complaint(what) }
    }

    /// What is wrong with tensors whose bytes were computed once already; `nil` for nothing.
    private static func complaint(about tensors: [LazyTensor], _ bytes: [TensorBytes]) throws -> String? {
        for (tensor, first) in zip(tensors, bytes) {
            let name = tensor.info.name
            guard try isEqual(tensor.rows(0..<tensor.info.rowCount), first) else {
                return "tensor '\(name)' has other bytes when it is asked for again; 'apply' must depend on its inputs and options alone"
            }
            guard let rowByteCount = tensor.info.rowByteCount, tensor.info.rowCount > 1 else { continue }
            for rows in [0..<1, 1..<tensor.info.rowCount] {
                let part = first[rows.lowerBound * rowByteCount..<rows.upperBound * rowByteCount]
                guard try isEqual(tensor.rows(rows), part) else {
                    return "rows \(rows.lowerBound) to \(rows.upperBound - 1) of tensor '\(name)' differ from those of the whole; "
                        + "a step with 'rows' must compute every row from the same row of its inputs"
                }
            }
        }
        for (tensor, (found, first)) in zip(tensors, zip(try computedTogether(tensors), bytes)) where !isEqual(found, first) {
            return "tensor '\(tensor.info.name)' has other bytes when several tensors are asked for at once; answers may have got the wrong 'id'"
        }
        for (tensor, bytes) in zip(tensors, bytes) where Codec.canDecode(tensor.info.encoding) {
            let values = try decoded(bytes, 0..<tensor.info.rowCount, of: tensor.info)
            if let place = values.firstIndex(where: { !$0.isFinite }) {
                return "element \(place) of tensor '\(tensor.info.name)' is no finite number, though all inputs are; later passes will refuse it"
            }
        }
        return nil
    }

    /// The tensors, asked for by four threads.
    private static func computedTogether(_ tensors: [LazyTensor]) throws -> [TensorBytes] {
        let results = ordered(count: tensors.count, threadCount: 4) { index in
            Result { try tensors[index].rows(0..<tensors[index].info.rowCount) }
        }
        return try results.map { try $0.get() }
    }

    private mutating func add(_ verdict: Finding.Verdict, _ subject: String, _ what: String) {
        let finding = Finding(verdict: verdict, subject: subject, what: what)
        findings.append(finding)
        report(finding)
    }
}

/// Where options that nobody wrote stand.
private let sampleLocation = RecipeLocation(file: "--check")

private func isEqual(_ a: TensorBytes, _ b: TensorBytes) -> Bool { Digest(of: a) == Digest(of: b) }

extension PluginError {
    /// The description without the plugin and the pass.
    fileprivate var sentence: String {
        var copy = self
        copy.pass = nil
        return String(copy.description.dropFirst("plugin \(printable(plugin)): ".count))
    }
}

extension OptionType {
    /// A value to try the option with, or `nil` where none can be made up.
    fileprivate var sample: RecipeNode.Value? {
        switch self {
        case .boolean: .boolean(true)
        case .integer(let range): .integer(min(max(1, range.lowerBound), range.upperBound))
        case .number(let range): .number(min(max(1, range.lowerBound), range.upperBound))
        case .choice(let choices): choices.first.map { .text($0) }
        case .encoding: .text("f16")
        case .text, .path, .selector, .rules, .rounding: nil
        case .list(let element): element.sample.map { .sequence([RecipeNode($0, at: sampleLocation)]) }
        }
    }
}

extension TensorGraph {
    /// A Llama of two layers whose weights, stored as `encoding`, are between -1 and 1 and a few exact zeros; norms are F32.
    fileprivate init(synthetic encoding: Encoding) throws {
        let (hidden, wide, vocabulary) = (64, 96, 10)
        let config: JSONObject = [
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": .integer(hidden),
            "intermediate_size": .integer(wide), "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "vocab_size": .integer(vocabulary), "rms_norm_eps": 1e-5, "max_position_embeddings": 128, "rope_theta": 10000.0,
            "tie_word_embeddings": false,
        ]
        var shapes: [(String, [Int])] = [("model.embed_tokens.weight", [vocabulary, hidden])]
        for layer in 0..<2 {
            let prefix = "model.layers.\(layer)."
            shapes += [
                (prefix + "input_layernorm.weight", [hidden]), (prefix + "self_attn.q_proj.weight", [hidden, hidden]),
                (prefix + "self_attn.k_proj.weight", [hidden / 2, hidden]), (prefix + "self_attn.v_proj.weight", [hidden / 2, hidden]),
                (prefix + "self_attn.o_proj.weight", [hidden, hidden]), (prefix + "post_attention_layernorm.weight", [hidden]),
                (prefix + "mlp.gate_proj.weight", [wide, hidden]), (prefix + "mlp.up_proj.weight", [wide, hidden]),
                (prefix + "mlp.down_proj.weight", [hidden, wide]),
            ]
        }
        shapes += [("model.norm.weight", [hidden]), ("lm_head.weight", [vocabulary, hidden])]
        var state: UInt64 = 1
        let tensors = try shapes.map { name, shape in
            let info = try TensorInfo(name: name, encoding: .plain(.f32), shape: shape)
            var bytes: [UInt8] = []
            for element in 0..<info.elementCount {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                let value = element % 29 == 0 ? 0 : Float(Int64(bitPattern: state) >> 40) / Float(1 << 23)
                bytes += (0..<4).map { UInt8(truncatingIfNeeded: value.bitPattern >> (8 * $0)) }
            }
            let tensor = LazyTensor(info: info, operation: Constant(bytes: TensorBytes(bytes), summary: "synthetic \(name)"))
            return shape.count == 1 ? tensor : try tensor.encoded(as: encoding)
        }
        let architecture = try ArchitectureLibrary.builtIn.architecture(forConfig: .object(config))
        let model = try ModelDescription(config: .object(config), architecture: architecture)
        try self.init(tensors: tensors, metadata: .huggingFace(HuggingFaceFiles(config: .object(config))), model: model)
    }
}
