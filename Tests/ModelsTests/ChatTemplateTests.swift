import Formats
import Models
import Testing

/// Chat templates against what transformers renders (`scripts/fixtures/make-chat-templates`), and hostile ones.
@Suite struct ChatTemplateTests {
    private static let date = TemplateDate(year: 2024, month: 7, day: 5, hour: 9, minute: 3, second: 7, weekday: 5, dayOfYear: 187)

    private static func fixture() throws -> JSONValue {
        let file = #filePath
        let path = file[..<(file.lastIndex(of: "/") ?? file.endIndex)] + "/Fixtures/chat-templates.json"
        return try JSONValue(parsing: TensorBytes(try MappedFile(path: String(path))))
    }

    private static func rendered(_ template: String, _ variables: JSONValue = .object([:])) throws(ModelError) -> String {
        var all: JSONObject = ["tools": nil, "add_generation_prompt": true, "bos_token": "<s>", "eos_token": "</s>"]
        for key in variables.object?.keys ?? [] { all[key] = variables[key] }
        return try ChatTemplate(template).render(all, date: date)
    }

    @Test func textsAreThoseOfTransformers() throws {
        let fixture = try Self.fixture()
        let templates = try #require(fixture["templates"]?.object)
        let conversations = try #require(fixture["conversations"]?.object)
        var texts = 0, refusals = 0
        for name in templates.keys {
            let template = try #require(templates[name]?.string)
            for conversation in conversations.keys {
                let variables = try #require(conversations[conversation])
                if let text = fixture["texts"]?[name]?[conversation]?.string {
                    #expect(try Self.rendered(template, variables) == text, "\(name), \(conversation)")
                    texts += 1
                } else if name == "unsafe" {
                    // What only Python has is undefined here.
                    #expect(throws: ModelError.self) { try Self.rendered("{{ ''.__class__.__mro__ }}", variables) }
                } else {
                    #expect(throws: ModelError.self, "\(name), \(conversation)") { try Self.rendered(template, variables) }
                    refusals += 1
                }
            }
        }
        #expect(texts >= 60 && refusals >= 20)
    }

    @Test func mistakesNameTheLine() {
        let cases: [(String, Int, String)] = [
            ("a\n{% if x %}", 2, "a block is not closed: there is no 'endif'"),
            ("a\n\n{{ x", 3, "a tag is not closed"),
            ("\n{{ 'x }}", 2, "a string is not closed"),
            ("\n{# x", 2, "a comment is not closed"),
            ("{% nonsense %}", 1, "'nonsense' is no statement that is known here"),
            ("{{ x | nonsense }}", 1, "there is no filter 'nonsense' here"),
            ("{{ x is nonsense }}", 1, "there is no test 'nonsense' here"),
            ("\n{{ x.y }}", 2, "'x' is undefined, so it has no 'y'"),
            ("{{ 1 + 'a' }}", 1, "'+' does not go with an integer and a string"),
            ("{{ 1 // 0 }}", 1, "a number is divided by zero"),
            ("{{ 9223372036854775807 + 1 }}", 1, "a number does not fit 64 bits"),
            ("{{ 1 2 }}", 1, "a number stands where '}}' is expected"),
            ("{% break %}", 1, "'break' stands outside of a loop"),
            ("{% set true = 1 %}", 1, "'true' cannot be set"),
            ("\n\n{{ raise_exception('no\\nsystem') }}", 3, "the template refuses this conversation: no\\nsystem"),
            ("{{ messages() }}", 1, "'messages' is undefined, so it cannot be called"),
        ]
        for (template, line, why) in cases {
            #expect(throws: ModelError(.invalidTemplate(name: "default", line: line, why: why)), "\(template)") { try Self.rendered(template) }
        }
    }

    /// Templates that would take more time, memory, stack or output than any machine has.
    private static let endless = [
        "{{ " + String(repeating: "(", count: 100_000) + " }}",
        "{{ " + String(repeating: "-", count: 100_000) + "1 }}",
        "{{ " + String(repeating: "not ", count: 100_000) + "1 }}",
        "{{ " + String(repeating: "[", count: 100_000),
        String(repeating: "{% if 1 %}", count: 50_000),
        "{{ " + String(repeating: "1 if 1 else ", count: 50_000) + "1 }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m(x) %}{{ m(x + x) }}{{ m(x + x) }}{% endmacro %}{{ m('xxxxxxxx') }}",
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{{ range(100001) }}", "{{ range(-9223372036854775807, 9223372036854775807) }}", "{{ 'x' * 9223372036854775807 }}",
        "{{ [1] * 1000000000 }}", "{{ 'x' * 1000000000 }}", "{{ 'x' | indent(1000000000) }}",
        "{% set n = namespace(s='xxxxxxxxxxxxxxxx') %}{% for i in range(100) %}{% set n.s = n.s + n.s %}{% endfor %}",
        "{% set n = namespace(s='xxxxxxxxxxxxxxxx') %}{% for i in range(100) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
        "{% set n = namespace(s=[1]) %}{% for i in range(100) %}{% set n.s = n.s + n.s %}{% endfor %}",
        "{% set n = namespace(s=[1]) %}{% for i in range(100) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s }}",
        "{% set n = namespace(s=[1]) %}{% for i in range(60) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s }}",
        "{% set n = namespace(s=[1]) %}{% for i in range(60) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s | tojson(indent=64) }}",
        "{% set n = namespace(s=[1], t=[1]) %}{% for i in range(60) %}{% set n.s = [n.s, n.s] %}{% set n.t = [n.t, n.t] %}{% endfor %}{{ n.s == n.t }}",
        "{% set n = namespace(s='a b ') %}{% for i in range(24) %}{% set n.s = n.s + n.s %}{% endfor %}{{ n.s.split() | length }}",
        "{% set n = namespace(s='a') %}{% for i in range(26) %}{% set n.s = n.s.replace('a', 'aa') %}{% endfor %}{{ n.s.replace('', n.s) }}",
        "{% set n = namespace(x=1) %}{% for i in range(99) %}{% set n.x = n %}{% endfor %}{{ n.x.x.x }}{% for i in range(100000) %}{% for j in range(1000) %}{{ 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' }}{% endfor %}{% endfor %}",
        String(repeating: " ", count: 1 << 20) + "x",
    ]

    @Test(.timeLimit(.minutes(2)), arguments: endless.indices) func endlessTemplatesAreStopped(index: Int) {
        let template = Self.endless[index]
        #expect(throws: ModelError.self, "\(template.prefix(80))") { try Self.rendered(template) }
    }

    @Test func cutAndChangedTemplatesNeverTrap() throws {
        let fixture = try Self.fixture()
        let conversation = try #require(fixture["conversations"]?["tools"])
        let replacements = Array("{}%#-+()[]'\"|.,:=~*/<>\\ \n019axnE\u{7F}".utf8)
        var count = 0
        for name in try #require(fixture["templates"]?.object).keys {
            let bytes = Array(try #require(fixture["templates"]?[name]?.string).utf8)
            for place in bytes.indices {
                var changed = bytes
                changed[place] = replacements[place * 7919 % replacements.count]
                for template in [Array(bytes.prefix(place)), changed, Array(bytes.prefix(place) + bytes.dropFirst(place + 1))] {
                    guard let text = String(validating: template, as: UTF8.self) else { continue }
                    _ = try? Self.rendered(text, conversation)
                    count += 1
                }
            }
        }
        #expect(count > 20_000)
    }
}
