import Passes
import Testing

/// Recipes that try to take time or memory; each must be refused, quickly.
@Suite(.timeLimit(.minutes(1))) struct HostileRecipeTests {
    private func refusal(_ text: String) -> String {
        do throws(RecipeError) {
            _ = try Recipe.parse(text, file: "r.yaml")
            return "fine"
        } catch {
            return error.description
        }
    }

    @Test func aliasesOfAliases() {
        var text = "recipe: 1\na0: &a0 [x, x, x, x, x, x, x, x, x]\n"
        for level in 1...30 { text += "a\(level): &a\(level) [\(repeatElement("*a\(level - 1)", count: 9).joined(separator: ", "))]\n" }
        #expect(refusal(text) == "r.yaml:3: anchors and aliases are not allowed")
        // As keys they would be hashed.
        text += "? *a30\n: 1\n"
        #expect(refusal(text) == "r.yaml:3: anchors and aliases are not allowed")
    }

    @Test func ampersandsAndStarsInTextAreFine() {
        let globs = (0..<20).map { "\"*.\($0)\"" }.joined(separator: ", ")
        let use = "passes: [{use: a, with: {x: \"${a}\"}}]\n"
        #expect(refusal("recipe: 1\nparams: {a: [\(globs)]}\ndescription: R & D, \"R&D\", 2 * 3 and a *b*\n\(use)") == "fine")
    }

    @Test(arguments: ["[", "{a: ", "- ", "? "]) func deepNesting(opening: String) {
        for depth in [40, 900, 100_000] {
            let text = "recipe: 1\nparams:\n  a:\n    " + String(repeating: opening, count: depth)
            #expect(refusal(text) != "fine")
        }
    }

    @Test func depthIsCountedAndNamed() {
        let deep = String(repeating: "[", count: 40) + String(repeating: "]", count: 40)
        #expect(refusal("recipe: 1\nparams: {a: \(deep)}\n") == "r.yaml:2:43: nested more than 32 levels deep")
    }

    @Test func aScalarOfTenMegabytes() {
        let text = "recipe: 1\nname: " + String(repeating: "a", count: 10 << 20)
        #expect(refusal(text) == "r.yaml: a recipe of 10485776 bytes, at most 262144 are allowed")
    }

    @Test func manyKeys() {
        let keys = (0..<20_000).map { "k\($0): 1" }.joined(separator: "\n")
        #expect(refusal("recipe: 1\n" + keys).hasPrefix("r.yaml:2:1: unknown key 'k0' in the recipe"))
    }

    @Test func parametersThatMultiply() {
        let long = String(repeating: "x", count: 100_000)
        let uses = String(repeating: "${p}", count: 1000)
        let message = "the recipe grows past 1048576 bytes when its parameters are filled in"
        #expect(refusal("recipe: 1\nparams: {p: \(long)}\nname: \"\(uses)\"\n") == "r.yaml:3:7: \(message)")
        let list = "[" + repeatElement("\"${p}\"", count: 1000).joined(separator: ",") + "]"
        #expect(refusal("recipe: 1\nparams: {p: \(long)}\npasses: [{use: a, with: {x: \(list)}}]\n").hasSuffix(message))
    }

    @Test func controlCharactersAreEscapedInMessages() {
        let message = outcome("recipe: 1\n\"a\\e[31m\\nb\": 1\n")
        #expect(message.hasPrefix("r.yaml:2:1: unknown key 'a\\u{1B}[31m\\nb' in the recipe"))
    }

    /// A recipe with everything in it.
    private static let valid = Array(
        """
        recipe: 1
        name: damaged # a comment
        params: {fraction: 0.125, types: [q8_0, "q4_k"]}
        calibration: {text: null, sequences: 128, seed: 0}
        passes:
          - {id: a, use: sample.pass, with: {fraction: "${fraction}", names: "${types}"}}
          - use: quantize
            with:
              rules:
                - {match: {role: [linear, q], layer: 0-3, not: "re:.*(k|v)[_.]{1,3}\\\\d+"}, type: {mixture: q4_k_m}}
                - match: 'model.*.[a-z]?'
                  type: keep
                  group: 32
        output: [{format: gguf.zst, path: "{name}-{model}.gguf.zst", level: 3}]
        verify: {readback: exact, max-relative-error: 0.2}
        on-fallback: error
        """.utf8)

    /// Cut anywhere, it is refused with a place, or what is left is a recipe.
    @Test func cutRecipes() {
        var fine = 0
        for count in Self.valid.indices {
            let message = outcome(String(decoding: Self.valid[..<count], as: UTF8.self))
            if message == "fine" { fine += 1 } else { #expect(message.hasPrefix("r.yaml:") && !message.contains("\n"), "\(count): \(message)") }
        }
        #expect(fine > 0 && fine < Self.valid.count / 2)
    }

    /// Seeded damage to a valid recipe: it must load or be refused with a place, never trap or hang.
    @Test func damagedRecipes() {
        let tokens = ["&a", "*a", "[", "]", "{", "}", ": ", "- ", "\n", "\n  ", "\"", "'", "|\n", ">", "!!str ", "---\n", "${", "}", "re:", "%", "\t", "\u{FEFF}", "é"]
            .map { Array($0.utf8) }
        var random = SplitMix(state: 42)
        var fine = 0
        for _ in 0..<3000 {
            var bytes = Self.valid
            for _ in 0...random.next() % 3 {
                let place = Int(random.next() % UInt64(bytes.count))
                switch random.next() % 4 {
                case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next())
                case 1: bytes.remove(at: place)
                case 2: bytes.insert(contentsOf: tokens[Int(random.next() % UInt64(tokens.count))], at: place)
                default: bytes.removeSubrange(place..<min(bytes.count, place + Int(random.next() % 20)))
                }
            }
            // Damage that breaks UTF-8 is refused earlier.
            _ = try? RecipeNode.parse(bytes, file: "r.yaml")
            let text = String(decoding: bytes, as: UTF8.self)
            let message = outcome(text)
            if message == "fine" { fine += 1 } else { #expect(message.hasPrefix("r.yaml:") && !message.contains("\n")) }
        }
        // Both must happen, else the damage is too small or too great to test anything.
        #expect(fine > 100 && fine < 2900)
    }
}

/// splitmix64.
private struct SplitMix {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
