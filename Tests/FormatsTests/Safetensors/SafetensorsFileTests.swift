import Formats
import Testing
import TestSupport

@Suite struct SafetensorsFileTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func open(_ bytes: [UInt8]) throws -> SafetensorsFile {
        try SafetensorsFile(path: folder.write(bytes, to: "t.safetensors"))
    }

    /// The error a file is refused with; it must name the file.
    private func failure(_ header: String, dataByteCount: Int = 0) throws -> FormatError {
        try failure(safetensorsBytes(header, dataByteCount: dataByteCount))
    }

    private func failure(_ bytes: [UInt8]) throws -> FormatError {
        let error = try #require(throws: FormatError.self) { try open(bytes) }
        #expect(error.path == folder.path("t.safetensors"))
        return error
    }

    // MARK: Golden bytes

    @Test func readsAFileAssembledByHand() throws {
        let header = #"{"__metadata__":{"format":"pt"},"b":{"dtype":"F16","shape":[2],"data_offsets":[4,8]},"#
            + #""é":{"dtype":"U8","shape":[2,2],"data_offsets":[0,4]}}  "#
        let file = try open(safetensorsBytes(header, dataByteCount: 8))
        #expect(file.manifest.format == .safetensors)
        #expect(file.manifest.tensors.map(\.name) == ["é", "b"])
        #expect(file.manifest.tensors[0] == (try TensorInfo(name: "é", encoding: .plain(.u8), shape: [2, 2])))
        #expect(file.manifest.byteOffsets == [8 + header.utf8.count, 12 + header.utf8.count])
        #expect(try file.bytes(ofTensorAt: 0).array == [0, 1, 2, 3])
        #expect(try file.bytes(ofTensorAt: 1).array == [4, 5, 6, 7])
        #expect(file.metadata == ["format": "pt"])
        #expect(file.files == [SourceFile(path: folder.path("t.safetensors"), byteCount: 16 + header.utf8.count)])
    }

    @Test func readsEmptyFilesScalarsAndEmptyTensors() throws {
        #expect(try open(safetensorsBytes("{}")).manifest.tensors.isEmpty)
        #expect(try open(safetensorsBytes(#"{"__metadata__":{}}"#)).metadata.isEmpty)
        let header = #"{"s":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"z":{"dtype":"F32","shape":[0,3],"data_offsets":[8,8]},"#
            + #""y":{"dtype":"BF16","shape":[4,0],"data_offsets":[0,0]},"":{"dtype":"F4","shape":[0],"data_offsets":[0,0]}}"#
        let file = try open(safetensorsBytes(header, dataByteCount: 8))
        #expect(file.manifest.tensors.map(\.name) == ["y", "", "s", "z"])
        #expect(file.manifest.tensors.map(\.shape) == [[4, 0], [0], [], [0, 3]])
        #expect(try (0..<4).map { try file.bytes(ofTensorAt: $0).count } == [0, 0, 8, 0])
    }

    @Test(arguments: DType.allCases) func readsEveryDType(dtype: DType) throws {
        let byteCount = 8 * dtype.bitWidth / 8
        let file = try open(
            safetensorsBytes(#"{"t":{"dtype":"\#(dtype.rawValue)","shape":[2,4],"data_offsets":[0,\#(byteCount)]}}"#, dataByteCount: byteCount))
        #expect(file.manifest.tensors == [try TensorInfo(name: "t", encoding: .plain(dtype), shape: [2, 4])])
        #expect(try file.bytes(ofTensorAt: 0).array == (0..<byteCount).map(UInt8.init))
    }

    @Test func namesThatOnlyLookEqualAreTwoTensors() throws {
        let header = #"{"\#u{e9}":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"e\#u{301}":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#
        #expect(try open(safetensorsBytes(header, dataByteCount: 2)).manifest.tensors.count == 2)
    }

    // MARK: Malformed headers

    @Test func refusesFilesTooShortForAHeaderLength() throws {
        for count in 0..<8 {
            let error = try failure([UInt8](repeating: 0, count: count))
            #expect(error.reason == .truncated(field: "header length", needed: 8, available: UInt64(count)))
        }
    }

    @Test(arguments: [0, 1, 100_000_001, 1 << 32, UInt64.max, 1 << 63]) func refusesAbsurdHeaderLengths(length: UInt64) throws {
        let bytes = (0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) } + Array("{}".utf8)
        #expect(try failure(bytes).reason == .invalid(field: "header length", found: "\(length)", expected: "2 to 100000000"))
    }

    @Test func refusesAHeaderPastTheEnd() throws {
        #expect(try failure([3, 0, 0, 0, 0, 0, 0, 0, 0x7B, 0x7D]).reason == .truncated(field: "header", needed: 3, available: 2))
        let large = [0, 0xE1, 0xF5, 0x05, 0, 0, 0, 0] + Array("{}".utf8)
        #expect(try failure(large).reason == .truncated(field: "header", needed: 100_000_000, available: 2))
    }

    @Test(arguments: [" {}", "[]", "\"a\"", "\u{feff}{}", "\0\0"]) func refusesHeadersThatDoNotStartWithABrace(header: String) throws {
        let error = try failure(header)
        #expect(error.description.contains("expected '{'"))
        #expect(error.byteOffset == 8)
    }

    @Test func refusesHeadersThatAreNotJSON() throws {
        #expect(try failure(#"{"a":}"#).byteOffset == 8 + 5)
        #expect(try failure(#"{} {}"#).byteOffset == 8 + 3)
        #expect(try failure("{}\0\0").byteOffset == 8 + 2)
        #expect(try failure(safetensorsBytes([0x7B, 0x22, 0xFF, 0x22, 0x3A, 0x7B, 0x7D, 0x7D])).description.contains("valid UTF-8"))
        #expect(try failure(#"{"a":"# + String(repeating: "[", count: 100_000)).description.contains("depth"))
    }

    @Test func refusesDuplicateTensorsAlsoWhenEscaped() throws {
        let entry = #"{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#
        for second in ["a", #"\u0061"#] {
            let error = try failure(#"{"a":\#(entry),"\#(second)":\#(entry)}"#)
            #expect(error.reason == .duplicate(field: "tensor", name: "a"))
            #expect(error.tensor == "a")
        }
        #expect(try failure(#"{"a":{"dtype":"U8","dtype":"I8","shape":[0],"data_offsets":[0,0]}}"#).reason == .duplicate(field: "key in a", name: "dtype"))
        #expect(try failure(#"{"__metadata__":{},"__metadata__":{}}"#).reason == .duplicate(field: "key", name: "__metadata__"))
    }

    @Test(arguments: [#"null"#, #"[]"#, #""x""#, #"{"a":1}"#, #"{"a":null}"#, #"{"a":{"b":"c"}}"#])
    func refusesMetadataThatIsNotStrings(metadata: String) throws {
        #expect(try failure(#"{"__metadata__":\#(metadata)}"#).description.contains("__metadata__"))
    }

    // MARK: Malformed entries

    private static let malformedEntries: [(String, FormatError.Reason)] = [
        (#"[]"#, .invalid(field: "entry", found: "an array", expected: "an object with dtype, shape and data_offsets")),
        (#"{"shape":[1],"data_offsets":[0,1]}"#, .missing(field: "key", name: "dtype")),
        (#"{"dtype":"U8","data_offsets":[0,1]}"#, .missing(field: "key", name: "shape")),
        (#"{"dtype":"U8","shape":[1]}"#, .missing(field: "key", name: "data_offsets")),
        (#"{"dtype":8,"shape":[1],"data_offsets":[0,1]}"#, .invalid(field: "dtype", found: "a number", expected: "a string")),
        (#"{"dtype":"U8","shape":1,"data_offsets":[0,1]}"#, .invalid(field: "shape", found: "a number", expected: "an array of integers")),
        (#"{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}"#, .invalid(field: "shape", found: "-1", expected: "integers from 0 to \(Int.max)")),
        (#"{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}"#, .invalid(field: "shape", found: "1.0", expected: "integers from 0 to \(Int.max)")),
        (#"{"dtype":"U8","shape":["1"],"data_offsets":[0,1]}"#, .invalid(field: "shape", found: "a string", expected: "integers from 0 to \(Int.max)")),
        (
            #"{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,1]}"#,
            .invalid(field: "shape", found: "9223372036854775808", expected: "integers from 0 to \(Int.max)")
        ),
        (#"{"dtype":"U8","shape":[1],"data_offsets":[0]}"#, .invalid(field: "data_offsets", found: "1 numbers", expected: "2: begin and end")),
        (#"{"dtype":"U8","shape":[1],"data_offsets":[0,1,1]}"#, .invalid(field: "data_offsets", found: "3 numbers", expected: "2: begin and end")),
        (#"{"dtype":"U8","shape":[1],"data_offsets":[1,0]}"#, .invalid(field: "data_offsets", found: "[1, 0]", expected: "a begin that is not after the end")),
        (
            #"{"dtype":"U8","shape":[2],"data_offsets":[0,1]}"#,
            .invalid(field: "data_offsets", found: "[0, 1]", expected: "2 bytes for U8 of shape [2]")
        ),
        (
            #"{"dtype":"U8","shape":[0],"data_offsets":[1,1]}"#,
            .invalid(field: "data_offsets", found: "[1, 1]", expected: "a begin of 0: bytes 0 to 1 belong to no tensor")
        ),
        (
            #"{"dtype":"F4","shape":[1],"data_offsets":[0,1]}"#,
            .invalidShape(shape: [1], encoding: "F4", why: "the elements do not fill whole bytes")
        ),
        (
            #"{"dtype":"F6_E2M3","shape":[2],"data_offsets":[0,1]}"#,
            .invalidShape(shape: [2], encoding: "F6_E2M3", why: "the elements do not fill whole bytes")
        ),
        (
            #"{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,1]}"#,
            .invalidShape(shape: [1 << 32, 1 << 32], encoding: "U8", why: "the element count overflows")
        ),
        (
            #"{"dtype":"U8","shape":[0,4294967296,4294967296],"data_offsets":[0,1]}"#,
            .invalidShape(shape: [0, 1 << 32, 1 << 32], encoding: "U8", why: "the element count overflows")
        ),
        (
            #"{"dtype":"F64","shape":[4611686018427387904],"data_offsets":[0,1]}"#,
            .invalidShape(shape: [1 << 62], encoding: "F64", why: "the byte count overflows")
        ),
        (
            #"{"dtype":"U8","shape":[1],"data_offsets":[0,9223372036854775807]}"#,
            .truncated(field: "tensor data", needed: UInt64(Int.max), available: 1)
        ),
        (#"{"dtype":"U8","shape":[2],"data_offsets":[0,2]}"#, .truncated(field: "tensor data", needed: 2, available: 1)),
    ]

    @Test(arguments: malformedEntries.indices) func refusesMalformedEntriesNamingTheTensor(index: Int) throws {
        let (entry, reason) = Self.malformedEntries[index]
        let error = try failure(#"{"bad.weight":\#(entry)}"#, dataByteCount: 1)
        #expect(error.reason == reason, "\(entry)")
        #expect(error.tensor == "bad.weight")
    }

    @Test func refusesUnknownDTypesListingTheKnown() throws {
        let error = try failure(#"{"t":{"dtype":"Q4_0","shape":[1],"data_offsets":[0,1]}}"#, dataByteCount: 1)
        #expect(error.tensor == "t")
        #expect(error.description.contains("dtype is 'Q4_0', expected one of BOOL F4"))
    }

    // MARK: Data that does not fit

    private func pair(_ first: String, _ second: String, dataByteCount: Int) throws -> FormatError {
        try failure(
            #"{"a":{"dtype":"U8","shape":[2],"data_offsets":\#(first)},"b":{"dtype":"U8","shape":[2],"data_offsets":\#(second)}}"#,
            dataByteCount: dataByteCount)
    }

    @Test func refusesOverlapsGapsAndLeftovers() throws {
        let overlap = try pair("[0,2]", "[1,3]", dataByteCount: 3)
        #expect(overlap.tensor == "b")
        #expect(overlap.description.contains("overlaps"))
        #expect(try pair("[0,2]", "[0,2]", dataByteCount: 2).tensor == "b")
        let gap = try pair("[0,2]", "[3,5]", dataByteCount: 5)
        #expect(gap.tensor == "b")
        #expect(gap.description.contains("bytes 2 to 3 belong to no tensor"))
        #expect(try pair("[2,4]", "[4,6]", dataByteCount: 6).tensor == "a")
        let leftover = try pair("[0,2]", "[2,4]", dataByteCount: 5)
        #expect(leftover.reason == .invalid(field: "tensor data", found: "5 bytes", expected: "4, the end of the last tensor"))
        #expect(try failure("{}", dataByteCount: 1).reason == .invalid(field: "tensor data", found: "1 bytes", expected: "0, the end of the last tensor"))
    }

    @Test func refusesEveryTruncation() throws {
        var random = SeededRandom(seed: 7)
        let tensors = try random.plainTensors(4)
        let layout = try Safetensors.layout(tensors: tensors, metadata: ["k": "v"])
        let whole = layout.files[0].rendered { random.bytes(tensors[$0].byteCount) }
        _ = try SafetensorsHeader(parsing: TensorBytes(whole).bytes)
        for count in whole.indices {
            #expect(throws: FormatError.self, "\(count) bytes") { try SafetensorsHeader(parsing: TensorBytes(Array(whole[..<count])).bytes) }
        }
    }

    @Test(arguments: 0..<20 as Range<UInt64>) func flippedBitsNeverTrap(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let tensors = try random.plainTensors(3)
        let file = try Safetensors.layout(tensors: tensors, metadata: ["k": "v"]).files[0]
        let whole = file.rendered { random.bytes(tensors[$0].byteCount) }
        for _ in 0..<250 {
            var damaged = whole
            for _ in 0...random.next(below: 3) { damaged[random.next(below: file.header.count)] ^= 1 << UInt8(random.next(below: 8)) }
            guard let header = try? SafetensorsHeader(parsing: TensorBytes(damaged).bytes) else { continue }
            // What is accepted must lie inside the file and cover its data.
            var end = damaged.count - header.tensors.reduce(0) { $0 + $1.byteCount }
            for (info, byteOffset) in zip(header.tensors, header.byteOffsets) {
                #expect(byteOffset == end, "seed \(seed)")
                end += info.byteCount
            }
            #expect(end == damaged.count, "seed \(seed)")
        }
    }
}
