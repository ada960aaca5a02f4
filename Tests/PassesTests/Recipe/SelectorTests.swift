import Formats
import Passes
import Testing

@Suite struct SelectorTests {
    private func selector(_ yaml: String) throws -> Selector {
        try Selector(try RecipeNode.parse(Array(yaml.utf8), file: "s"))
    }

    private let tensors = [
        TensorFacts(name: "model.embed_tokens.weight", role: "embedding", layerCount: 4, shape: [100, 8]),
        TensorFacts(name: "model.layers.0.self_attn.q_proj.weight", role: "q", layer: 0, layerCount: 4, shape: [8, 8]),
        TensorFacts(name: "model.layers.1.self_attn.q_proj.bias", role: "q-bias", layer: 1, layerCount: 4, shape: [8]),
        TensorFacts(name: "model.layers.3.mlp.experts.7.w1.weight", role: "expert-gate", layer: 3, layerCount: 4, shape: [16, 8]),
        TensorFacts(name: "model.norm.weight", role: "final-norm", layerCount: 4, shape: [8]),
        TensorFacts(name: "überlang", layerCount: 4, shape: []),
    ]

    @Test(arguments: [
        ("'*'", [0, 1, 2, 3, 4, 5]),
        ("'*.weight'", [0, 1, 3, 4]),
        ("model.norm.weight", [4]),
        ("model.norm.weigh", []),
        ("odel.norm.weight", []),
        ("'model.layers.?.*'", [1, 2, 3]),
        ("'model.layers.[01].*'", [1, 2]),
        ("'model.layers.[!0-2].*'", [3]),
        ("'?berlang'", [5]),
        ("'re:.*q_proj\\.(weight|bias)'", [1, 2]),
        ("'re:q_proj'", []),
        ("'re:^model\\.layers\\.\\d+\\..*$'", [1, 2, 3]),
        ("'re:(?:\\w+\\.){2}weight'", [0, 4]),
        ("'re:.*[^.]{10,}.*'", [0]),
        ("'re:model(\\.[a-z_]+|\\.[0-9]+){1,3}'", [0, 4]),
        ("{role: linear}", [1, 3]),
        ("{role: [norm, embedding]}", [0, 4]),
        ("{role: q}", [1]),
        ("{role: [bias, expert]}", [2, 3]),
        ("{layer: 0}", [1]),
        ("{layer: 0-1}", [1, 2]),
        ("{layer: [first, last]}", [1, 3]),
        ("{layer: last, role: expert}", [3]),
        ("{layer: last, role: q}", []),
        ("{shape: ['*', 8]}", [0, 1, 3]),
        ("{shape: [8]}", [2, 4]),
        ("{shape: []}", [5]),
        ("{not: {role: [linear, norm]}}", [0, 2, 5]),
        ("{name: ['*.bias', '*norm*'], not: {layer: 1}}", [4]),
        ("['*.bias', {role: embedding}]", [0, 2]),
    ])
    func matches(yaml: String, places: [Int]) throws {
        let selector = try selector(yaml)
        #expect(tensors.indices.filter { selector.matches(tensors[$0]) } == places)
    }

    @Test(.timeLimit(.minutes(1)), arguments: ["'re:(a*)*b'", "'re:(a|a)*b'", "'re:(a?){500}a{500}b'", "'*a*a*a*a*a*a*a*a*a*b'"])
    func noPatternBacktracks(yaml: String) throws {
        let name = String(repeating: "a", count: 600)
        let selector = try selector(yaml)
        #expect(!selector.matches(TensorFacts(name: name, shape: [])))
        #expect(selector.matches(TensorFacts(name: name + "b", shape: [])))
    }

    @Test(arguments: [
        ("'re:((a{1000}){1000}){1000}'", "is too large"),
        ("'re:a{1001}'", "has a '{' that is not {m}, {m,} or {m,n} with numbers up to 1000"),
        ("'re:a{3,2}'", "has a '{' that is not {m}, {m,} or {m,n} with numbers up to 1000"),
        ("'re:a{,2}'", "has a '{' that is not {m}, {m,} or {m,n} with numbers up to 1000"),
        ("'re:[z-a]'", "has the range 'z-a', which is empty"),
        ("'re:[a'", "has a '[' that nothing closes"),
        ("'re:a)'", "has a ')' that nothing opened"),
        ("'re:*a'", "has a '*' with nothing before it to repeat"),
        ("'re:\\1'", "uses '\\1', which is not supported"),
        ("'re:a\\'", "ends in a '\\'"),
        ("'re:'", "is empty"),
    ])
    func badPatterns(yaml: String, why: String) {
        let error = #expect(throws: RecipeError.self) { try selector(yaml) }
        #expect(error?.what == "the pattern \(yaml) \(why)")
        #expect(error?.location == RecipeLocation(file: "s", line: 1, column: 1))
    }

    @Test func deepAndLongPatterns() {
        let deep = #expect(throws: RecipeError.self) { try selector("'re:\(String(repeating: "(", count: 400))'") }
        #expect(deep?.what.hasSuffix("nests groups too deeply") == true)
        let long = #expect(throws: RecipeError.self) { try selector("'\(String(repeating: "a", count: 1001))'") }
        #expect(long?.what.hasSuffix("is longer than 1000 characters") == true)
    }

    @Test func theLastRuleThatMatchesDecides() throws {
        let rules = try rules("[{match: '*', type: q8_0}, {match: {role: linear}, type: {mixture: f16}}, {match: '*norm*', type: keep}]")
        #expect(try rules.decisions(for: tensors) == [0, 1, 0, 1, 2, 0])
        #expect(rules.map(\.type) == [.encoding(.block(.q8_0)), .mixture("f16"), .keep])
    }

    @Test func everyRuleMustMatch() throws {
        let rules = try rules("[{match: '*', type: q8_0},\n {match: model.nrom.weight, type: keep}]")
        let error = #expect(throws: RecipeError.self) { try rules.decisions(for: tensors) }
        #expect(error?.description == "s:2:10: the rule matches no tensor of the model; did you mean 'model.norm.weight'?")
        let roles = try self.rules("[{match: {role: q}, type: q8_0}]")
        let unknown = #expect(throws: RecipeError.self) { try roles.decisions(for: [TensorFacts(name: "a", shape: [1])]) }
        #expect(
            unknown?.description
                == "s:1:10: the rule matches no tensor of the model (its architecture is unknown, so its tensors have no roles)")
    }

    private func rules(_ yaml: String) throws -> [Rule] {
        let location = RecipeLocation(file: "s")
        let entry = RecipeNode.Entry(
            key: "rules", keyLocation: location, value: try RecipeNode.parse(Array(yaml.utf8), file: "s"))
        return try PassOptions(
            RecipeNode(.mapping([entry]), at: location), declared: quantizeDeclaration.options, owner: "pass 'quantize'",
            location: location
        ).rules("rules")
    }
}
