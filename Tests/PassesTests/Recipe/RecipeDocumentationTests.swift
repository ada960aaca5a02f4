import Foundation
import Passes
import Testing

@Suite struct RecipeDocumentationTests {
    /// The examples of docs/recipes.md, each a whole recipe.
    private static let examples: [String] = {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../../docs/recipes.md")
        let text = (try? String(contentsOf: file.standardizedFileURL, encoding: .utf8)) ?? ""
        return text.components(separatedBy: "```yaml\n").dropFirst().map { $0.components(separatedBy: "```")[0] }
    }()

    @Test func thereAreExamples() { #expect(Self.examples.count == 2) }

    @Test(arguments: examples) func everyExampleLoads(text: String) throws {
        let recipe = try Recipe.parse(text, file: "example")
        #expect(!recipe.passes.isEmpty && !recipe.outputs.isEmpty)
    }
}
