import ArgumentParser
import Formats
import Passes

struct ConvertCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "convert",
        abstract: "Converts a model to the format that the output's ending names.",
        discussion: """
            .gguf, .gguf.zst and .safetensors name files; any other output is a Hugging Face directory. Without --type \
            weights keep their types, and a GGUF file only changes its container, byte for byte.
            """)

    @Argument(help: ArgumentHelp("A model file or directory.", valueName: "in"))
    var input: String

    @Argument(help: ArgumentHelp("What to write.", valueName: "out"))
    var path: String

    @Option(help: ArgumentHelp("One type for the weights (f16, q8_0, q4_k_m, ...): a type, or a mixture of llama.cpp.", valueName: "type"))
    var type: String?

    @Option(help: ArgumentHelp("An importance matrix to round with.", valueName: "file"))
    var imatrix: String?

    @OptionGroup var out: OutputOptions
    @OptionGroup var work: WorkOptions
    @OptionGroup var model: ModelOptions

    func validate() throws {
        if let type, WeightType(name: type) == nil {
            throw ValidationError("--type '\(type)' is neither a type nor a mixture; see 'resq passes quantize'")
        }
        if imatrix != nil, type == nil { throw ValidationError("--imatrix is of use with --type only") }
        if path.isEmpty { throw ValidationError("the output is empty") }
        if Output.format(ofPath: path) == nil {
            throw ValidationError("the ending of '\(path)' names no format that resq writes: .gguf, .gguf.zst, .safetensors, or a folder")
        }
    }

    func run() throws {
        let format = Output.format(ofPath: path) ?? .huggingFace
        let passes = try type.flatMap(WeightType.init(name:))?.passes(for: format, imatrix: imatrix) ?? []
        let library = try model.library()
        try naming(input) {
            let conversion = try Conversion(
                input: input, passes: passes, output: out.output(path: path, format: format), onFallback: .warn,
                provenance: nil, architectures: library)
            try perform(conversion, out: out, work: work)
        }
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
        let registry = PassRegistry.builtIn
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
func perform(_ conversion: Conversion, out: OutputOptions, work: WorkOptions) throws {
    work.report(conversion.diagnostics)
    let (progress, finish) = ProgressBar.progress(isQuiet: work.quiet)
    let interruption = Interruption(stopping: progress)
    defer {
        interruption.end()
        finish()
    }
    let report = try conversion.run(
        threadCount: work.threadCount, workDirectory: out.work, replacesExisting: out.force, progress: progress)
    finish()
    work.report(report.diagnostics)
    guard !work.quiet else { return }
    var line = "wrote \(printable(conversion.output.path)): \(report.tensorCount) tensors, \(formatted(bytes: report.byteCount)), read back and compared"
    if report.resumedTensorCount > 0 { line += " (\(report.resumedTensorCount) tensors were there from an interrupted run)" }
    standardError(line + "\n")
}
