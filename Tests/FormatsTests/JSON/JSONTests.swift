import Formats
import Testing
import TestSupport

@Suite struct JSONTests {
    private func parsed(_ text: String, _ limits: JSONLimits = JSONLimits()) throws -> JSONValue {
        try JSONValue(parsing: Array(text.utf8), limits: limits)
    }

    /// The error a text is refused with.
    private func failure(_ bytes: [UInt8], _ limits: JSONLimits = JSONLimits()) throws -> FormatError {
        try #require(throws: FormatError.self) { try JSONValue(parsing: bytes, limits: limits) }
    }

    private func failure(_ text: String, _ limits: JSONLimits = JSONLimits()) throws -> FormatError {
        try failure(Array(text.utf8), limits)
    }

    // MARK: Reading

    @Test func readsEveryKindOfValueInOrder() throws {
        let value = try parsed(" {\"b\": [1, -2.5, true, false, null, \"x\"], \"a\": {}, \"\": []}\n")
        #expect(value.object?.keys == ["b", "a", ""])
        #expect(value["b"] == .array([.integer(1), .number(-2.5), .bool(true), .bool(false), .null, .string("x")]))
        #expect(value["a"] == .object(JSONObject()))
        #expect(value[""] == .array([]))
    }

    @Test(arguments: [
        ("0", JSONValue.integer(0)), ("-0", .integer(0)), ("7", .integer(7)), (" 12 ", .integer(12)), ("true", .bool(true)), ("null", .null),
        ("\"\"", .string("")), ("1e3", .number(1000)), ("1E-2", .number(0.01)), ("-0.0", .number(-0.0)),
        ("9223372036854775807", .integer(.max)), ("-9223372036854775808", .integer(.min)),
        ("9223372036854775808", .unsigned(1 << 63)), ("18446744073709551615", .unsigned(.max)),
        ("18446744073709551616", .number(18446744073709551616)), ("-9223372036854775809", .number(-9223372036854775808)),
        ("1000000000000000019884624838656", .number(1e30)), ("999999999999999999", .integer(999_999_999_999_999_999)),
        ("1000000000000000000", .integer(1_000_000_000_000_000_000)),
    ]) func readsScalarsExactly(text: String, expected: JSONValue) throws {
        #expect(try parsed(text) == expected)
    }

    @Test func longIntegersKeepTheirPlaceAmongOthers() throws {
        let value = try parsed("[5, 18446744073709551615, {\"a\": 1e300, \"b\": 99999999999999999999}, -9223372036854775808, 1]")
        #expect(value == [5, .unsigned(.max), ["a": .number(1e300), "b": .number(1e20)], .integer(.min), 1])
    }

    @Test func decodesEscapesAndSurrogatePairs() throws {
        let value = try parsed(#""\"\\\/\b\f\n\r\té\ud83d\ude00\u0000end""#)
        #expect(value.string == "\"\\/\u{8}\u{c}\n\r\té😀\0end")
    }

    @Test func canonicallyEquivalentKeysStayApart() throws {
        let value = try parsed("{\"\u{e9}\": 1, \"e\u{301}\": 2}")
        #expect(value.object?.count == 2)
        #expect(value["\u{e9}"] == 1)
        #expect(value["e\u{301}"] == 2)
    }

    @Test(arguments: ["NaN", "Infinity", "-Infinity"]) func nonFiniteNumbersNeedTheOption(text: String) throws {
        #expect(try failure(text).byteOffset != nil)
        let value = try parsed("{\"x\": [\(text), 1]}", JSONLimits(allowsNonFiniteNumbers: true))
        let number = try #require(value["x"]?.array?.first?.double)
        #expect(number.isNaN == (text == "NaN"))
        #expect(number.isInfinite == (text != "NaN"))
        #expect((number < 0) == text.hasPrefix("-"))
    }

    // MARK: Refusing

    @Test(arguments: [
        ("", 0), ("  ", 2), ("{", 1), ("[1,]", 3), ("{\"a\":1,}", 7), ("{\"a\" 1}", 5), ("{a:1}", 1), ("{'a':1}", 1), ("[1 2]", 3),
        ("[1}", 2), ("{\"a\":1]", 6), ("1 2", 2), ("{} x", 3), ("01", 0), ("-", 1), ("+1", 0), (".5", 0), ("1.", 2), ("1e", 2), ("1e+", 3),
        ("-01", 0), ("0x10", 1), ("tru", 0), ("True", 0), ("nul", 0), ("nan", 0), ("NaN", 0), ("Infinity", 0), ("-Infinity", 1),
        ("// c\n1", 0), ("/* c */1", 0), ("\"a", 2), ("\"\\x\"", 2), ("\"\\u12g4\"", 5), ("\"\\ud800\"", 1), ("\"\\ud800\\u0041\"", 1),
        ("\"\\udc00\"", 1), ("\"a\nb\"", 2), ("\"\u{1}\"", 1), ("\u{feff}1", 0), ("1e999", 0), ("[1,\n\n}", 5), ("\"\\", 2), ("1\0", 1),
        ("nullx", 4), ("[\"\\u00", 6), ("-Infinit", 1),
    ]) func refusesNamingTheByte(text: String, offset: UInt64) throws {
        #expect(try failure(text).byteOffset == offset)
    }

    @Test(arguments: [
        [0x80], [0xC0, 0x80], [0xC1, 0xBF], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80], [0xF0, 0x80, 0x80, 0x80], [0xF4, 0x90, 0x80, 0x80],
        [0xF5, 0x80, 0x80, 0x80], [0xC3], [0xE2, 0x82], [0xE2, 0x82, 0x22], [0xFF],
    ] as [[UInt8]]) func refusesInvalidUTF8(sequence: [UInt8]) throws {
        let error = try failure([0x22] + sequence + [0x22])
        #expect(error.byteOffset == 1)
        #expect(error.description.contains("valid UTF-8"))
    }

    @Test func namesTheLine() throws {
        #expect(try failure("{\n\"a\": 1,\n\"b\": x}").reason == .invalid(field: "JSON line 3", found: "'x'", expected: "a value"))
    }

    @Test func refusesDuplicateKeysNamingThemAndTheirPlace() throws {
        #expect(try failure("{\"a\":1,\"a\":2}") == FormatError(.duplicate(field: "key", name: "a"), byteOffset: 7))
        #expect(try failure("{\"ab\":1,\"\\u0061\\u0062\":2}").reason == .duplicate(field: "key", name: "ab"))
        #expect(try failure("{\"m\":[{\"v\":{\"x\":1,\"x\":1}}]}").reason == .duplicate(field: "key in m.[].v", name: "x"))
        #expect(try parsed("[{\"a\":1},{\"a\":2}]").array?.count == 2)
    }

    @Test func refusesKeysWithNUL() throws {
        #expect(try failure("{\"a\\u0000b\":1}").description.contains("NUL"))
    }

    @Test func refusesMoreThanItsLimits() throws {
        let open = String(repeating: "[", count: 64), close = String(repeating: "]", count: 64)
        #expect(try parsed(open + close).array != nil)
        #expect(try failure("[" + open + close + "]").byteOffset == 64)
        #expect(try failure(String(repeating: "{\"a\":", count: 1_000_000)).description.contains("depth"))
        #expect(try failure(String(repeating: "[", count: 1_000_000)).description.contains("depth"))
        #expect(try failure("[1,2,3]", JSONLimits(byteCount: 6)).description.contains("at most 6"))
        #expect(try failure("[1,2,3]", JSONLimits(valueCount: 10)).byteOffset == 6)
        let objects = "[" + String(repeating: "{},", count: 300_000) + "{}]"
        #expect(try failure(objects).reason.found == "more values")
        #expect(try failure(String(repeating: "9", count: 1001)).description.contains("at most 1000"))
    }

    // MARK: Writing

    @Test func writesAsPythonDoes() {
        let value: JSONValue = [
            "b": [1, 2.0, 1e-05, 1e+16, 0.1], "a": [:], "e": [], "s": "é\"\\\n\u{1}\u{7f}/", "n": nil, "t": true, "u": .unsigned(.max),
        ]
        #expect(
            value.text() == """
                {"b": [1, 2.0, 1e-05, 1e+16, 0.1], "a": {}, "e": [], "s": "é\\"\\\\\\n\\u0001\u{7f}/", "n": null, "t": true, \
                "u": 18446744073709551615}
                """)
        let pretty: JSONValue = ["a": [1, ["k": []]], "o": [:]]
        #expect(
            pretty.text(pretty: true) == """
                {
                  "a": [
                    1,
                    {
                      "k": []
                    }
                  ],
                  "o": {}
                }
                """)
        #expect((["x": [.number(.nan), .number(-.infinity)]] as JSONValue).text() == "{\"x\": [NaN, -Infinity]}")
    }

    @Test(arguments: 0..<200 as Range<UInt64>) func writtenDocumentsReadBackEqual(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let value = random.json(depth: 4)
        #expect(try parsed(value.text()) == value, "seed \(seed)")
        #expect(try parsed(value.text(pretty: true)) == value, "seed \(seed)")
    }

    /// Large documents are given to the parser in runs of members; runs of a few bytes make every member the end of one.
    @Test(arguments: 0..<200 as Range<UInt64>) func documentsReadInRunsAreTheSame(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let value = JSONValue.array([random.json(depth: 5), random.json(depth: 5), 1e300, .unsigned(.max)])
        for runByteCount in [0, 1, 7, 40] {
            for pretty in [false, true] {
                let bytes = value.bytes(pretty: pretty)
                let read = try JSONValue(parsing: unsafe bytes.span.bytes, limits: JSONLimits(), runByteCount: runByteCount)
                #expect(read == value, "seed \(seed), runs of \(runByteCount) bytes")
            }
        }
    }

    @Test(arguments: 0..<100 as Range<UInt64>) func damagedDocumentsNeverTrap(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let whole = random.json(depth: 4).bytes(pretty: random.next() & 1 == 0)
        for end in 0..<min(whole.count, 300) { _ = try? JSONValue(parsing: Array(whole[..<end])) }
        for _ in 0..<50 {
            var damaged = whole
            for _ in 0...random.next(below: 3) {
                damaged[random.next(below: damaged.count)] ^= 1 << UInt8(random.next(below: 8))
            }
            _ = try? JSONValue(parsing: damaged)
        }
    }
}

extension FormatError.Reason {
    fileprivate var found: String? { if case .invalid(_, let found, _) = self { found } else { nil } }
}

extension SeededRandom {
    /// Any JSON value, integers that fit 64 bits and finite numbers only, so that it reads back the same.
    fileprivate mutating func json(depth: Int) -> JSONValue {
        switch next(below: depth == 0 ? 6 : 9) {
        case 0: return .null
        case 1: return .bool(next() & 1 == 0)
        case 2: return .integer(Int(truncatingIfNeeded: next() >> UInt64(next(below: 64))))
        case 3: return .unsigned(next() | 1 << 63)
        case 4:
            let number = Double(bitPattern: next())
            return .number(number.isFinite ? number : 0.5)
        case 5: return .string(text())
        case 6:
            return .array((0..<next(below: 6)).map { _ in json(depth: depth - 1) })
        default:
            var object = JSONObject()
            for _ in 0..<next(below: 6) { object[text().replacing("\0", with: "")] = json(depth: depth - 1) }
            return .object(object)
        }
    }
}
