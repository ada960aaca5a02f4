import Passes
import Testing

@Suite struct RecipeParameterTests {
    /// The options of the first step.
    private func options(_ text: String, sets: [String] = []) throws -> RecipeNode? {
        try Recipe.parse(text, file: "r.yaml", sets: sets).passes.first?.options
    }

    @Test(arguments: [
        ("8", RecipeNode.Value.integer(8)), ("0.25", .number(0.25)), ("true", .boolean(true)), ("no", .text("no")),
        ("\"8\"", .text("8")), ("null", .null), ("1e3", .number(1000)), ("0x10", .integer(16)), ("0o17", .integer(15)),
        ("+3", .integer(3)), ("-.5", .number(-0.5)), ("1_000", .text("1_000")), ("12:30", .text("12:30")), ("007", .integer(7)),
    ])
    func wholeScalarsKeepTheirType(written: String, value: RecipeNode.Value) throws {
        let text = "recipe: 1\nparams: {p: \(written)}\npasses: [{use: a, with: {x: \"${p}\"}}]\n"
        #expect(try options(text)?["x"]?.value == value)
        // Set from the command line, it means the same.
        let set = "recipe: 1\nparams: {p: 0}\npasses: [{use: a, with: {x: \"${p}\"}}]\n"
        #expect(try options(set, sets: ["p=\(written)"])?["x"]?.value == value)
    }

    @Test func listsAreSubstitutedWhole() throws {
        let text = "recipe: 1\nparams: {p: [1, {a: b}]}\npasses: [{use: a, with: {x: \"${p}\"}}]\n"
        let list = try #require(try options(text)?["x"])
        guard case .sequence(let elements) = list.value else { Issue.record("not a list"); return }
        #expect(elements.count == 2 && elements[0].value == .integer(1) && elements[1]["a"]?.value == .text("b"))
    }

    @Test func insideTextValuesAreWrittenOut() throws {
        let text = "recipe: 1\nparams: {p: 8, q: 0.5}\npasses: [{use: a, with: {x: \"a${p}-${q}$$${p} $${p} $p\"}}]\n"
        #expect(try options(text)?["x"]?.value == .text("a8-0.5$${p} ${p} $p"))
    }

    @Test(arguments: [
        ("recipe: 1\nparams: {high: 1}\nname: ${hihg}\n", [], "r.yaml:3:7: unknown parameter 'hihg'; did you mean 'high'?"),
        ("recipe: 1\nname: \"a${b\"\n", [], "r.yaml:2:7: '${' without '}' ('$${' stands for the characters themselves)"),
        ("recipe: 1\nparams: {p: [1]}\nname: \"a${p}\"\n", [], "r.yaml:3:7: the parameter 'p' is not text or a number and cannot stand inside text"),
        ("recipe: 1\nparams: {p: \"${q}\"}\n", [], "r.yaml:2:13: the value of parameter 'p' uses '${'; parameters cannot use parameters"),
        ("recipe: 1\nparams: {a.b: 1}\n", [], "r.yaml:2:10: the parameter's name 'a.b' is not made of letters, digits, '-' and '_'"),
        ("recipe: 1\nparams: [p]\n", [], "r.yaml:2:9: 'params' is a list, expected a mapping"),
        ("recipe: 1\nparams: {p: 1}\n", ["p=2"], "--set p: nothing in the recipe uses the parameter 'p'"),
        ("recipe: 1\nparams: {used: 1, unused: 2}\nname: a-${used}\n", [], "r.yaml:2:19: nothing in the recipe uses the parameter 'unused'"),
        ("recipe: 1\nparams: {p: 1}\nname: a$${p}\n", [], "r.yaml:2:10: nothing in the recipe uses the parameter 'p'"),
        ("recipe: 1\nparams: {p: 1}\nname: a-${p}-${q}\n", [], "r.yaml:3:7: unknown parameter 'q'; did you mean 'p'?"),
        ("recipe: 1\nparams: {p: a}\nname: ${p}\n", ["name=b"], "fine"),
        ("recipe: 1\nparams: {pony: 1}\nname: ${pony}\n", ["pnoy=2"], "--set pnoy: there is neither a parameter nor a setting of that name; did you mean 'pony'?"),
        ("recipe: 1\nparams: {p: a}\nname: ${p}\n", ["p=2"], "--set p: 'name' is 2, expected text"),
        ("recipe: 1\nparams: {p: a}\nname: ${p}\n", ["p=b", "p=c"], "--set p: the parameter is set twice"),
        ("recipe: 1\n", ["p"], "--set p: expected KEY=VALUE"),
        ("recipe: 1\n", ["=p"], "--set =p: expected KEY=VALUE"),
        ("recipe: 1\n", ["name=[1"], "--set name: the value '[1': not YAML: while parsing a flow sequence, did not find expected ',' or ']'"),
        ("recipe: 1\n", ["calibration.sed=1"], "--set calibration.sed: unknown key 'sed' in 'calibration', expected text, sequences, context or seed; did you mean 'seed'?"),
        ("recipe: 1\n", ["passes.a.with.b=1"], "--set passes.a.with.b: the recipe has no passes"),
        ("recipe: 1\npasses: [{use: sample.pass}]\n", ["passes.smaple=1"], "--set passes.smaple: no step is called 'smaple'"),
        ("recipe: 1\npasses: [{id: rot, use: sample.pass}]\n", ["passes.rto.with.count=1"], "--set passes.rto.with.count: no step is called 'rto'; did you mean 'rot'?"),
        ("recipe: 1\npasses: [{id: rot, use: sample.pass}]\n", ["passes.rot.use=x"], "--set passes.rot.use: expected passes.rot.with.OPTION"),
        ("recipe: 1\npasses: [{use: sample.pass}, {use: sample.pass}]\n", ["passes.sample.pass.with.count=1"], "--set passes.sample.pass.with.count: 2 steps use 'sample.pass'; give the one that is meant an id"),
        ("recipe: 1\npasses: [{use: sample.pass}]\n", ["passes.sample.pass.with.count=9"], "--set passes.sample.pass.with.count: option 'count' of pass 'sample.pass' is 9, expected an integer from 1 to 8"),
        ("recipe: 1\noutput: [{format: gguf, path: a}]\n", ["output.1.path=b"], "--set output.1.path: '1' is not the place of an element, from 0 to 0"),
        ("recipe: 1\non-fallback: warn\n", ["on-fallback.x=b"], "--set on-fallback.x: 'x' cannot be set inside text 'warn'"),
    ] as [(String, [String], String)])
    func mistakes(text: String, sets: [String], message: String) {
        #expect(outcome(text, sets: sets) == message)
    }

    @Test func overrides() throws {
        let text = """
            recipe: 1
            name: a
            params: {fraction: 0.125}
            calibration: {seed: 1}
            passes:
              - {use: sample.pass}
              - {id: rot, use: sample.pass, with: {fraction: "${fraction}", count: 3}}
            output: [{format: gguf, path: a}]
            """
        let recipe = try Recipe.parse(
            text, file: "r.yaml",
            sets: [
                "fraction=0.25", "calibration.text=my file.txt", "calibration.seed=7", "passes.rot.with.count=5",
                "passes.sample.pass.with.names=[x, y]", "output.0.path=b.gguf", "on-fallback=warn", "name=\"7\"",
                "verify.max-relative-error=0.5",
            ])
        #expect(recipe.name == "7")
        #expect(recipe.calibration.text == "my file.txt" && recipe.calibration.seed == 7)
        #expect(recipe.calibration.sequences == 128 && recipe.calibration.context == 2048)
        #expect(recipe.passes[1].options?["fraction"]?.value == .number(0.25))
        #expect(recipe.passes[1].options?["count"]?.value == .integer(5))
        guard case .sequence(let names)? = recipe.passes[0].options?["names"]?.value else { Issue.record("no list"); return }
        #expect(names.map(\.value) == [.text("x"), .text("y")])
        #expect(recipe.outputs[0].path == "b.gguf")
        #expect(recipe.onFallback == .warn)
        #expect(recipe.verification.maximumRelativeError == 0.5)
        #expect(recipe.verification.readBack)
    }
}
