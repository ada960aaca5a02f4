import ArgumentParser
import Formats
import Passes

struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain", abstract: "Shows the passes, rules and operations that make a tensor of the output what it is.",
        discussion: "Tensor data is not read, and nothing is written.")

    @OptionGroup var what: RecipeOptions

    @Argument(help: ArgumentHelp("The tensor: its name in the output, or the one it has in a Hugging Face directory.", valueName: "tensor"))
    var tensor: String

    @Option(name: [.short, .long], help: ArgumentHelp("What would be written.", valueName: "path"))
    var output: String?

    @Flag(help: "Print JSON.")
    var json = false

    @OptionGroup var out: OutputOptions
    @OptionGroup var model: ModelOptions

    func run() throws {
        let recipe = try what.load()
        try naming(what.input) {
            for conversion in try recipe.conversions(input: what.input, path: output, out: out, model: model, isQuiet: false) {
                let explanation = try conversion.explanation(of: tensor)
                standardOutput(json ? explanation.json.text(pretty: true) + "\n" : explanation.text)
            }
        }
    }
}

extension TensorInfo {
    fileprivate var typeAndShape: String { "\(encoding.name) \(shape)" }
}

extension TensorExplanation {
    fileprivate var text: String {
        var text = "\(printable(info.name)): \(info.typeAndShape), \(info.byteCount) bytes\n"
        text += "\npasses and rules\n"
        for line in history.isEmpty ? ["as it was"] : history { text += "  \(printable(line, limit: 600))\n" }
        text += "\noperations, first to last; what goes into one stands above it, further to the right\n"
        for operation in operations {
            let indentation = String(repeating: "  ", count: operation.depth + 1)
            text += "\(indentation)\(printable(operation.summary, limit: 600)): \(operation.info.typeAndShape)\n"
        }
        return text
    }

    fileprivate var json: JSONValue {
        [
            "name": .string(info.name), "type": .string(info.encoding.name), "shape": .array(info.shape.map { .integer($0) }),
            "bytes": .integer(info.byteCount), "history": .array(history.map { .string($0) }),
            "operations": .array(
                operations.map {
                    [
                        "depth": .integer($0.depth), "summary": .string($0.summary), "name": .string($0.info.name),
                        "type": .string($0.info.encoding.name), "shape": .array($0.info.shape.map { .integer($0) }),
                    ]
                }),
        ]
    }
}
