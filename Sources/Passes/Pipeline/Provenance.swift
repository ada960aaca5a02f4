import Formats

/// Where an artifact came from: enough to make it again.
public struct Provenance: Sendable {
    /// The resolved recipe, as text.
    public var recipe: String
    public var recipeName: String
    /// The name (without folders) and SHA-256 of every input file.
    public var inputs: [(name: String, digest: String)]

    public init(recipe: String, recipeName: String, inputs: [(name: String, digest: String)]) {
        self.recipe = recipe
        self.recipeName = recipeName
        self.inputs = inputs
    }

    /// The facts under the keys they have in GGUF metadata and in the `__metadata__` of safetensors.
    var entries: [(key: String, value: String)] {
        [
            ("resq.version", toolVersion), ("resq.recipe.name", recipeName), ("resq.recipe", recipe),
            ("resq.inputs", inputs.map { "\($0.digest)  \($0.name)" }.joined(separator: "\n")),
        ]
    }

    /// The same for files that are not hashed yet: every digest has its final length, so that layouts agree.
    init(recipe: String, recipeName: String, unhashed files: [SourceFile]) {
        self.init(
            recipe: recipe, recipeName: recipeName,
            inputs: files.map { (Provenance.name(of: $0), String(repeating: "0", count: 64)) })
    }

    init(recipe: String, recipeName: String, files: [SourceFile], digests: [Digest]) {
        self.init(
            recipe: recipe, recipeName: recipeName,
            inputs: zip(files, digests).map { (Provenance.name(of: $0), "\($1)") })
    }

    private static func name(of file: SourceFile) -> String {
        file.path.split(separator: "/").last.map(String.init) ?? file.path
    }
}
