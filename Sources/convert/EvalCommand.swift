import ArgumentParser
import Formats
import Foundation
import Models
import Passes

extension EvaluationProtocol: ExpressibleByArgument {}

struct EvalCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "eval",
        abstract: "Measures how well a model predicts a text, and how far it is from a reference.")

    @Argument(help: ArgumentHelp("A model file or directory.", valueName: "model"))
    var path: String

    @Option(help: ArgumentHelp("Token ids instead of a text: .npy or safetensors.", valueName: "file"))
    var tokens: String

    @Option(help: ArgumentHelp("The model to compare with, token by token.", valueName: "model"))
    var reference: String?

    @Option(name: .customLong("protocol"), help: "How windows are cut and which tokens count: hf or llama.cpp.")
    var protocolName: EvaluationProtocol = .huggingFace

    @Option(help: ArgumentHelp("Tokens of a window (default: 2048 for hf, 512 for llama.cpp, or the model's context).", valueName: "n"))
    var context: Int?

    @Option(help: ArgumentHelp("The most windows.", valueName: "n"))
    var windows: Int?

    @Option(help: ArgumentHelp("Decoded weights that may stay in memory (default 768MiB).", valueName: "size"))
    var memory: ByteSize?

    @Flag(help: "Print JSON.")
    var json = false

    @OptionGroup var work: WorkOptions
    @OptionGroup var model: ModelOptions

    func run() throws {
        let library = try model.library()
        let budget = memory?.byteCount ?? 768 << 20
        func network(_ path: String) throws -> Network {
            try TensorGraph(try openTensorSource(at: path), architectures: library)
                .network(weightBudget: reference == nil ? budget : budget / 2, threadCount: work.threadCount)
        }
        let subject = try network(path)
        let evaluation = try Evaluation(
            of: subject, against: try reference.map { try network($0) }, tokens: try TokenFile.read(tokens),
            context: context ?? min(protocolName.defaultContext, subject.model.hyperparameters[.context] ?? Int.max),
            windowLimit: windows, protocol: protocolName)
        let start = ContinuousClock.now
        var scores: [TokenScore] = []
        for first in stride(from: 0, to: evaluation.windows.count, by: evaluation.windowsAtOnce) {
            let range = first..<min(evaluation.windows.count, first + evaluation.windowsAtOnce)
            scores += try evaluation.scores(ofWindows: range).joined()
        }
        let elapsed = ContinuousClock.now - start
        let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) * 1e-18
        let summary = EvaluationSummary(scores)
        let tokenCount = evaluation.windows.reduce(0) { $0 + $1.count }
        var object: JSONObject = [
            "perplexity": .number(summary.perplexity), "perplexity_stderr": .number(summary.perplexityError),
            "tokens": .integer(summary.tokenCount), "windows": .integer(evaluation.windows.count),
            "tokens_per_second": .number(Double(tokenCount) / seconds),
        ]
        if let divergence = summary.divergence {
            object["kl_divergence"] = .object([
                "mean": .number(divergence.mean), "median": .number(divergence.median), "p99": .number(divergence.percentile99),
            ])
            object["top1_agreement"] = .number(divergence.top1Agreement)
            object["logit_rms"] = .number(divergence.logitRootMeanSquare)
        }
        standardOutput(JSONValue.object(object).text(pretty: true) + "\n")
    }
}
