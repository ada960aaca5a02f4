import Formats
import Models
import Passes
import Testing

/// `quantize` with `reallocate`: the bytes of the types that rules name, dealt out anew.
@Suite struct ReallocationTests {
    private func plan(_ input: String, _ rule: String, fallback: FallbackPolicy = .allow) throws -> Plan {
        let recipe = try Recipe.parse("{recipe: 1, name: t, passes: [{use: quantize, with: {rules: [\(rule)]}}]}", file: "t")
        return try Conversion(
            input: input, passes: try recipe.passes.map { try Registry.builtIn.pass(for: $0) },
            output: Output(path: input + ".out", format: .gguf), onFallback: fallback, provenance: nil, architectures: .builtIn
        ).plan(threadCount: 1)
    }

    private func types(_ plan: Plan) -> [String: Encoding] {
        Dictionary(uniqueKeysWithValues: plan.tensors.map { ($0.name, $0.encoding) })
    }

    @Test(arguments: ForwardFixture.all, ["{mixture: q4_0}", "{mixture: q5_k_m}", "{mixture: iq4_xs}", "q5_1"])
    func takesNoMoreBytes(fixture: ForwardFixture, type: String) throws {
        let scratch = try Scratch()
        let path = scratch.path + "/model"
        try fixture.write(to: path)
        let named = try plan(path, "{match: '*', type: \(type)}")
        let dealt = try plan(path, "{match: '*', type: \(type), reallocate: true}")
        #expect(dealt.totalByteCount <= named.totalByteCount)
        #expect(dealt.tensors.map(\.name) == named.tensors.map(\.name))
    }

    /// An embedding of 8 bits pays for the layers, and of those the values come first.
    @Test func theMostSensitiveGetMore() throws {
        let scratch = try Scratch()
        let fixture = ForwardFixture.named("llama-gqa-tied")
        try fixture.write(to: scratch.path + "/model")
        let named = types(try plan(scratch.path + "/model", "{match: '*', type: {mixture: q4_0}}"))
        let dealt = types(try plan(scratch.path + "/model", "{match: '*', type: {mixture: q4_0}, reallocate: true}"))
        #expect(named["token_embd.weight"] == .block(.q8_0) && named["blk.0.attn_v.weight"] == .block(.q4_0))
        let bits = dealt.mapValues { $0.ggmlType.map { Double($0.typeSize) / Double($0.blockSize) } ?? 0 }
        let (embedding, value, query) = (bits["token_embd.weight"] ?? 9, bits["blk.0.attn_v.weight"] ?? 0, bits["blk.0.attn_q.weight"] ?? 9)
        #expect(embedding < 8.5 / 8 && value > query && value > 4.5 / 8, "\(dealt)")
        #expect(dealt["blk.0.attn_norm.weight"] == .plain(.f32))
    }

    /// Only the tensors that the rule decides for pay and gain.
    @Test func otherRulesKeepTheirTypes() throws {
        let scratch = try Scratch()
        try ForwardFixture.named("llama-gqa-tied").write(to: scratch.path + "/model")
        let rules = "{match: '*', type: q8_0}, {match: {role: [q, k, v, o]}, type: q5_0, reallocate: true}"
        let dealt = types(try plan(scratch.path + "/model", rules))
        #expect(dealt["token_embd.weight"] == .block(.q8_0))
        #expect(dealt["blk.0.attn_v.weight"] == .block(.q8_0) && dealt["blk.1.attn_output.weight"] == .block(.iq4_nl))
    }

    /// Nothing is smaller than the smallest.
    @Test func whereNothingIsToBeDealtTheNamedTypesStay() throws {
        let scratch = try Scratch()
        try ForwardFixture.named("llama-gqa-tied").write(to: scratch.path + "/model")
        let dealt = types(try plan(scratch.path + "/model", "{match: {role: [q, k]}, type: q4_0, reallocate: true}"))
        #expect(dealt["blk.0.attn_q.weight"] == .block(.q4_0))
    }

    @Test func aModelWithoutRolesIsRefused() throws {
        let scratch = try Scratch()
        let path = try scratch.model(count: 1)
        #expect(throws: (any Error).self) { try plan(path, "{match: '*', type: q5_0, reallocate: true}") }
    }
}
