import Passes
import Testing

/// Every kind of mistake, with the message it must give.
@Suite struct RecipeMistakeTests {
    @Test(arguments: [
        ("", "r.yaml: the recipe is empty"),
        ("recipe: [1", "r.yaml:2:1: not YAML: while parsing a flow sequence, did not find expected ',' or ']'"),
        ("recipe: 1\n\tpasses: []", "r.yaml:2:1: not YAML: while scanning a plain scalar, found a tab character that violates indentation"),
        ("[1]", "r.yaml:1:1: the recipe is a list, expected a mapping"),
        ("recipe: 1\n---\nrecipe: 1\n", "r.yaml:2:1: a second document, only one is allowed"),
        ("recipe: 1\nname: a\nname: b\n", "r.yaml:2:1: the key 'name' stands twice"),
        ("recipe: 1\nname: a\n\"name\": b\n", "r.yaml:2:1: the key 'name' stands twice"),
        ("recipe: 1\nname: !!str a\n", "r.yaml:2:7: the tag 'tag:yaml.org,2002:str': tags are not allowed"),
        ("recipe: 1\nname: !x a\n", "r.yaml:2:7: the tag '!x': tags are not allowed"),
        ("recipe: 1\npasses: !!seq []\n", "r.yaml:2:9: the tag 'tag:yaml.org,2002:seq': tags are not allowed"),
        ("recipe: 1\nname: &a b\n", "r.yaml:2:7: the anchor '&a': anchors and aliases are not allowed"),
        ("recipe: 1\nname: *a\n", "r.yaml:2:7: an alias: anchors and aliases are not allowed; put text that starts with '*' in quotes"),
        ("recipe: 1\nname: &a b\ndescription: *a\n", "r.yaml:2:7: the anchor '&a': anchors and aliases are not allowed"),
        ("recipe: 1\n? [a]\n: b\n", "r.yaml:2:3: a key is a list or a mapping, expected text"),
        ("recipe: 1\nname: 99999999999999999999\n", "r.yaml:2:7: the integer 99999999999999999999 does not fit 64 bits"),
        ("recipe: 1\nname: 1e999\n", "r.yaml:2:7: the number 1e999 is not finite"),
        ("recipe: 1\nname: .nan\n", "r.yaml:2:7: the number .nan is not finite"),
    ])
    func notOurYAML(text: String, message: String) {
        #expect(outcome(text) == message)
    }

    @Test(arguments: [
        ("name: a\n", "r.yaml:1:1: 'recipe' is missing in the recipe"),
        ("recipe: 2\n", "r.yaml:1:9: 'recipe' (the version of the format) is 2, expected an integer from 1 to 1"),
        (
            "recipe: 1\npases: []\n",
            "r.yaml:2:1: unknown key 'pases' in the recipe, expected recipe, name, description, imports, params, plugins, "
                + "calibration, passes, output, verify or on-fallback; did you mean 'passes'?"
        ),
        ("recipe: 1\nname: 3\n", "r.yaml:2:7: 'name' is 3, expected text"),
        ("recipe: 1\nname: no\ndescription: on\n", "fine"),
        ("recipe: 1\npasses: quantize\n", "r.yaml:2:9: 'passes' is text 'quantize', expected a list"),
        ("recipe: 1\npasses: [quantize]\n", "r.yaml:2:10: the step is text 'quantize', expected a mapping"),
        ("recipe: 1\npasses: [{id: a}]\n", "r.yaml:2:10: 'use' is missing in the step"),
        ("recipe: 1\npasses: [{use: a, wiht: {}}]\n", "r.yaml:2:19: unknown key 'wiht' in the step, expected id, use or with; did you mean 'with'?"),
        ("recipe: 1\npasses: [{use: quantise}]\n", "r.yaml:2:16: unknown pass 'quantise'; did you mean 'quantize'?"),
        ("recipe: 1\npasses: [{use: zzz}]\n", "r.yaml:2:16: unknown pass 'zzz'"),
        ("recipe: 1\npasses:\n- {id: a, use: sample.pass}\n- {id: a, use: sample.pass}\n", "r.yaml:4:8: the id 'a' stands twice"),
        ("recipe: 1\non-fallback: warm\n", "r.yaml:2:14: 'on-fallback' is 'warm', expected error, warn or allow; did you mean 'warn'?"),
        ("recipe: 1\ncalibration: {seed: -1}\n", "r.yaml:2:21: 'seed' of 'calibration' is -1, expected an integer of at least 0"),
        ("recipe: 1\ncalibration: {contex: 1}\n", "r.yaml:2:15: unknown key 'contex' in 'calibration', expected text, sequences, context or seed; did you mean 'context'?"),
        ("recipe: 1\nverify: {readback: yes}\n", "r.yaml:2:20: 'readback' of 'verify' is 'yes', expected exact or none"),
        ("recipe: 1\nverify: {max-relative-error: -0.5}\n", "r.yaml:2:30: 'max-relative-error' of 'verify' is -0.5, expected a number from 0.0 to 1000000.0"),
        ("recipe: 1\nplugins: [1]\n", "r.yaml:2:11: a plugin is 1, expected text"),
    ])
    func wrongRecipe(text: String, message: String) {
        #expect(outcome(text) == message)
    }

    @Test(arguments: [
        ("{path: a}", "r.yaml:2:10: 'format' is missing in the output"),
        ("{format: gguf}", "r.yaml:2:10: 'path' is missing in the output"),
        ("{format: ggfu, path: a}", "r.yaml:2:19: 'format' of the output is 'ggfu', expected safetensors, gguf, gguf.zst or huggingface; did you mean 'gguf'?"),
        ("{format: gguf, path: a, level: 3}", "r.yaml:2:34: 'level' means nothing for the format gguf"),
        ("{format: gguf.zst, path: a, level: 23}", "r.yaml:2:45: 'level' of the output is 23, expected an integer from 1 to 22"),
        ("{format: gguf, path: \"{nam}.gguf\"}", "r.yaml:2:31: 'path' of the output: unknown placeholder {nam}, known are {name} and {model}, did you mean {name}"),
        ("{format: gguf, path: \"{name.gguf\"}", "r.yaml:2:31: 'path' of the output: a brace without its partner"),
    ])
    func wrongOutput(output: String, message: String) {
        #expect(outcome("recipe: 1\noutput: [\(output)]\n") == message)
    }

    @Test(arguments: [
        ("flag: true, count: 8, fraction: 1, label: x, mode: exact, to: q4_k, match: a*, names: []", "fine"),
        ("flag: yes", "r.yaml:3:37: option 'flag' of pass 'sample.pass' is text 'yes', expected true or false"),
        ("count: 9", "r.yaml:3:38: option 'count' of pass 'sample.pass' is 9, expected an integer from 1 to 8"),
        ("count: 2.0", "r.yaml:3:38: option 'count' of pass 'sample.pass' is 2.0, expected an integer from 1 to 8"),
        ("fraction: 1.5", "r.yaml:3:41: option 'fraction' of pass 'sample.pass' is 1.5, expected a number from 0.0 to 1.0"),
        ("label: [a]", "r.yaml:3:38: option 'label' of pass 'sample.pass' is a list, expected text"),
        ("label: null", "fine"),
        ("flag: null", "r.yaml:3:37: option 'flag' of pass 'sample.pass' is null, expected true or false"),
        ("mode: exat", "r.yaml:3:37: option 'mode' of pass 'sample.pass' is 'exat', expected fast, exact or slow; did you mean 'exact'?"),
        ("to: q4_kk", "r.yaml:3:35: option 'to' of pass 'sample.pass': unknown type 'q4_kk'; did you mean 'q4_k'?"),
        ("names: a", "r.yaml:3:38: option 'names' of pass 'sample.pass' is text 'a', expected a list"),
        ("names: [a, 1]", "r.yaml:3:42: an element of option 'names' of pass 'sample.pass' is 1, expected text"),
        ("lable: x", "r.yaml:3:31: unknown key 'lable' in the options of pass 'sample.pass', expected flag, count, fraction, label, mode, to, match or names; did you mean 'label'?"),
        ("match: {rolle: q}", "r.yaml:3:39: unknown key 'rolle' in the selector, expected name, role, layer, shape or not; did you mean 'role'?"),
        ("match: {role: nrom}", "r.yaml:3:45: unknown role 'nrom'; did you mean 'norm'?"),
        ("match: {layer: 3-1}", "r.yaml:3:46: 'layer' of the selector is text '3-1', expected a layer's number, a range such as 0-3, first or last"),
        ("match: {layer: -1}", "r.yaml:3:46: 'layer' of the selector is -1, expected a layer's number, a range such as 0-3, first or last"),
        ("match: {shape: [-2]}", "r.yaml:3:47: a dimension of 'shape' is -2, expected an integer of at least 0"),
        ("match: 3", "r.yaml:3:38: the selector is 3, expected a glob, 're:' and a regular expression, or a mapping"),
        ("match: []", "r.yaml:3:38: the selector is an empty list, expected at least one selector"),
        ("match: {}", "r.yaml:3:38: the selector is an empty mapping, expected at least one condition"),
        ("match: 'a[b'", "r.yaml:3:38: the pattern 'a[b' has a '[' that nothing closes"),
        ("match: 're:(a'", "r.yaml:3:38: the pattern 're:(a' has a '(' that nothing closes"),
        ("match: 're:a**'", "r.yaml:3:38: the pattern 're:a**' has a '*' behind another repeat; a whole match needs no lazy repeats"),
        ("match: 're:(?=a)'", "r.yaml:3:38: the pattern 're:(?=a)' uses '(?', of which only '(?:' is supported"),
    ])
    func wrongOption(options: String, message: String) {
        #expect(outcome(sample(options)) == message)
    }

    @Test(arguments: [
        ("{match: '*', type: q8_0, group: 32}", "fine"),
        ("{match: '*', type: {mixture: Q4_K_M}}", "fine"),
        ("{match: '*'}", "r.yaml:6:11: 'type' is missing in the rule"),
        ("{type: keep}", "r.yaml:6:11: 'match' is missing in the rule"),
        ("{match: '*', type: kepe}", "r.yaml:6:30: 'type' of the rule: unknown type 'kepe'; did you mean 'keep'?"),
        ("{match: '*', type: q4_k_m}", "r.yaml:6:30: 'q4_k_m' is a mixture of types, written 'type: {mixture: q4_k_m}'"),
        ("{match: '*', type: {mixture: q4_k_x}}", "r.yaml:6:40: unknown mixture 'q4_k_x'; did you mean 'q4_k_m'?"),
        ("{match: '*', type: {mix: q4_k_m}}", "r.yaml:6:31: unknown key 'mix' in 'type' of the rule, expected mixture or split"),
        ("{match: '*', type: 4}", "r.yaml:6:30: 'type' of the rule is 4, expected the name of a type, keep, {mixture: NAME}, or {split: {high: int8, low: int4}}"),
        ("{match: '*', type: {split: {low: int4, group: 4}}}", "r.yaml:6:57: 'group' of 'split' is 4, expected an integer from 8 to 65536, or null"),
        ("{match: '*', type: {split: {low: int4, zero-points: 1}}}", "r.yaml:6:63: 'zero-points' of 'split' is 1, expected true or false"),
        ("{match: '*', type: {split: {low: int4, group: 64, zero-points: true}}}", "fine"),
        ("{match: '*', type: keep, group: 0}", "r.yaml:6:43: option 'group' of the rule is 0, expected an integer from 1 to 1024"),
        ("{match: '*', type: keep, grup: 1}", "r.yaml:6:36: unknown key 'grup' in the rule, expected match, type or group; did you mean 'group'?"),
    ])
    func wrongRule(text: String, message: String) {
        #expect(outcome(rule(text)) == message)
    }

    @Test func missingOption() {
        #expect(outcome("recipe: 1\npasses: [{use: quantize}]\n") == "r.yaml:2:16: option 'rules' of pass 'quantize' is missing")
        #expect(
            outcome("recipe: 1\npasses: [{use: quantize, with: {rules: []}}]\n")
                == "r.yaml:2:40: option 'rules' of pass 'quantize' is empty, expected at least one rule")
    }

    @Test func notUTF8() {
        let error = #expect(throws: RecipeError.self) {
            try RecipeNode.parse(Array("recipe: 1\nname: a".utf8) + [0xFF] + Array("b".utf8), file: "r.yaml")
        }
        #expect(error?.description == "r.yaml:2:8: the recipe is not UTF-8")
    }
}
