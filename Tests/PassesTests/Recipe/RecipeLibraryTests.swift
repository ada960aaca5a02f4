import Foundation
import Passes
import Testing

@Suite struct RecipeLibraryTests {
    @Test(arguments: RecipeLibrary.names) func everyRecipeLoads(name: String) throws {
        let recipe = try Recipe.load(name)
        #expect(recipe.name == name.split(separator: "/").last.map(String.init))
        #expect(!recipe.description.isEmpty)
        #expect(!recipe.outputs.isEmpty)
    }

    /// A file that is not embedded would be missing from the binary and nobody would notice.
    @Test func everyFileIsEmbedded() throws {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../../recipes").standardizedFileURL
        let files = try #require(FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil))
            .compactMap { $0 as? URL }.filter { $0.pathExtension == "yaml" }
        let names = files.map { String($0.deletingPathExtension().path.dropFirst(folder.path.count + 1)) }
        #expect(names.sorted() == RecipeLibrary.names)
        for (file, name) in zip(files, names) {
            #expect(try String(contentsOf: file, encoding: .utf8) == RecipeLibrary.text(of: name))
        }
    }

    @Test(arguments: ["f16", "bf16-lossless", "q8_0", "q4_0", "q4_k_m", "q5_k_m", "q6_k", "iq4_xs"])
    func theNamedOnesExist(name: String) { #expect(RecipeLibrary.names.contains(name)) }
}
