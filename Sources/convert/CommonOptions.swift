import ArgumentParser
import Foundation
import Formats
import Models
import Passes

/// Options of every command that works through tensor data.
struct WorkOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Worker threads (default: one per processor).", valueName: "n"))
    var threads: Int?

    @Flag(name: [.short, .long], help: "No progress bar and no remarks.")
    var quiet = false

    var threadCount: Int { threads ?? ProcessInfo.processInfo.activeProcessorCount }

    func validate() throws {
        if let threads, !(1...1024).contains(threads) { throw ValidationError("--threads takes a number from 1 to 1024") }
    }

    /// Tells the remarks of a run to whoever watches.
    func report(_ diagnostics: [Diagnostic]) {
        guard !quiet else { return }
        for diagnostic in diagnostics { standardError("\(diagnostic.severity.rawValue): \(diagnostic.message)\n") }
    }
}

/// Passes and more from outside.
struct PluginOptions: ParsableArguments {
    @Option(
        name: .customLong("plugin"),
        help: ArgumentHelp("Add what this plugin has: a program, a Python file, or a shared object. May be repeated.", valueName: "path"))
    var paths: [String] = []

    /// What the program has, and what the plugins have that a recipe and the command line name.
    /// - Parameter isQuiet: whether nobody wants to read what plugins write to standard error.
    func registry(adding plugins: [RecipePlugin] = [], isQuiet: Bool = false) throws -> Registry {
        var registry = Resq.registry
        for plugin in plugins { try registry.add(plugin.load(hear: remarks(of: plugin.path, isQuiet: isQuiet))) }
        for path in paths { try registry.add(Plugin(path: path, hear: remarks(of: path, isQuiet: isQuiet))) }
        return registry
    }
}

/// Shows what a plugin writes to standard error, with the name of its file before every line.
func remarks(of plugin: String, isQuiet: Bool = false) -> @Sendable (String) -> Void {
    let name = plugin.split(separator: "/").last.map(String.init) ?? plugin
    guard !isQuiet else { return { _ in } }
    let start = standardErrorIsTerminal ? "\r\u{1B}[K" : ""
    return { line in standardError("\(start)\(printable(name)): \(printable(line, limit: 1000))\n") }
}

/// Options that say how models are understood.
struct ModelOptions: ParsableArguments {
    @OptionGroup var plugins: PluginOptions

    @Option(
        name: .customLong("architecture"),
        help: ArgumentHelp("An architecture file to add to the built-in ones. May be repeated.", valueName: "file"))
    var architectureFiles: [String] = []

    func library() throws -> ArchitectureLibrary {
        guard !architectureFiles.isEmpty else { return .builtIn }
        return try ArchitectureLibrary(adding: architectureFiles.map { ($0, try MappedFile(path: $0).bytes.array) })
    }

    /// Reads the architecture files and starts the plugins.
    /// - Parameters:
    ///   - recipe: the plugins that a recipe names.
    ///   - isQuiet: whether nobody wants to read what plugins write to standard error.
    func known(plugins recipe: [RecipePlugin] = [], isQuiet: Bool) throws -> Known {
        Known(architectures: try library(), registry: try plugins.registry(adding: recipe, isQuiet: isQuiet))
    }
}

/// What a command knows to understand models with.
struct Known {
    let architectures: ArchitectureLibrary
    let registry: Registry

    /// An opened model under Hugging Face names.
    func graph(_ source: any TensorSource) throws -> TensorGraph {
        try TensorGraph(source, architectures: architectures, types: registry.types)
    }
}

/// How the engine rounds what flows through a model, where that is to be otherwise than the model says.
struct RoundingOptions: ParsableArguments {
    @Option(help: ArgumentHelp(
        "Round the inputs of linear layers to 2 to 8 bits; 16 leaves them (default: what the model says).", valueName: "bits"))
    var activations: Int?

    @Option(help: ArgumentHelp("Round keys and values to 2 to 8 bits; 16 leaves them (default: what the model says).", valueName: "bits"))
    var kv: Int?

    func validate() throws {
        for (name, bits) in [("--activations", activations), ("--kv", kv)] {
            if let bits, !(2...8).contains(bits), bits != 16 { throw ValidationError("\(name) takes 2 to 8, or 16") }
        }
    }

    /// What a work folder is to know of this.
    var summary: [String] {
        [activations.map { "activations \($0)" }, kv.map { "kv \($0)" }].compactMap(\.self)
    }
}

/// Adapters on top of the model that runs.
struct AdapterOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Add this LoRA adapter: a .gguf of llama.cpp, or a folder of PEFT. May be repeated.", valueName: "path"))
    var lora: [String] = []
}

/// Options that say how the output is written.
struct OutputOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Largest size of one file, e.g. 4GB; larger models are split.", valueName: "size"))
    var shardSize: ByteSize?

    @Option(help: ArgumentHelp("zstd level of .gguf.zst, 1 to 19 (default 3).", valueName: "n"))
    var level: Int?

    @Option(help: ArgumentHelp("Uncompressed size of one frame of .gguf.zst (default 4MiB).", valueName: "size"))
    var frameSize: ByteSize?

    @Option(help: ArgumentHelp("Keep the state of an interrupted run here and go on from it; bases and rounded weights stay for later runs.", valueName: "folder"))
    var work: String?

    @Flag(help: "Write into a folder that already holds files.")
    var force = false

    func validate() throws {
        if let level, !(1...19).contains(level) { throw ValidationError("--level takes a number from 1 to 19") }
        if let frameSize, !(65536...(256 << 20)).contains(frameSize.byteCount) {
            throw ValidationError("--frame-size takes 64KiB to 256MiB")
        }
        if let shardSize, shardSize.byteCount < 1 { throw ValidationError("--shard-size takes a size above zero") }
    }

    /// In a format of ours.
    /// - Parameter recipe: what the recipe says of this output, where the command line says nothing.
    func output(
        path: String, format: ContainerFormat, like recipe: OutputSpecification? = nil, registry: Registry
    ) throws -> Output {
        output(path: path, (format.rawValue, try registry.exporter(for: format)), like: recipe)
    }

    /// As a recipe says.
    /// - Throws: `RecipeError` for a format that the registry does not have.
    func output(path: String, as recipe: OutputSpecification, registry: Registry) throws -> Output {
        output(path: path, (recipe.formatName, try registry.exporter(for: recipe)), like: recipe)
    }

    private func output(
        path: String, _ exporter: (name: String, exporter: any Exporter), like recipe: OutputSpecification?
    ) -> Output {
        Output(
            path: path, exporter: exporter, shardByteCount: shardSize?.byteCount ?? recipe?.shardSize ?? recipe?.split,
            compressionLevel: level ?? recipe?.level ?? 3,
            frameByteCount: frameSize?.byteCount ?? recipe?.frameSize ?? 4 << 20)
    }
}

/// A number of bytes: `500000`, `512MiB`, `4GB`.
struct ByteSize: ExpressibleByArgument {
    let byteCount: Int

    init(byteCount: Int) { self.byteCount = byteCount }

    init?(argument: String) {
        let digits = argument.prefix { $0.isNumber || $0 == "." }
        let units = [
            "": 1, "b": 1, "k": 1000, "kb": 1000, "m": 1_000_000, "mb": 1_000_000, "g": 1_000_000_000, "gb": 1_000_000_000,
            "t": 1e12, "tb": 1e12, "kib": 1024, "mib": 1_048_576, "gib": 1_073_741_824, "tib": 1_099_511_627_776,
        ]
        guard let value = Double(digits), let unit = units[argument.dropFirst(digits.count).lowercased()],
            value >= 0, value * unit < 9e18
        else { return nil }
        byteCount = Int(value * unit)
    }

    var defaultValueDescription: String { formatted(bytes: byteCount) }
}

/// The setting behind `--imatrix`, quoted so that any path is text.
func sets(imatrix path: String?) -> [String] { path.map { ["imatrix=" + JSONValue.string($0).text()] } ?? [] }
