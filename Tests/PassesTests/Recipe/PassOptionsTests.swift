import Formats
import Passes
import Testing

@Suite struct PassOptionsTests {
    private func options(_ yaml: String?) throws -> PassOptions {
        let node = try yaml.map { try RecipeNode.parse(Array($0.utf8), file: "o") }
        return try PassOptions(
            node, declared: sampleDeclaration.options, owner: "pass 'sample.pass'", location: RecipeLocation(file: "o", line: 9))
    }

    @Test func defaults() throws {
        let options = try options(nil)
        #expect(options.boolean("flag") == false)
        #expect(options.integer("count") == 2)
        #expect(options.number("fraction") == 0.5)
        #expect(options.text("mode") == "fast")
        #expect(options.encoding("to") == .plain(.bf16))
        #expect(options.selector("match").matches(TensorFacts(name: "x", shape: [])))
        #expect(options.texts("names") == ["a", "b"])
        #expect(!options.has("label") && options.has("flag"))
        #expect(options.location(of: "count") == RecipeLocation(file: "o", line: 9))
    }

    @Test func given() throws {
        let options = try options("{flag: true, count: 8, fraction: 1, label: x, mode: slow, to: Q4_K, match: [a, b], names: [y]}")
        #expect(options.boolean("flag") && options.integer("count") == 8 && options.number("fraction") == 1)
        #expect(options.text("label") == "x" && options.text("mode") == "slow" && options.encoding("to") == .block(.q4_K))
        #expect(options.selector("match").matches(TensorFacts(name: "b", shape: [])))
        #expect(!options.selector("match").matches(TensorFacts(name: "c", shape: [])))
        #expect(options.texts("names") == ["y"])
        #expect(
            options.error("is odd", option: "count").description == "o:1:21: option 'count' of pass 'sample.pass': is odd")
    }

    @Test func documentation() {
        #expect(
            sampleRegistry.documentation == """
                # Passes

                <!-- Generated from the declarations: resq passes --markdown > docs/passes.md -->

                ## quantize

                Types by rules.

                Rounds to nearest.

                | option | type | default | |
                |---|---|---|---|
                | `rules` | rules | required | Which type where. |
                | `rules[].group` | integer from 1 to 1024 | none | Columns of a group. |

                ## sample.pass

                Every type of option.

                Does nothing.
                Preserves the function.

                | option | type | default | |
                |---|---|---|---|
                | `flag` | boolean | false | A flag. |
                | `count` | integer from 1 to 8 | 2 | A \\| count. |
                | `fraction` | number from 0.0 to 1.0 | 0.5 | A fraction. |
                | `label` | text | none | A label. |
                | `mode` | fast, exact or slow | fast | A mode. |
                | `to` | type | bf16 | A type. |
                | `match` | selector | * | Tensors. |
                | `names` | list of text | [a, b] | Names. |

                """)
        #expect(sampleRegistry.declarations.map(\.identifier) == ["quantize", "sample.pass"])
    }
}
