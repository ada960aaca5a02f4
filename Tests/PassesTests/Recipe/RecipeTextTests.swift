import Passes
import Testing

@Suite struct RecipeTextTests {
    private let text = """
        name: "n: \\u2028\\x7f\\e é 😀 ${p} $${p}"
        recipe: 1
        params: {p: 7}
        passes:
          - use: quantize
            with: {rules: [{match: {role: [q, k], layer: 0-3}, type: {mixture: q4_k_m}}]}
          - {id: a, use: sample.pass, with: {fraction: 1.0e-5, flag: true, label: null, match: ["*.a", 're:\\d"']}}
        output: [{format: gguf.zst, path: "{name}", level: 3, frame-size: 65536}]
        plugins: [a.so]
        verify: {max-relative-error: 0.25}
        """

    @Test func golden() throws {
        let recipe = try Recipe.parse(text, file: "r.yaml", sets: ["on-fallback=allow"])
        #expect(
            recipe.resolvedText == #"{"recipe": 1, "name": "n: \u2028\u007f\u001b é 😀 7 $${p}", "plugins": ["a.so"], "# +
                #""calibration": {"text": null, "sequences": 128, "context": 2048, "seed": 0}, "# +
                #""passes": [{"use": "quantize", "with": {"rules": [{"match": {"role": ["q", "k"], "layer": "0-3"}, "# +
                #""type": {"mixture": "q4_k_m"}}]}}, {"id": "a", "use": "sample.pass", "with": {"fraction": 1e-05, "# +
                #""flag": true, "label": null, "match": ["*.a", "re:\\d\""]}}], "output": [{"format": "gguf.zst", "# +
                #""path": "{name}", "level": 3, "frame-size": 65536}], "# +
                #""verify": {"readback": "exact", "max-relative-error": 0.25}, "on-fallback": "allow"}"#)
    }

    @Test func loadsAsTheSameRecipe() throws {
        let recipe = try Recipe.parse(text, file: "r.yaml")
        let again = try Recipe.parse(recipe.resolvedText, file: "resolved")
        #expect(again == recipe)
        #expect(again.resolvedText == recipe.resolvedText)
    }

    @Test(arguments: RecipeLibrary.names) func builtInRecipesToo(name: String) throws {
        let recipe = try Recipe.load(name)
        #expect(try Recipe.parse(recipe.resolvedText, file: "resolved") == recipe)
    }
}
