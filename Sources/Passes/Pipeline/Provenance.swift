import Formats

/// Where an artifact came from: enough to make it again.
public struct Provenance: Sendable {
    /// The resolved recipe, as text.
    public var recipe: String
    public var recipeName: String
    /// The name (without folders) and SHA-256 of every input file.
    public var inputs: [(name: String, digest: String)]
    /// Name, version, file name and SHA-256 of the file of every plugin that had a part in it.
    public var plugins: [(name: String, version: String, file: String, digest: String)]

    public init(
        recipe: String, recipeName: String, inputs: [(name: String, digest: String)],
        plugins: [(name: String, version: String, file: String, digest: String)] = []
    ) {
        self.recipe = recipe
        self.recipeName = recipeName
        self.inputs = inputs
        self.plugins = plugins
    }

    /// The keys of `entries`.
    static let keys = ["resq.version", "resq.recipe.name", "resq.recipe", "resq.inputs", "resq.plugins"]

    /// The facts under the keys they have in GGUF metadata and in the `__metadata__` of safetensors.
    var entries: [(key: String, value: String)] {
        [
            ("resq.version", toolVersion), ("resq.recipe.name", recipeName), ("resq.recipe", recipe),
            ("resq.inputs", inputs.map { "\($0.digest)  \($0.name)" }.joined(separator: "\n")),
        ] + (plugins.isEmpty ? [] : [("resq.plugins", pluginLines)])
    }

    private var pluginLines: String {
        plugins.map { "\($0.digest)  \($0.file) (\($0.name) \($0.version))" }.joined(separator: "\n")
    }

    /// The same with plugins whose files are not told from one another.
    var withoutPluginDigests: Provenance {
        var copy = self
        for place in plugins.indices { copy.plugins[place].digest = String(repeating: "0", count: 64) }
        return copy
    }

    /// The same for files that are not hashed yet: every digest has its final length, so that layouts agree.
    init(recipe: String, recipeName: String, unhashed files: [SourceFile], plugins: [Plugin] = []) {
        self.init(
            recipe: recipe, recipeName: recipeName,
            inputs: files.map { (Provenance.name(of: $0), String(repeating: "0", count: 64)) }, plugins: Provenance.lines(plugins))
    }

    init(recipe: String, recipeName: String, files: [SourceFile], digests: [Digest], plugins: [Plugin] = []) {
        self.init(
            recipe: recipe, recipeName: recipeName,
            inputs: zip(files, digests).map { (Provenance.name(of: $0), "\($1)") }, plugins: Provenance.lines(plugins))
    }

    private static func lines(_ plugins: [Plugin]) -> [(name: String, version: String, file: String, digest: String)] {
        plugins.map { ($0.name, $0.version, name(of: $0.file), "\($0.digest)") }
    }

    private static func name(of file: SourceFile) -> String {
        file.path.split(separator: "/").last.map(String.init) ?? file.path
    }
}
