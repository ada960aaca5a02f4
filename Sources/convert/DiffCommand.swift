import ArgumentParser
import Formats
import Passes

struct DiffCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff",
        abstract: "Compares two models tensor by tensor.",
        discussion: "Names are compared as Hugging Face has them when the architecture is known, so a GGUF file can be compared with the directory it was made from.")

    @Argument(help: ArgumentHelp("The reference.", valueName: "a"))
    var a: String

    @Argument(help: ArgumentHelp("What is compared with it.", valueName: "b"))
    var b: String

    @Flag(help: "Print JSON.")
    var json = false

    @Flag(help: "List identical tensors too.")
    var all = false

    @Flag(help: "Exit with 1 when the models differ.")
    var exitCode = false

    @OptionGroup var work: WorkOptions
    @OptionGroup var model: ModelOptions

    func run() throws {
        let known = try model.known(isQuiet: work.quiet)
        let graphA = try known.graph(try openTensorSource(at: a))
        let graphB = try known.graph(try openTensorSource(at: b))
        let (progress, finish) = ProgressBar.progress(isQuiet: work.quiet || json)
        let comparison = try Comparison(graphA, graphB, threadCount: work.threadCount, progress: progress)
        finish()
        standardOutput(json ? comparison.json.text(pretty: true) + "\n" : text(comparison))
        if exitCode && !comparison.isIdentical { throw ExitCode(Failure.checkFailed) }
    }

    private func text(_ comparison: Comparison) -> String {
        var text = ""
        for name in comparison.onlyInA { text += "only in \(printable(a)): \(printable(name))\n" }
        if let remark = comparison.remark { text += remark + "\n" }
        for name in comparison.onlyInB { text += "only in \(printable(b)): \(printable(name))\n" }
        let shown = all ? comparison.tensors : comparison.tensors.filter { !$0.isIdentical }
        if !shown.isEmpty {
            let rows = shown.map { tensor -> [String] in
                let type = tensor.encodingA == tensor.encodingB ? tensor.encodingA.name : "\(tensor.encodingA.name) → \(tensor.encodingB.name)"
                let shape = tensor.shapeA == tensor.shapeB ? "\(tensor.shapeA)" : "\(tensor.shapeA) → \(tensor.shapeB)"
                return [
                    printable(tensor.name), type, shape, tensor.isIdentical ? "identical" : tensor.maximumAbsoluteError.map { formatted(error: $0) } ?? "-",
                    tensor.relativeRootMeanSquareError.map { formatted(error: $0) } ?? "-",
                ]
            }
            text += table([["tensor", "type", "shape", "max abs", "relative rmse"]] + rows, rightAligned: [3, 4])
        }
        let identical = comparison.tensors.count(where: \.isIdentical)
        return text + "\(identical) of \(comparison.tensors.count) common tensors are identical\n"
    }
}

extension Comparison {
    /// What keeps the errors from meaning what they seem to.
    var remark: String? {
        isRotatedApart ? "one side's weights are rotated and differ from the other's by that; 'resq convert' of it gives the original axes back" : nil
    }

    /// The tensor with the largest relative error.
    var worst: TensorComparison? {
        tensors.max { ($0.relativeRootMeanSquareError ?? -1) < ($1.relativeRootMeanSquareError ?? -1) }
    }

    var json: JSONValue {
        [
            "rotated_apart": .bool(isRotatedApart), "only_in_a": .array(onlyInA.map { .string($0) }), "only_in_b": .array(onlyInB.map { .string($0) }),
            "tensors": .array(
                tensors.map { tensor in
                    [
                        "name": .string(tensor.name), "type_a": .string(tensor.encodingA.name),
                        "type_b": .string(tensor.encodingB.name), "shape_a": .array(tensor.shapeA.map { .integer($0) }),
                        "shape_b": .array(tensor.shapeB.map { .integer($0) }),
                        "max_abs": tensor.maximumAbsoluteError.json, "relative_rmse": tensor.relativeRootMeanSquareError.json,
                        "identical": .bool(tensor.isIdentical),
                    ]
                }),
        ]
    }
}

extension Double? {
    /// JSON has no word for infinity and NaN: they become null, as a missing number does.
    var json: JSONValue { map { $0.isFinite ? .number($0) : .null } ?? .null }
}
