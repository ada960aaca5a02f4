import ArgumentParser
import Formats
import Passes

struct ConvertCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "convert",
        abstract: "Converts a model to the format that the output's ending names.",
        discussion: """
            .gguf, .gguf.zst and .safetensors name files; any other output is a Hugging Face directory. Without --type \
            weights keep their types, and a GGUF file only changes its container, byte for byte. A model that needs a ResQ \
            runtime stays one in GGUF unless --lower makes an ordinary model of it; other formats cannot hold it, so there \
            it is widened and gets back the axes it had before it was rotated.
            """)

    @Argument(help: ArgumentHelp("A model file or directory.", valueName: "in"))
    var input: String

    @Argument(help: ArgumentHelp("What to write.", valueName: "out"))
    var path: String

    @Option(help: ArgumentHelp("One type for the weights (f16, q8_0, q4_k_m, ...): a type, or a mixture of llama.cpp.", valueName: "type"))
    var type: String?

    @Option(help: ArgumentHelp(
        "Make an ordinary model of one that needs a ResQ runtime: widen (to F16, or a --type that holds numbers as they are) or uniform (all weights in one --type; default q8_0).",
        valueName: "how"))
    var lower: Lowering?

    @Option(help: ArgumentHelp("An importance matrix to round with.", valueName: "file"))
    var imatrix: String?

    @OptionGroup var out: OutputOptions
    @OptionGroup var work: WorkOptions
    @OptionGroup var model: ModelOptions

    func validate() throws {
        if let type, WeightType(name: type) == nil {
            throw ValidationError("--type '\(type)' is neither a type nor a mixture; see 'resq passes quantize'")
        }
        if lower == .widen, let type, !Lowering.wideTypes.contains(type.lowercased()) {
            throw ValidationError("--lower widen takes --type \(Lowering.wideTypes.joined(separator: ", ")); '\(type)' rounds, which is --lower uniform")
        }
        if lower == .uniform, ![.gguf, .ggufZst].contains(Output.format(ofPath: path)) {
            throw ValidationError("--lower uniform is for .gguf and .gguf.zst")
        }
        if imatrix != nil, type == nil { throw ValidationError("--imatrix is of use with --type only") }
        if path.isEmpty { throw ValidationError("the output is empty") }
        if Output.format(ofPath: path) == nil {
            throw ValidationError("the ending of '\(path)' names no format that resq writes: .gguf, .gguf.zst, .safetensors, or a folder")
        }
    }

    func run() throws {
        let format = Output.format(ofPath: path) ?? .huggingFace
        let type = type ?? (lower == .uniform ? "q8_0" : nil)
        let isFile = format == .gguf || format == .ggufZst
        var passes = try type.flatMap(WeightType.init(name:))?.passes(for: format, imatrix: imatrix) ?? []
        if lower != nil || !isFile {
            // Later passes round; what comes to them is not rounded before.
            passes.insert(try Lowering.pass(to: type == nil ? "f16" : "f32", takesBack: !isFile), at: 0)
        }
        let known = try model.known(isQuiet: work.quiet)
        try naming(input) {
            let conversion = try Conversion(
                input: input, passes: passes, output: try out.output(path: path, format: format, registry: known.registry), onFallback: .warn,
                provenance: nil, architectures: known.architectures, types: known.registry.types, measuresRounding: lower == .uniform)
            try perform(conversion, out: out, work: work)
        }
    }
}

/// What `--lower` names.
enum Lowering: String, ExpressibleByArgument, CaseIterable {
    /// Every number as it is, in a type with room for it.
    case widen
    /// All parts of a weight rounded to one type.
    case uniform

    static let wideTypes = ["f32", "f16", "bf16"]

    /// - Parameter takesBack: whether the axes become those of the original model.
    static func pass(to type: String, takesBack: Bool) throws -> any Pass {
        let text = "{recipe: 1, name: lower, passes: [{use: resq.lower, with: {type: \(type), take-back: \(takesBack)}}]}"
        return try Registry.builtIn.pass(for: Recipe.parse(text, file: "--lower").passes[0])
    }
}

/// What `--type` names.
enum WeightType {
    case mixture(Mixture)
    case encoding(Encoding)

    init?(name: String) {
        if let mixture = Mixture(name: name) {
            self = .mixture(mixture)
        } else if let encoding = Encoding(name: name), encoding.ggmlType != nil, Codec.canEncode(encoding) {
            self = .encoding(encoding)
        } else {
            return nil
        }
    }

    /// The recipe steps that give weights this type: a cast of everything for plain types in safetensors, else `quantize`.
    func passes(for format: ContainerFormat, imatrix: String?) throws -> [any Pass] {
        let registry = Registry.builtIn
        let name: String, rule: String
        switch self {
        case .mixture(let mixture): (name, rule) = (mixture.rawValue, "{mixture: \(mixture.rawValue)}")
        case .encoding(let encoding): (name, rule) = (encoding.name.lowercased(), encoding.name.lowercased())
        }
        let isPlain = Encoding(name: name).map { if case .plain = $0 { true } else { false } } ?? false
        let isSafetensors = format == .safetensors || format == .huggingFace
        let text = isPlain && isSafetensors
            ? "{recipe: 1, name: convert, passes: [{use: cast, with: {to: \(name)}}]}"
            : "{recipe: 1, name: convert, params: {imatrix: null}, passes: [{use: quantize, with: "
                + "{rules: [{match: '*', type: \(rule)}], imatrix: '${imatrix}'}}]}"
        let recipe = try Recipe.parse(text, file: "--type", sets: sets(imatrix: imatrix))
        return try recipe.passes.map { try registry.pass(for: $0) }
    }
}

/// Runs a conversion with a progress bar and says what came out.
func perform(_ conversion: Conversion, out: OutputOptions, work: WorkOptions, computesTwice: Bool = false) throws {
    work.report(conversion.diagnostics)
    let (progress, finish) = ProgressBar.progress(isQuiet: work.quiet)
    let interruption = Interruption(stopping: progress)
    defer {
        interruption.end()
        finish()
    }
    let report = try conversion.run(
        threadCount: work.threadCount, workDirectory: out.work, replacesExisting: out.force, computesTwice: computesTwice, progress: progress)
    finish()
    work.report(report.diagnostics)
    guard !work.quiet else { return }
    var line = "wrote \(printable(conversion.output.path)): \(report.tensorCount) tensors, \(formatted(bytes: report.byteCount)), read back and compared"
    if let (tensor, error) = report.largestRoundingError {
        line += "; rounding cost a relative error of up to \(formatted(error: error)), in '\(printable(tensor))'"
    }
    if report.resumedTensorCount > 0 { line += " (\(report.resumedTensorCount) tensors were there from an interrupted run)" }
    standardError(line + "\n")
}
