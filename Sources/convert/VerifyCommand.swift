import ArgumentParser
import Formats
import Passes

struct VerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Decodes everything a model holds and checks it; exit code 1 when something is wrong.")

    @Argument(help: ArgumentHelp("A model file or directory.", valueName: "path"))
    var path: String

    @Option(help: ArgumentHelp("A model to measure errors against, tensor by tensor.", valueName: "model"))
    var against: String?

    @Option(help: ArgumentHelp("With --against: the largest relative error allowed.", valueName: "number"))
    var maxRelativeError: Double?

    @Flag(help: "Print JSON.")
    var json = false

    @OptionGroup var work: WorkOptions
    @OptionGroup var model: ModelOptions

    func validate() throws {
        if maxRelativeError != nil && against == nil { throw ValidationError("--max-relative-error needs --against") }
    }

    func run() throws {
        let source = try openTensorSource(at: path)
        let (progress, finish) = ProgressBar.progress(isQuiet: work.quiet || json)
        var result = Soundness(source, threadCount: work.threadCount, progress: progress)
        var comparison: Comparison?
        if result.isSound, source.isArtifact || against != nil {
            let known = try model.known(isQuiet: work.quiet)
            let graph = try known.graph(source)
            if source.isArtifact { result.check(artifact: graph) }
            if let against, result.isSound {
                comparison = try Comparison(
                    try known.graph(try openTensorSource(at: against)), graph, threadCount: work.threadCount, progress: progress)
            }
        }
        finish()
        let tooLarge = (comparison?.tensors ?? []).filter { tensor in
            guard let limit = maxRelativeError else { return false }
            return !((tensor.relativeRootMeanSquareError ?? .infinity) <= limit)
        }
        let incomplete = (comparison?.onlyInA ?? []) + (comparison?.tensors.filter { $0.shapeA != $0.shapeB }.map(\.name) ?? [])
        let passed = result.isSound && tooLarge.isEmpty && incomplete.isEmpty
        standardOutput(
            json ? self.json(result, comparison, tooLarge, passed: passed).text(pretty: true) + "\n"
                : text(result, comparison, tooLarge, passed: passed))
        if !passed { throw ExitCode(Failure.checkFailed) }
    }

    private func text(
        _ result: Soundness, _ comparison: Comparison?, _ tooLarge: [TensorComparison], passed: Bool
    ) -> String {
        var text = ""
        for fault in result.faults {
            let tensor = fault.tensor.isEmpty ? "" : "tensor '\(printable(fault.tensor))': "
            text += "\(printable(path)): \(tensor)\(fault.what)\n"
        }
        if let remark = comparison?.remark { text += remark + "\n" }
        for name in comparison?.onlyInA ?? [] { text += "missing: '\(printable(name))'\n" }
        for tensor in comparison?.tensors ?? [] where tensor.shapeA != tensor.shapeB {
            text += "'\(printable(tensor.name))' has shape \(tensor.shapeB), expected \(tensor.shapeA)\n"
        }
        for tensor in tooLarge {
            text += "'\(printable(tensor.name))' has relative error \(formatted(error: tensor.relativeRootMeanSquareError ?? .infinity))\n"
        }
        if let comparison, let worst = comparison.worst {
            text += "largest relative error \(formatted(error: worst.relativeRootMeanSquareError ?? 0)) in '\(printable(worst.name))'\n"
        }
        return text + "\(passed ? "ok" : "FAILED"): \(result.tensorCount) tensors, \(formatted(bytes: result.byteCount))\n"
    }

    private func json(
        _ result: Soundness, _ comparison: Comparison?, _ tooLarge: [TensorComparison], passed: Bool
    ) -> JSONValue {
        var object: JSONObject = [
            "ok": .bool(passed), "tensors": .integer(result.tensorCount), "bytes": .integer(result.byteCount),
            "faults": .array(result.faults.map { ["tensor": .string($0.tensor), "what": .string($0.what)] }),
        ]
        if let comparison { object["against"] = comparison.json }
        return .object(object)
    }
}
