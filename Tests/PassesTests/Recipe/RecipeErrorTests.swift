import Passes
import Testing

@Suite struct RecipeErrorTests {
    @Test func keepsThePlace() {
        let error = RecipeError("unknown key 'pass'", file: "a.yaml", line: 3, column: 1, suggestion: "passes")
        #expect(error.line == 3 && error.column == 1 && error.suggestion == "passes")
    }
}
