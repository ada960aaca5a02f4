import Passes
import Testing

@Suite struct RecipeErrorTests {
    @Test func namesThePlace() {
        let error = RecipeError(
            "unknown key 'pases'", at: RecipeLocation(file: "a.yaml", line: 3, column: 1), suggestion: "passes")
        #expect(error.description == "a.yaml:3:1: unknown key 'pases'; did you mean 'passes'?")
        #expect(RecipeError("no", at: RecipeLocation(file: "--set x")).description == "--set x: no")
    }
}
