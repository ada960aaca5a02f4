import Formats
import Models
import Passes
import TestSupport

/// The passes of a recipe, written as in one.
func passes(_ text: String) throws -> [any Pass] {
    try Recipe.parse("{recipe: 1, name: t, passes: [\(text)]}", file: "t").passes.map { try Registry.builtIn.pass(for: $0) }
}

extension TemporaryFolder {
    /// Runs passes over a model and writes what comes out into this folder.
    /// - Returns: the path of the output.
    func convert(_ text: String, from input: String, to name: String, _ format: ContainerFormat) throws -> String {
        let output = path(name)
        _ = try Conversion(
            input: input, passes: try passes(text), output: Output(path: output, format: format), onFallback: .error,
            provenance: ("recipe text", "t"), architectures: .builtIn
        ).run(threadCount: 2)
        return output
    }
}
