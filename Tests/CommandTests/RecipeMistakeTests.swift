import Foundation
import Testing
import TestSupport

/// Recipes with every kind of mistake: the message has file, line, column and the nearest right spelling.
@Suite struct RecipeMistakeTests {
    /// A name, the recipe, where the mistake is, and words of the message.
    static let mistakes: [(String, String, String, [String])] = [
        ("empty", "", "r.yaml", ["empty"]),
        ("no version", "name: a\n", "r.yaml:1:1", ["'recipe'"]),
        ("another version", "recipe: 2\n", "r.yaml:1:9", ["1"]),
        ("not YAML", "recipe: 1\npasses: [{use: cast\n", "r.yaml:3:1", ["not YAML"]),
        ("a list", "- recipe: 1\n", "r.yaml:1:1", ["mapping"]),
        ("unknown key", "recipe: 1\npases: []\n", "r.yaml:2:1", ["'pases'", "did you mean 'passes'"]),
        ("key twice", "recipe: 1\nname: a\nname: b\n", "r.yaml:2:1", ["'name'", "twice"]),
        ("unknown key of a step", "recipe: 1\npasses:\n  - use: untie\n    wiht: {}\n", "r.yaml:4:5", ["'wiht'", "did you mean 'with'"]),
        ("unknown pass", "recipe: 1\npasses: [{use: quantise}]\n", "r.yaml:2:16", ["'quantise'", "did you mean 'quantize'"]),
        ("unknown option", "recipe: 1\npasses: [{use: cast, with: {too: f16}}]\n", "r.yaml:2:29", ["'too'", "did you mean 'to'"]),
        ("missing option", "recipe: 1\npasses: [{use: cast}]\n", "r.yaml:2:16", ["'to'", "missing"]),
        ("wrong kind", "recipe: 1\npasses: quantize\n", "r.yaml:2:9", ["expected a list"]),
        ("wrong type", "recipe: 1\npasses: [{use: cast, with: {to: f61}}]\n", "r.yaml:2:33", ["'f61'", "did you mean 'f16'"]),
        ("number for text", "recipe: 1\nname: 3\n", "r.yaml:2:7", ["expected text"]),
        ("on-fallback", "recipe: 1\non-fallback: warm\n", "r.yaml:2:14", ["did you mean 'warn'"]),
        ("unknown role", rules("{match: {role: liner}, type: q8_0}"), "r.yaml:5:22", ["'liner'", "did you mean 'linear'"]),
        ("unknown selector key", rules("{match: {rolle: q}, type: q8_0}"), "r.yaml:5:16", ["'rolle'", "did you mean 'role'"]),
        ("bad pattern", rules("{match: \"re:(a\", type: q8_0}"), "r.yaml:5:15", ["nothing closes"]),
        ("unknown weight type", rules("{match: '*', type: q4_kk}"), "r.yaml:5:26", ["'q4_kk'", "did you mean 'q4_k'"]),
        ("mixture as type", rules("{match: '*', type: q4_k_m}"), "r.yaml:5:26", ["{mixture: q4_k_m}"]),
        ("rule without a match", rules("{match: \"*.down_prj.weight\", type: q8_0}"), "r.yaml:5:15", ["matches no tensor", "did you mean '*.down_proj.weight'"]),
        ("role without a match", rules("{match: {role: router}, type: q8_0}"), "r.yaml:5:15", ["matches no tensor"]),
        ("layer without a match", rules("{match: {layer: 9}, type: q8_0}"), "r.yaml:5:15", ["matches no tensor"]),
        ("pass without a match", "recipe: 1\npasses: [{use: drop, with: {match: '*.biass'}}]\n", "r.yaml:2:36", ["matches no tensor"]),
        ("unknown parameter", "recipe: 1\nparams: {inner: f16}\npasses: [{use: cast, with: {to: \"${iner}\"}}]\n", "r.yaml:3:33", ["'iner'", "did you mean 'inner'"]),
        ("missing import", "recipe: 1\nimports: [nowhere]\n", "r.yaml:2:11", ["nowhere"]),
        ("import of nothing of ours", "recipe: 1\nimports: [std/q4_k_n]\n", "r.yaml:2:11", ["did you mean 'std/q4_k_m'"]),
        ("import from outside", "recipe: 1\nimports: [../r]\n", "r.yaml:2:11", [".."]),
        ("import of itself", "recipe: 1\nimports: [r]\n", "r.yaml:2:11", ["circle"]),
        ("placeholder", "recipe: 1\noutput: [{format: gguf, path: \"{nam}.gguf\"}]\n", "r.yaml:2:31", ["{name}"]),
        ("format", "recipe: 1\noutput: [{format: ggfu, path: a}]\n", "r.yaml:2:19", ["did you mean 'gguf'"]),
        ("tag", "recipe: 1\nname: !!python/object a\n", "r.yaml:2:7", ["tags"]),
        ("aliases", "recipe: 1\nname: &a [x]\ndescription: *a\n", "r.yaml:2:7", ["anchor"]),
        ("second document", "recipe: 1\n---\nrecipe: 1\n", "r.yaml:2:1", ["document"]),
        ("plugins", "recipe: 1\nplugins: [./p.so]\n", "r.yaml:2:11", ["plugin"]),
    ]

    private static func rules(_ rule: String) -> String {
        "recipe: 1\npasses:\n  - use: quantize\n    with: {rules: [\n      \(rule)]}\n"
    }

    @Test(arguments: mistakes.indices) func mistakeIsPlacedAndExplained(index: Int) async throws {
        let (name, recipe, place, words) = Self.mistakes[index]
        let folder = try TemporaryFolder()
        try SmallModel().write(to: folder)
        try folder.write(Array(recipe.utf8), to: "r.yaml")
        let before = folder.everything
        for command in ["run", "plan"] {
            let outcome = try await resq([command, "r.yaml", "--input", "model", "--output", "o.gguf"], in: folder.path, limits: .smallFile)
            expectRefusal(outcome, saying: "error: \(place): ")
            for word in words { #expect(outcome.errors.contains(word), "\(name): \(outcome.errors)") }
        }
        #expect(folder.everything == before)
    }

    @Test func circlesOfImportsAreToldWhole() async throws {
        let folder = try TemporaryFolder()
        try folder.write(Array("recipe: 1\nimports: [b]\n".utf8), to: "a.yaml")
        try folder.write(Array("recipe: 1\nimports: [c]\n".utf8), to: "b.yaml")
        try folder.write(Array("recipe: 1\nimports: [a]\n".utf8), to: "c.yaml")
        let outcome = try await resq(["plan", "a.yaml", "--input", "model"], in: folder.path)
        expectRefusal(outcome, saying: "c.yaml:2:11: ", "a.yaml -> ./b.yaml -> ./c.yaml -> ./a.yaml")
    }

    /// Documents that are small to write and large to read.
    @Test func bombsAreRefused() async throws {
        let folder = try TemporaryFolder()
        var lol = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
        for level in 1..<30 { lol += "a\(level): &a\(level) [\(Array(repeating: "*a\(level - 1)", count: 9).joined(separator: ", "))]\n" }
        let bombs = [
            ("aliases", "recipe: 1\n" + lol),
            ("depth", "recipe: 1\nname: " + String(repeating: "[", count: 50_000)),
            ("indentation", (0..<2000).map { String(repeating: " ", count: $0) + "a:\n" }.joined()),
            ("size", "recipe: 1\ndescription: \(String(repeating: "x", count: 1 << 20))\n"),
            ("keys", "recipe: 1\nparams: {\((0..<100_000).map { "k\($0): 1" }.joined(separator: ", "))}\n"),
            ("parameters", "recipe: 1\nparams: {a: \(String(repeating: "x", count: 60_000))}\npasses:\n"
                + String(repeating: "- {use: rename, with: {x: \"${a}${a}${a}${a}${a}${a}${a}${a}${a}\"}}\n", count: 3000)),
        ]
        for (name, text) in bombs {
            try folder.write(Array(text.utf8), to: "\(name).yaml")
            let outcome = try await resq(["plan", "\(name).yaml", "--input", "model"], in: folder.path, limits: .smallFile)
            expectRefusal(outcome, saying: "\(name).yaml")
        }
    }

    @Test func namesThatAreNothing() async throws {
        let folder = try TemporaryFolder()
        try SmallModel().write(to: folder)
        expectRefusal(try await resq(["plan", "q4_k_n", "--input", "model"], in: folder.path), saying: "q4_k_n", "did you mean 'q4_k_m'")
        expectRefusal(try await resq(["plan", "./none.yaml", "--input", "model"], in: folder.path), saying: "./none.yaml")
        expectRefusal(try await resq(["plan", "q8_0", "--input", "none"], in: folder.path), saying: "none")
        expectRefusal(try await resq(["recipes", "q4_k_n"], in: folder.path), saying: "did you mean 'q4_k_m'")
    }

    @Test func aLimitOnErrorsStopsTheRun() async throws {
        let folder = try TemporaryFolder()
        try SmallModel().write(to: folder)
        let recipe = "{recipe: 1, passes: [{use: quantize, with: {rules: [{match: '*', type: q4_0}]}}], verify: {max-relative-error: 0.001}}"
        try folder.write(Array(recipe.utf8), to: "r.yaml")
        let before = folder.everything
        expectRefusal(try await resq(["run", "r.yaml", "--input", "model", "--output", "o.gguf"], in: folder.path), 1, saying: "relative error")
        #expect(folder.everything == before)
    }

    @Test func typesThatDoNotFitStopTheRun() async throws {
        let folder = try TemporaryFolder()
        try SmallModel().write(to: folder)
        let recipe = "{recipe: 1, passes: [{use: quantize, with: {rules: [{match: '*', type: q4_k}]}}]}"
        try folder.write(Array(recipe.utf8), to: "r.yaml")
        let arguments = ["run", "r.yaml", "--input", "model", "--output", "o.gguf"]
        let before = folder.everything
        expectRefusal(try await resq(arguments, in: folder.path), saying: "Q4_K", "on-fallback")
        #expect(folder.everything == before)
        let warned = try await resq(arguments + ["--set", "on-fallback=warn"], in: folder.path)
        expectSuccess(warned)
        #expect(warned.errors.contains("warning: "))
        let allowed = try await resq(arguments + ["--set", "on-fallback=allow"], in: folder.path)
        expectSuccess(allowed)
        #expect(!allowed.errors.contains("warning: "))
    }
}
