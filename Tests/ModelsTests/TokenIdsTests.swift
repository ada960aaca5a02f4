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
        #expect(cases.count == 7 && texts.count == 13)
        for entry in cases {
            for (text, ids) in zip(texts, entry.ids) { #expect(try entry.tokenizer.encode(text) == ids, "\(entry.name): \(text.debugDescription)") }
        }
    }

    @Test func textIsDecodedAsThere() throws {
        for entry in try Self.fixture().cases {
            for (ids, text) in zip(entry.ids, entry.decoded) { #expect(entry.tokenizer.decode(ids) == text, "\(entry.name): \(ids)") }
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
