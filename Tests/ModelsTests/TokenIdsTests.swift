import Formats
import Models
import Testing

/// Ids and texts as the tokenizers package gives them (`scripts/fixtures/make-token-ids`).
@Suite struct TokenIdsTests {
    private struct Case {
        let name: String
        let tokenizer: Tokenizer
        let ids: [[Int]]
        let decoded: [String]
    }

    private static func fixture() throws -> (texts: [String], cases: [Case]) {
        let file = #filePath
        let path = file[..<(file.lastIndex(of: "/") ?? file.endIndex)] + "/Fixtures/token-ids.json"
        let json = try JSONValue(parsing: TensorBytes(try MappedFile(path: String(path))))
        let cases = try (json["cases"]?.array ?? []).map { entry in
            Case(
                name: entry["name"]?.string ?? "", tokenizer: try Tokenizer(json: try #require(entry["tokenizer"])),
                ids: (entry["ids"]?.array ?? []).map { $0.array?.compactMap(\.integer) ?? [] },
                decoded: (entry["decoded"]?.array ?? []).compactMap(\.string))
        }
        return ((json["texts"]?.array ?? []).compactMap(\.string), cases)
    }

    @Test func idsAreThoseOfTheTokenizersPackage() throws {
        let (texts, cases) = try Self.fixture()
        #expect(cases.count == 8 && texts.count == 14)
        for entry in cases {
            for (text, ids) in zip(texts, entry.ids) { #expect(try entry.tokenizer.encode(text) == ids, "\(entry.name): \(text.debugDescription)") }
        }
    }

    @Test func textIsDecodedAsThere() throws {
        for entry in try Self.fixture().cases {
            for (ids, text) in zip(entry.ids, entry.decoded) { #expect(entry.tokenizer.decode(ids) == text, "\(entry.name): \(ids)") }
        }
    }

    /// Random vocabularies against the definition: at each place the longest token, and one unknown token for a word that has none.
    @Test func wordPiecesAreTheLongestTokens() throws {
        let letters = ["a", "b", "é", "##", "四"]
        var state: UInt64 = 7
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        func word(_ length: Int) -> String { (0..<length).map { _ in letters[random(letters.count)] }.joined() }
        for (prefix, longest) in [("##", 9), ("", 9), ("é", 1_000_000)] {
            var pieces = ["[UNK]", "a", "b", "é", prefix + "a", prefix + "b", prefix + "é"]
            for _ in 0..<40 { pieces.append((random(2) == 0 ? prefix : "") + word(1 + random(5))) }
            var vocabulary: JSONObject = [:]
            for piece in pieces where vocabulary[piece] == nil { vocabulary[piece] = .integer(vocabulary.count) }
            let tokenizer = try Tokenizer(json: [
                "model": [
                    "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": .string(prefix),
                    "max_input_chars_per_word": .integer(longest), "vocab": .object(vocabulary),
                ]
            ])
            var known = 0
            for _ in 0..<400 {
                let text = word(1 + random(10))
                var rest = Array(text.unicodeScalars), expected: [Int] = []
                let isTooLong = rest.count > longest
                while !rest.isEmpty, !isTooLong {
                    let found = rest.indices.reversed().lazy.compactMap { end -> (Int, Int)? in
                        var piece = String.UnicodeScalarView(rest[...end])
                        if !expected.isEmpty { piece = String.UnicodeScalarView(prefix.unicodeScalars) + piece }
                        return vocabulary[String(piece)]?.integer.map { ($0, end + 1) }
                    }.first
                    guard let (id, end) = found else {
                        expected = []
                        break
                    }
                    expected.append(id)
                    rest.removeFirst(end)
                }
                known += expected.isEmpty ? 0 : 1
                #expect(try tokenizer.encode(text) == (expected.isEmpty ? [0] : expected), "\(text) with \(pieces)")
            }
            #expect((20..<400).contains(known), "\(known)")
        }
    }

    @Test func aStreamGivesTheSameTextInWholeCharacters() throws {
        for entry in try Self.fixture().cases where entry.name.hasPrefix("byte-level") {
            for (ids, text) in zip(entry.ids, entry.decoded) {
                var stream = TokenStream(entry.tokenizer)
                let parts = ids.map { stream.append($0) } + [stream.finish()]
                #expect(parts.joined() == text, "\(entry.name): \(ids)")
            }
        }
    }

    @Test func bytesThatAreNoTextAreRefusedWithTheirPlace() throws {
        let tokenizer = try #require(try Self.fixture().cases.first).tokenizer
        let bytes: [UInt8] = [97, 98, 0xFF, 99]
        #expect(throws: ModelError(.invalidText(byteOffset: 2))) { try tokenizer.encode(bytes.span) }
    }
}
