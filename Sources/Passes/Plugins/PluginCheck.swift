import Formats
import Models
import Threads

/// A conformance suite: what a plugin does with small tensors that were made for it.
public struct PluginCheck: Sendable {
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

    /// Starts the plugin, asks every pass for plans and bytes, and ends it.
    /// - Parameter timeLimit: seconds that the plugin may take for one answer.
    public init(path: String, timeLimit: Int) throws {
        let declarations: [PassDeclaration]
        do {
            let plugin = try Plugin(path: path, timeLimit: timeLimit)
            declarations = plugin.declarations
            add(.ok, path, "describes \(plugin.name) \(plugin.version) with \(declarations.count) passes")
        } catch let error as PluginError {
            add(.failed, path, error.sentence)
            return
        }
        for declaration in declarations {
            if let missing = declaration.options.first(where: { $0.fallback == .required && $0.type.sample == nil }) {
                add(.skipped, declaration.identifier, "option '\(missing.name)' must be given, and nothing can be made up for it")
                continue
            }
            for encoding in Self.encodings {
                // A process that was ended for one mistake is started again for the next question.
                try check(declaration, Plugin(path: path, timeLimit: timeLimit), encoding)
            }
        }
    }

    /// What the synthetic weights are stored as.
    private static let encodings: [Encoding] = [.plain(.f32), .plain(.bf16), .block(.q8_0)]

    private mutating func check(_ declaration: PassDeclaration, _ plugin: Plugin, _ encoding: Encoding) throws {
        let subject = declaration.identifier
        let model = "weights in \(encoding.name)"
        do {
            var registry = PassRegistry()
            try registry.add(plugin)
            let pass = try registry.pass(for: declaration.sampleStep)
            let before = try TensorGraph(synthetic: encoding)
            let graph = try rewritten(before, by: pass)
            let again = try rewritten(before, by: pass)
            guard again.tensors.map(\.info) == graph.tensors.map(\.info), again.tensors.map(\.chain) == graph.tensors.map(\.chain) else {
                return add(.failed, subject, "\(model): plans differently when asked again; a plan must depend on what it is shown alone")
            }
            let made = graph.tensors.filter { $0.operation is PluginRows || $0.operation is PluginTensor }
            let bytes = try made.map { try $0.rows(0..<$0.info.rowCount) }
            if let complaint = try complaint(about: made, bytes) { return add(.failed, subject, "\(model): \(complaint)") }
            add(.ok, subject, "\(model): \(before.tensors.count) tensors in, \(graph.tensors.count) out, \(made.count) of them computed")
        } catch let error as PluginError {
            add(.failed, subject, "\(model): \(error.sentence)")
        } catch let error as RecipeError {
            add(.failed, subject, "\(model): \(error.what)")
        } catch let error as FormatError {
            add(.failed, subject, "\(model): \(error.description)")
        }
    }

    private func rewritten(_ graph: TensorGraph, by pass: any Pass) throws -> TensorGraph {
        var graph = graph
        try pass.rewrite(&graph, in: PassContext(onFallback: .error))
        return graph
    }

    /// What is wrong with tensors whose bytes were computed once already; `nil` for nothing.
    private func complaint(about tensors: [LazyTensor], _ bytes: [TensorBytes]) throws -> String? {
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
    private func computedTogether(_ tensors: [LazyTensor]) throws -> [TensorBytes] {
        let results = ordered(count: tensors.count, threadCount: 4) { index in
            Result { try tensors[index].rows(0..<tensors[index].info.rowCount) }
        }
        return try results.map { try $0.get() }
    }

    private mutating func add(_ verdict: Finding.Verdict, _ subject: String, _ what: String) {
        findings.append(Finding(verdict: verdict, subject: subject, what: what))
    }
}

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
        case .text, .path, .selector, .rules: nil
        case .list(let element): element.sample.map { .sequence([RecipeNode($0, at: RecipeLocation(file: "--check"))]) }
        }
    }
}

extension PassDeclaration {
    /// A step of a recipe that says only what it must.
    fileprivate var sampleStep: RecipeStep {
        let location = RecipeLocation(file: "--check")
        let entries = options.compactMap { option -> RecipeNode.Entry? in
            guard option.fallback == .required, let sample = option.type.sample else { return nil }
            return RecipeNode.Entry(key: option.name, keyLocation: location, value: RecipeNode(sample, at: location))
        }
        return RecipeStep(
            id: nil, use: identifier, useLocation: location, options: entries.isEmpty ? nil : RecipeNode(.mapping(entries), at: location))
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
            let tensor = LazyTensor(info: info, operation: Constant(bytes: TensorBytes(bytes), summary: "synthetic"))
            return shape.count == 1 ? tensor : try tensor.encoded(as: encoding)
        }
        let architecture = try ArchitectureLibrary.builtIn.architecture(forConfig: .object(config))
        let model = try ModelDescription(config: .object(config), architecture: architecture)
        try self.init(tensors: tensors, metadata: .huggingFace(HuggingFaceFiles(config: .object(config))), model: model)
    }
}
