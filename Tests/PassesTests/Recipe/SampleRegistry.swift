import Passes

/// Declarations with every type of option. Making a pass ends in the error "made NAME", which says that all checks passed.
let sampleRegistry: Registry = {
    var registry = Registry()
    for declaration in [quantizeDeclaration, sampleDeclaration] {
        registry.register(declaration) { options throws(RecipeError) in
            throw RecipeError("made \(declaration.identifier)", at: options.location)
        }
    }
    return registry
}()

let quantizeDeclaration = Declaration(
    identifier: "quantize", summary: "Types by rules.", contract: "Rounds to nearest.",
    options: [
        OptionDeclaration(
            "rules",
            .rules(
                mixtures: ["f16", "q4_k_m", "q5_k_m"],
                extra: [OptionDeclaration("group", .integer(1...1024), default: .absent, summary: "Columns of a group.")]),
            default: .required, summary: "Which type where.")
    ])

let sampleDeclaration = Declaration(
    identifier: "sample.pass", summary: "Every type of option.", contract: "Does nothing.\nPreserves the function.",
    options: [
        OptionDeclaration("flag", .boolean, default: .boolean(false), summary: "A flag."),
        OptionDeclaration("count", .integer(1...8), default: .integer(2), summary: "A | count."),
        OptionDeclaration("fraction", .number(0...1), default: .number(0.5), summary: "A fraction."),
        OptionDeclaration("label", .text, default: .absent, summary: "A label."),
        OptionDeclaration("mode", .choice(["fast", "exact", "slow"]), default: .text("fast"), summary: "A mode."),
        OptionDeclaration("to", .encoding, default: .text("bf16"), summary: "A type."),
        OptionDeclaration("match", .selector, default: .text("*"), summary: "Tensors."),
        OptionDeclaration("names", .list(of: .text), default: .list(["a", "b"]), summary: "Names."),
    ])

/// The error that a recipe ends in, as it is printed; `made NAME` lines for passes whose options are right.
func outcome(_ text: String, sets: [String] = []) -> String {
    do throws(RecipeError) {
        let recipe = try Recipe.parse(text, file: "r.yaml", sets: sets)
        for step in recipe.passes {
            do throws(RecipeError) {
                _ = try sampleRegistry.pass(for: step)
            } catch {
                guard error.what.hasPrefix("made ") else { throw error }
            }
        }
        return "fine"
    } catch {
        return error.description
    }
}

/// A recipe whose one pass is `sample.pass` with these options, which stand in line 3.
func sample(_ options: String) -> String { "recipe: 1\npasses:\n  - {use: sample.pass, with: {\(options)}}\n" }

/// A recipe whose one pass is `quantize` with one rule, in line 6.
func rule(_ rule: String) -> String {
    "recipe: 1\npasses:\n  - use: quantize\n    with:\n      rules:\n        - \(rule)\n"
}
