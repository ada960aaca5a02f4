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

    @Option(help: ArgumentHelp("Token ids instead of a text: .npy or safetensors.", valueName: "file"))
    var tokens: String

    @Option(help: ArgumentHelp("Where the statistics go (safetensors).", valueName: "file"))
    var output: String

    @Option(help: ArgumentHelp("Sequences to use.", valueName: "n"))
    var sequences = 128

    @Option(help: ArgumentHelp("Tokens of a sequence (default: 2048, or the model's context).", valueName: "n"))
    var context: Int?

    @Option(help: "Seed of the generator that draws sequences from the text.")
    var seed: UInt64 = 0

    @Option(help: ArgumentHelp("What to gather: all, or some of channels,residual,inner,heads.", valueName: "kinds"))
    var statistics = "all"

    @Option(name: .customLong("work"), help: ArgumentHelp("Keep finished layers here and go on from them.", valueName: "folder"))
    var workFolder: String?

    @OptionGroup var work: WorkOptions
    @OptionGroup var model: ModelOptions

    private func kinds() throws -> StatisticsKinds {
        if statistics == "all" { return .all }
        var kinds: StatisticsKinds = []
        for word in statistics.split(separator: ",") {
            guard let found = StatisticsKinds.names.first(where: { $0.name == word }) else {
                throw ValidationError("--statistics takes all, or some of \(StatisticsKinds.names.map(\.name).joined(separator: ", "))")
            }
            kinds.insert(found.kind)
        }
        return kinds
    }

    func run() throws {
        let source = try openTensorSource(at: path)
        let graph = try TensorGraph(source, architectures: try model.library())
        let context = context ?? min(2048, graph.model?.hyperparameters[.context] ?? 2048)
        let windows = try CalibrationWindows(
            drawnFrom: try TokenFile.read(tokens), count: sequences, context: context, seed: seed)
        let calibration = try CalibrationRun(of: graph, windows: windows, kinds: try kinds(), threadCount: work.threadCount)
        let (progress, finish) = ProgressBar.progress(isQuiet: work.quiet)
        let temporary = output + ".work"
        let resumed = try calibration.run(
            output: output, work: workFolder ?? temporary, model: try Digest(ofFiles: source.files, threadCount: work.threadCount),
            progress: progress)
        finish()
        if workFolder == nil { try? FileManager.default.removeItem(atPath: temporary) }
        guard !work.quiet else { return }
        let tail = resumed > 0 ? ", \(resumed) layers from an earlier run" : ""
        standardError("wrote \(output): \(windows.windows.count) sequences of \(context) tokens\(tail)\n")
    }
}
