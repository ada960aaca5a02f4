import ArgumentParser
import Formats
import Passes

/// What `run` and `plan` share: a recipe and the model it is for.
struct RecipeOptions: ParsableArguments {
    @Argument(help: ArgumentHelp("A recipe file, or the name of a built-in one ('resq recipes' lists them).", valueName: "recipe"))
    var recipe: String

    @Option(name: [.short, .long], help: ArgumentHelp("The model: a file or directory.", valueName: "model"))
    var input: String

    @Option(help: ArgumentHelp("Set a parameter of the recipe, or anything in it by its dotted path. May be repeated.", valueName: "key=value"))
    var set: [String] = []

    @Option(help: ArgumentHelp("Round with this importance matrix: sets the recipe's parameter 'imatrix'.", valueName: "file"))
    var imatrix: String?

    func load() throws -> Recipe { try Recipe.load(recipe, sets: set + sets(imatrix: imatrix)) }
}

extension Recipe {
    /// The conversions this recipe makes of a model: one for each of its outputs, or just one to `path`.
    func conversions(
        input: String, path: String?, out: OutputOptions, model: ModelOptions, isQuiet: Bool
    ) throws -> [Conversion] {
        let known = try model.known(plugins: plugins, isQuiet: isQuiet)
        return try outputs(input: input, path: path, out: out, registry: known.registry).map { output in
            try Conversion(
                input: input, passes: try passes.map { try known.registry.pass(for: $0) }, output: output, onFallback: onFallback,
                provenance: (resolvedText, name), architectures: known.architectures, types: known.registry.types, calibration: calibration,
                maximumRelativeError: verification.maximumRelativeError)
        }
    }

    /// What the command line asks for, or else what the recipe says.
    private func outputs(input: String, path: String?, out: OutputOptions, registry: Registry) throws -> [Output] {
        let folder = path.map { $0.hasSuffix("/") } ?? true
        if let path, !folder {
            // A known file ending says what is wanted; a bare name takes the recipe's format.
            if let named = Output.format(ofPath: path), named != .huggingFace || outputs.isEmpty {
                let format = named == .huggingFace ? .gguf : named
                return [try out.output(path: path, format: format, like: outputs.first { $0.format == format }, registry: registry)]
            }
            guard let declared = outputs.first else { return [try out.output(path: path, format: .gguf, registry: registry)] }
            return [try out.output(path: path, as: declared, registry: registry)]
        }
        let model = input.split(separator: "/").last.map(String.init) ?? "model"
        guard !outputs.isEmpty else { 
            return [try out.output(path: (path ?? "") + "\(model)-\(name).gguf", format: .gguf, registry: registry)]
        }
        return try outputs.map { try out.output(path: (path ?? "") + $0.path(recipe: name, model: model), as: $0, registry: registry) }
    }
}

struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Runs a recipe over a model and writes what comes out.",
        discussion: "Without --output the recipe's own file names are used, in the current folder; a recipe without any writes GGUF.")

    @OptionGroup var what: RecipeOptions

    @Option(name: [.short, .long], help: ArgumentHelp("What to write; a name ending in / is a folder for the recipe's own file names.", valueName: "path"))
    var output: String?

    @Flag(help: "Print the plan and write nothing.")
    var dryRun = false

    @Flag(help: "Compute every tensor a second time and refuse an output that differs.")
    var twice = false

    @Flag(help: "With --dry-run: print JSON.")
    var json = false

    @OptionGroup var out: OutputOptions
    @OptionGroup var work: WorkOptions
    @OptionGroup var model: ModelOptions

    func validate() throws {
        if json && !dryRun { throw ValidationError("--json needs --dry-run") }
        if twice && dryRun { throw ValidationError("--twice computes, --dry-run does not") }
        if output?.isEmpty == true { throw ValidationError("--output is empty") }
    }

    func run() throws {
        let recipe = try what.load()
        try naming(what.input) {
            for conversion in try recipe.conversions(input: what.input, path: output, out: out, model: model, isQuiet: work.quiet) {
                if dryRun {
                    standardOutput(try conversion.plan(threadCount: work.threadCount).printed(json: json))
                } else {
                    try perform(conversion, out: out, work: work, computesTwice: twice)
                }
            }
        }
    }
}

struct PlanCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan", abstract: "Shows what a recipe would write, tensor by tensor, without reading tensor data.")

    @OptionGroup var what: RecipeOptions

    @Option(name: [.short, .long], help: ArgumentHelp("What would be written.", valueName: "path"))
    var output: String?

    @Flag(help: "Print JSON.")
    var json = false

    @OptionGroup var out: OutputOptions
    @OptionGroup var work: WorkOptions
    @OptionGroup var model: ModelOptions

    func run() throws {
        let recipe = try what.load()
        try naming(what.input) {
            for conversion in try recipe.conversions(input: what.input, path: output, out: out, model: model, isQuiet: work.quiet) {
                standardOutput(try conversion.plan(threadCount: work.threadCount).printed(json: json))
            }
        }
    }
}

extension Plan {
    /// The plan as a table, or as JSON.
    func printed(json: Bool) -> String {
        if json { return self.json.text(pretty: true) + "\n" }
        let rows = tensors.map { tensor in
            [printable(tensor.name), tensor.encoding.name, "\(tensor.shape)", "\(tensor.byteCount)", printable(tensor.rule)]
                + (tensor.compression.map { [$0] } ?? [])
        }
        let headings = ["tensor", "type", "shape", "bytes", "rule"] + (tensors.first?.compression == nil ? [] : ["frames"])
        var text = table([headings] + rows, rightAligned: [3])
        text += "\ntotal            \(formatted(bytes: totalByteCount))\n"
        text += "bits per weight  \(formatted(bitsPerWeight, decimals: 3))\n"
        text += "peak memory      \(formatted(bytes: peakMemoryByteCount))\n"
        if let cost {
            text += "expected time    \(formatted(cpuSeconds: cost.cpuSeconds)), calibrated on \(cost.calibrationTokenCount) tokens\n"
            for stage in cost.stages { text += "                 \(formatted(cpuSeconds: stage.cpuSeconds)): \(printable(stage.name))\n" }
        }
        for diagnostic in diagnostics { text += "\(diagnostic.severity.rawValue): \(diagnostic.message)\n" }
        return text
    }

    private var json: JSONValue {
        var object: JSONObject = [
            "tensors": .array(
                tensors.map { tensor in
                    var object: JSONObject = [
                        "name": .string(tensor.name), "type": .string(tensor.encoding.name),
                        "shape": .array(tensor.shape.map { .integer($0) }), "bytes": .integer(tensor.byteCount),
                        "rule": .string(tensor.rule),
                    ]
                    if let compression = tensor.compression { object["compression"] = .string(compression) }
                    return .object(object)
                }),
            "total_bytes": .integer(totalByteCount), "bits_per_weight": .number(bitsPerWeight),
            "peak_memory_bytes": .integer(peakMemoryByteCount),
            "diagnostics": .array(
                diagnostics.map { ["severity": .string($0.severity.rawValue), "message": .string($0.message)] }),
        ]
        if let cost {
            object["expected_cpu_seconds"] = .number(cost.cpuSeconds)
            object["calibration_tokens"] = .integer(cost.calibrationTokenCount)
            object["stages"] = .array(cost.stages.map { ["stage": .string($0.name), "expected_cpu_seconds": .number($0.cpuSeconds)] })
        }
        return .object(object)
    }
}
