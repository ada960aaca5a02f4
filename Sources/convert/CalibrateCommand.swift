import ArgumentParser
import Formats
import Foundation
import Models
import Passes

struct CalibrateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "calibrate",
        abstract: "Runs a model over a text and keeps the statistics of what its layers see.")

    @Argument(help: ArgumentHelp("A model file or directory.", valueName: "model"))
    var path: String

    @Option(help: ArgumentHelp("A UTF-8 text to draw sequences from. Without a text and tokens the model writes its own.", valueName: "file"))
    var text: String?

    @Option(help: ArgumentHelp("Token ids instead of a text: .npy or safetensors.", valueName: "file"))
    var tokens: String?

    @Option(help: ArgumentHelp("Where the statistics go (safetensors).", valueName: "file"))
    var output: String?

    @Option(help: ArgumentHelp("Write an importance matrix that llama-quantize reads, too or instead.", valueName: "file"))
    var imatrix: String?

    @Option(help: ArgumentHelp("Sequences to use.", valueName: "n"))
    var sequences = 128

    @Option(help: ArgumentHelp("Tokens of a sequence (default: 2048, or the model's context).", valueName: "n"))
    var context: Int?

    @Option(help: "Seed of the generator that draws sequences from the text.")
    var seed: UInt64 = 0

    @Option(help: ArgumentHelp("What to gather: all, or some of channels,residual,inner,heads and what plugins bring.", valueName: "kinds"))
    var statistics = "all"

    @Option(name: .customLong("work"), help: ArgumentHelp("Keep finished layers here and go on from them.", valueName: "folder"))
    var workFolder: String?

    @OptionGroup var work: WorkOptions
    @OptionGroup var model: ModelOptions

    private func gathered(_ registry: Registry) throws -> [(name: String, statistic: any Statistic)] {
        let words = statistics == "all" ? StatisticsKinds.names.map(\.name) : statistics.split(separator: ",").map(String.init)
        let known = registry.statistics.declarations.map(\.identifier)
        guard let stranger = words.first(where: { !known.contains($0) }) else { return try words.map { ($0, try registry.statistic($0)) } }
        let hint = nearest(to: stranger, in: known).map { "; did you mean '\($0)'?" } ?? ""
        throw ValidationError("--statistics takes all, or some of \(known.joined(separator: ", ")), not '\(stranger)'\(hint)")
    }

    func validate() throws {
        if output == nil && imatrix == nil { throw ValidationError("give --output, --imatrix or both") }
        if text != nil && tokens != nil { throw ValidationError("--text and --tokens exclude each other") }
        if sequences < 1 { throw ValidationError("--sequences takes a number above zero") }
        if let context, context < 1 { throw ValidationError("--context takes a number above zero") }
    }

    func run() throws { try naming(path) { try calibrate() } }

    private func calibrate() throws {
        let known = try model.known(isQuiet: work.quiet)
        let wanted = output == nil ? [("channels", try known.registry.statistic("channels"))] : try gathered(known.registry)
        let source = try openTensorSource(at: path)
        let graph = try known.graph(source)
        let context = context ?? min(2048, graph.model?.hyperparameters[.context] ?? 2048)
        let (progress, finish) = ProgressBar.progress(isQuiet: work.quiet)
        let interruption = Interruption(stopping: progress)
        defer {
            finish()
            interruption.end()
        }
        let windows = try windows(graph, context: context, progress: progress)
        let calibration = try CalibrationRun(of: graph, windows: windows, statistics: wanted, threadCount: work.threadCount)
        let temporary = (output ?? imatrix ?? "") + ".work"
        let statistics = output ?? temporary + "/statistics"
        defer { if workFolder == nil { try? FileManager.default.removeItem(atPath: temporary) } }
        let resumed = try calibration.run(
            output: statistics, work: workFolder ?? temporary, model: try Digest(ofFiles: source.files, threadCount: work.threadCount),
            progress: progress)
        if let imatrix {
            let dataset = text ?? tokens ?? "text of the model itself"
            try CalibrationStatistics(path: statistics).importanceMatrix(for: graph, dataset: dataset).write(to: imatrix)
        }
        finish()
        guard !work.quiet else { return }
        let tail = resumed > 0 ? ", \(resumed) layers from an earlier run" : ""
        let names = [output, imatrix].compactMap(\.self).joined(separator: " and ")
        standardError("wrote \(names): \(windows.windows.count) sequences of \(context) tokens\(tail)\n")
    }

    /// The sequences: of a text, of a token file, or the model's own.
    private func windows(_ graph: TensorGraph, context: Int, progress: Passes.Progress) throws -> CalibrationWindows {
        let budget = Int(clamping: ProcessInfo.processInfo.physicalMemory / 2)
        let network = try graph.network(weightBudget: budget, threadCount: work.threadCount)
        try network.checkContext(context)
        if let tokens { return try drawn(from: try TokenText(tokenFile: tokens), network, context: context) }
        let tokenizer = text == nil ? try? Tokenizer(path: path) : try Tokenizer(path: path)
        if let tokenizer { try network.check(tokenizer, named: path) }
        if let text, let tokenizer {
            return try drawn(from: TokenText(ids: try tokenizer.tokens(ofFile: text), name: text), network, context: context)
        }
        progress.begin(.sampling, total: sequences * context)
        return try CalibrationWindows(
            writtenBy: network, count: sequences, context: context, seed: seed, firstToken: tokenizer?.special.bos
        ) { count in
            try progress.checkCancellation()
            progress.advance(count)
        }
    }

    private func drawn(from text: TokenText, _ network: Network, context: Int) throws -> CalibrationWindows {
        guard !text.ids.isEmpty else { throw EvaluationError(.emptyText, path: text.name) }
        try text.check(vocabulary: network.model.hyperparameters.vocabulary)
        do {
            return try CalibrationWindows(drawnFrom: text.ids, count: sequences, context: context, seed: seed)
        } catch {
            throw EvaluationError(error.reason, path: text.name)
        }
    }
}
