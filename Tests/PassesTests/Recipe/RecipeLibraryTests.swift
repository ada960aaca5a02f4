import Passes
import Testing

@Suite struct RecipeLibraryTests {
    @Test(arguments: RecipeLibrary.names) func everyRecipeLoads(name: String) throws {
        let recipe = try Recipe.load(name)
        #expect(recipe.name == name.split(separator: "/").last.map(String.init))
        #expect(!recipe.description.isEmpty)
        #expect(!recipe.outputs.isEmpty)
    }
}
