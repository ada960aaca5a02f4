import ArgumentParser
import Formats
import Foundation
import Models
import Passes

extension EvaluationProtocol: ExpressibleByArgument {}

struct EvalCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "eval",
        abstract: "Measures how well a model predicts a text or answers questions, and how far it is from a reference.",
        discussion: """
            Protocols: 'hf' cuts the text into windows side by side and judges every token of a window but the first; 'llama.cpp' \
            begins each window with BOS where the model wants one and judges the tokens of its second half.

            A task file has a JSON object per line: "context" and "choices" are texts, "label" is the number of the right choice, \
            from 0. A choice follows its context as it stands.
            """)

    @Argument(help: ArgumentHelp("A model file or directory.", valueName: "model"))
    var path: String

    @Option(help: ArgumentHelp("A UTF-8 text to predict. May be repeated; files are joined by an empty line.", valueName: "file"))
    var text: [String] = []

    @Option(help: ArgumentHelp("Token ids instead of a text: .npy or safetensors.", valueName: "file"))
    var tokens: String?

    @Option(help: ArgumentHelp("Multiple-choice questions, JSON lines.", valueName: "file.jsonl"))
    var tasks: String?

    @Option(help: ArgumentHelp("The model to compare with, token by token, or its logits as --save-logits kept them.", valueName: "model"))
    var reference: String?

    @Option(help: ArgumentHelp(
        "Keep the reference's logits (without --reference: the model's) in a file, which later runs take as --reference.", valueName: "file"))
    var saveLogits: String?

    @Option(name: .customLong("protocol"), help: "How windows are cut and which tokens count: hf or llama.cpp (default: hf, or that of saved logits).")
    var protocolName: EvaluationProtocol?

    @Option(help: ArgumentHelp(
        "Tokens of a window (default: that of saved logits; or 2048 for hf, 512 for llama.cpp, at most the model's context).", valueName: "n"))
    var context: Int?

    @Option(help: ArgumentHelp("The most windows.", valueName: "n"))
    var windows: Int?

    @Option(
        name: .customLong("metric"),
        help: ArgumentHelp(
            "Report this metric; one with options is written {use: NAME, with: {OPTION: VALUE}}. May be repeated (default: all built-in ones that apply).",
            valueName: "metric"))
    var metricNames: [String] = []

    @Option(name: .customLong("work"), help: ArgumentHelp("Keep finished windows and items here and go on from them.", valueName: "folder"))
    var workFolder: String?

    @Option(help: ArgumentHelp("Decoded weights that may stay in memory (default 768MiB).", valueName: "size"))
    var memory: ByteSize?

    @Flag(help: "Print JSON.")
    var json = false

    @OptionGroup var rounding: RoundingOptions
    @OptionGroup var adapters: AdapterOptions
    @OptionGroup var work: WorkOptions
    @OptionGroup var model: ModelOptions

    func validate() throws {
        if !text.isEmpty && tokens != nil { throw ValidationError("--text and --tokens exclude each other") }
        if text.isEmpty && tokens == nil && tasks == nil { throw ValidationError("nothing to evaluate on: give --text, --tokens or --tasks") }
        if text.isEmpty && tokens == nil && (reference != nil || saveLogits != nil) {
            throw ValidationError("\(reference != nil ? "--reference" : "--save-logits") needs --text or --tokens")
        }
        if text.isEmpty && tokens == nil && !metricNames.isEmpty { throw ValidationError("--metric needs --text or --tokens") }
        if let windows, windows < 1 { throw ValidationError("--windows takes a number above zero") }
        if let context, context < 2 { throw ValidationError("--context takes a number from 2 on") }
    }

    func run() throws { try naming(path) { try evaluate() } }

    private func evaluate() throws {
        let gauge = MemoryGauge()
        let known = try model.known(isQuiet: work.quiet)
        let metrics = try metrics(known.registry)
        let subject = try OpenedModel(path, known).rounding(rounding).adding(adapters.lora)
        let other = try reference.map { try OpenedReference($0, known) }
        if saveLogits != nil, case .saved? = other { throw ValidationError("--save-logits: these logits are saved already") }
        let (progress, finish) = ProgressBar.progress(isQuiet: work.quiet) { gauge.sample() }
        let interruption = Interruption(stopping: progress)
        defer {
            finish()
            interruption.end()
        }
        let isCompared = if case .model? = other { true } else { false }
        let budget = (memory?.byteCount ?? 768 << 20) / (isCompared ? 2 : 1)
        let network = try subject.network(weightBudget: budget, threadCount: work.threadCount)

        let evaluation = try windowEvaluation(subject, network, other, budget: budget)
        let choices = try tasks.map { path in
            try ChoiceEvaluation(of: network, items: try ChoiceItem.read(path, tokenizer: try subject.tokenizer()), path: path)
        }
        var keeping: EvaluationWork?
        if let workFolder {
            let files = subject.files + (other?.files ?? [])
            keeping = try EvaluationWork(
                directory: workFolder, inputs: try HashedInputs(files, threadCount: work.threadCount, progress: progress),
                settings: rounding.summary)
        }
        var report = EvaluationReport(model: path, reference: other?.name, threadCount: work.threadCount)
        if let evaluation {
            var logits: (path: String, modelName: String, inputs: HashedInputs)?
            if let saveLogits {
                let files = other?.files ?? subject.files
                logits = (saveLogits, other?.name ?? path, try HashedInputs(files, threadCount: work.threadCount, progress: progress))
            }
            let result = try EvaluationRun(
                evaluation, metrics: metrics, work: keeping, savingLogitsTo: logits, threadCount: work.threadCount
            ).run(progress: progress)
            report.add(evaluation, metrics, result, byteCount: (try? subject.tokenizer()).map(evaluation.judgedByteCount))
        }
        if let choices { report.add(choices, try ChoiceRun(choices, work: keeping).run(progress: progress)) }
        gauge.sample()
        report.peakMemoryByteCount = gauge.peakByteCount
        finish()
        standardOutput(json ? report.json.text(pretty: true) + "\n" : report.text)
    }

    /// The metrics that were asked for, or the built-in ones that apply.
    private func metrics(_ registry: Registry) throws -> [any Metric] {
        let names = metricNames.isEmpty ? ["perplexity", "kl-divergence", "top1-agreement", "logit-rms"] : metricNames
        let metrics = try names.map { name in
            try registry.metric(try RecipeNode.parse(Array(name.utf8), file: "--metric")).metric
        }
        if metricNames.isEmpty { return metrics.filter { reference != nil || !$0.needsReference } }
        if reference == nil, let lonely = zip(names, metrics).first(where: { $1.needsReference }) {
            throw ValidationError("--metric \(lonely.0) needs --reference")
        }
        return metrics
    }

    /// The text in windows; `nil` when there is none.
    private func windowEvaluation(
        _ subject: OpenedModel, _ network: Network, _ other: OpenedReference?, budget: Int
    ) throws -> Evaluation? {
        guard tokens != nil || !text.isEmpty else { return nil }
        var saved: SavedLogits?
        var against: Evaluation.Reference?
        switch other {
        case .model(let model):
            against = .network(try model.network(weightBudget: budget, threadCount: work.threadCount), name: model.path)
        case .saved(let logits):
            saved = logits
            against = .saved(logits)
        case nil: break
        }
        let protocolName = protocolName ?? saved?.shape.protocolName ?? .huggingFace
        let limit = min(protocolName.defaultContext, network.model.hyperparameters[.context] ?? Int.max)
        var content: TokenText
        if let tokens {
            content = try TokenText(tokenFile: tokens)
        } else {
            content = try TokenText(files: text, protocol: protocolName, tokenizer: try subject.tokenizer())
        }
        let tokenizer = try? subject.tokenizer()
        if let tokenizer { try network.check(tokenizer, named: path) }
        return try Evaluation(
            of: network, named: path, against: against, text: content, context: context ?? saved?.shape.context ?? limit,
            windowLimit: windows ?? saved?.shape.windowCount, protocol: protocolName,
            bos: tokenizer.flatMap { $0.addsBOS ? $0.bos : nil })
    }
}

/// A model that was opened: headers only.
struct OpenedModel {
    let path: String
    let source: any TensorSource
    private(set) var graph: TensorGraph
    private var adapterFiles: [SourceFile] = []

    /// All files that decide what the model computes.
    var files: [SourceFile] { source.files + adapterFiles }

    init(_ path: String, _ known: Known) throws {
        try self.init(path, source: try openTensorSource(at: path), known)
    }

    init(_ path: String, source: any TensorSource, _ known: Known) throws {
        self.path = path
        self.source = source
        graph = try known.graph(source)
    }

    /// The same model, rounding what flows through it as the user says.
    func rounding(_ options: RoundingOptions) -> OpenedModel {
        var copy = self
        copy.graph.round(activations: options.activations, keyValues: options.kv)
        return copy
    }

    /// The same model with adapters.
    func adding(_ adapters: [String]) throws -> OpenedModel {
        var copy = self
        for path in adapters { copy.adapterFiles += try copy.graph.add(adapter: path) }
        return copy
    }

    func network(weightBudget: Int, threadCount: Int) throws -> Network {
        do throws(ModelError) {
            return try graph.network(weightBudget: weightBudget, threadCount: threadCount)
        } catch {
            throw ModelError(error.reason, path: error.path ?? path)
        }
    }

    func tokenizer() throws -> Tokenizer { try Tokenizer(path: path) }
}

/// What a model is compared with.
enum OpenedReference {
    case model(OpenedModel)
    case saved(SavedLogits)

    init(_ path: String, _ known: Known) throws {
        let source = try openTensorSource(at: path)
        if SavedLogits.isSaved(in: source) {
            self = .saved(try SavedLogits(source, path: path))
        } else {
            self = .model(try OpenedModel(path, source: source, known))
        }
    }

    var files: [SourceFile] {
        switch self {
        case .model(let model): model.source.files
        case .saved(let logits): logits.files
        }
    }

    var name: String {
        switch self {
        case .model(let model): model.path
        case .saved(let logits): logits.modelName
        }
    }
}
