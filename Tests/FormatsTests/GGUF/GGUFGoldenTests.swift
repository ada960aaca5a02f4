import Formats
import Testing
import TestSupport

@Suite struct GGUFGoldenTests {
    /// One key, two tensors: every byte written out.
    static let small: [UInt8] =
        Array("GGUF".utf8) + [3, 0, 0, 0]  // version
        + [2, 0, 0, 0, 0, 0, 0, 0]  // n_tensors
        + [1, 0, 0, 0, 0, 0, 0, 0]  // n_kv
        + [1, 0, 0, 0, 0, 0, 0, 0] + Array("k".utf8) + [4, 0, 0, 0] + [7, 0, 0, 0]  // k = u32 7
        + [1, 0, 0, 0, 0, 0, 0, 0] + Array("a".utf8)  // name
        + [2, 0, 0, 0] + [3, 0, 0, 0, 0, 0, 0, 0] + [2, 0, 0, 0, 0, 0, 0, 0]  // 2 dimensions, 3 fastest
        + [1, 0, 0, 0] + [0, 0, 0, 0, 0, 0, 0, 0]  // F16, offset 0
        + [1, 0, 0, 0, 0, 0, 0, 0] + Array("b".utf8)
        + [0, 0, 0, 0] + [24, 0, 0, 0] + [32, 0, 0, 0, 0, 0, 0, 0]  // scalar, I8, offset 32
        + [UInt8](repeating: 0, count: 21)  // up to 128
        + [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12] + [UInt8](repeating: 0, count: 20)
        + [0xFF] + [UInt8](repeating: 0, count: 31)

    @Test func readsEveryField() throws {
        let file = try openGGUF(Self.small)
        #expect(file.version == 3)
        #expect(file.metadata.keys == ["k"])
        #expect(file.metadata["k"] == .u32(7))
        #expect(file.manifest.format == .gguf)
        #expect(file.manifest.tensors.map(\.name) == ["a", "b"])
        #expect(file.manifest.tensors.map(\.shape) == [[2, 3], []])
        #expect(file.manifest.tensors.map(\.encoding) == [.plain(.f16), .plain(.i8)])
        #expect(file.manifest.byteOffsets == [128, 160])
        #expect(file.files == [SourceFile(path: "m.gguf", byteCount: 192)])
        #expect(try file.bytes(ofTensorAt: 0).array == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
        #expect(try file.bytes(ofTensorAt: 1).array == [0xFF])
        #expect(try file.bytes(ofTensorAt: 0, in: 2..<4).array == [3, 4])
    }

    @Test func writesTheSameBytes() throws {
        let file = try openGGUF(Self.small)
        let layout = try GGUF.layout(tensors: file.manifest.tensors, metadata: file.metadata)
        #expect(layout.files.count == 1)
        #expect(layout.files[0].byteCount == 192)
        #expect(try layout.files[0].assembled { try file.bytes(ofTensorAt: $0).array } == Self.small)
    }

    @Test func readsVersion2AndWritesVersion3() throws {
        var old = Self.small
        old[4] = 2
        let file = try openGGUF(old)
        #expect(file.version == 2)
        let layout = try GGUF.layout(tensors: file.manifest.tensors, metadata: file.metadata)
        #expect(try layout.files[0].assembled { try file.bytes(ofTensorAt: $0).array } == Self.small)
    }

    @Test func opensAnEmptyModel() throws {
        let bytes = GGUFBytes().bytes
        let file = try openGGUF(bytes)
        #expect(file.manifest.tensors.isEmpty && file.metadata.count == 0)
        // The reference pads the header of an empty model too, and reads it with and without.
        let layout = try GGUF.layout(tensors: [], metadata: GGUFMetadata())
        #expect(layout.files[0].header.array == bytes + [UInt8](repeating: 0, count: 8))
    }

    @Test func ignoresBytesAfterTheDataAndMissingPaddingOfTheLastTensor() throws {
        #expect(try openGGUF(Self.small + [1, 2, 3]).manifest.tensors.count == 2)
        #expect(try openGGUF([UInt8](Self.small.dropLast(31))).bytes(ofTensorAt: 1).array == [0xFF])
    }

    @Test func keepsEveryKindOfValue() throws {
        var metadata = GGUFMetadata()
        metadata["u8"] = .u8(200)
        metadata["i8"] = .i8(-100)
        metadata["u16"] = .u16(60000)
        metadata["i16"] = .i16(-30000)
        metadata["u32"] = .u32(.max)
        metadata["i32"] = .i32(.min)
        metadata["u64"] = .u64(.max)
        metadata["i64"] = .i64(.min)
        metadata["f32"] = .f32(-0.0)
        metadata["f64"] = .f64(.infinity)
        metadata["bool"] = .bool(true)
        metadata["schlüssel 🗝"] = .string("wert\0\u{1F600}")
        metadata["strings"] = .array(GGUFArray(strings: ["", "a\0b", "ünïcode"]))
        metadata["floats"] = .array(GGUFArray([1.5, -2] as [Float]))
        metadata["doubles"] = .array(GGUFArray([1.5, -2] as [Double]))
        metadata["bools"] = .array(GGUFArray([true, false]))
        metadata["wide"] = .array(GGUFArray([UInt64.max]))
        metadata["small"] = .array(GGUFArray([Int8(-1), 5]))
        metadata["none"] = .array(GGUFArray([] as [Int32]))
        let bytes = try GGUF.layout(tensors: [], metadata: metadata).files[0].assembled { _ in [] }
        let read = try openGGUF(bytes).metadata
        #expect(read.keys == metadata.keys)
        for key in metadata.keys { #expect(read[key] == metadata[key], "\(key)") }
        #expect(read["strings"]?.array?.strings == ["", "a\0b", "ünïcode"])
        #expect(read["strings"]?.array?.values(upTo: 2) == [.string(""), .string("a\0b")])
        #expect(read["strings"]?.array?.integers == nil && read["strings"]?.array?.floats == nil)
        #expect(read["floats"]?.array?.floats == [1.5, -2])
        #expect(read["floats"]?.array?.strings == nil && read["floats"]?.array?.integers == nil)
        #expect(read["doubles"]?.array?.floats == [1.5, -2])
        #expect(read["bools"]?.array?.bools == [true, false])
        #expect(read["wide"]?.array?.integers == nil)
        #expect(read["wide"]?.array?.values() == [.u64(.max)])
        #expect(read["small"]?.array?.integers == [-1, 5])
        #expect(read["small"]?.array?.floats == [-1, 5])
        #expect(read["none"]?.array?.integers == [])
    }

    @Test func namesAreComparedByteByByte() throws {
        // One letter, composed and decomposed: equal as Swift strings, different in a file.
        let names = ["\u{E9}", "e\u{301}"]
        var metadata = GGUFMetadata()
        for name in names { metadata[name] = .string(name) }
        let tensors = try names.map { try TensorInfo(name: $0, encoding: .plain(.i8), shape: [1]) }
        let bytes = try GGUF.layout(tensors: tensors, metadata: metadata).files[0].assembled { [UInt8($0)] }
        let file = try openGGUF(bytes)
        #expect(file.manifest.tensors.map { Array($0.name.utf8) } == names.map { Array($0.utf8) })
        #expect(file.metadata.keys.map { Array($0.utf8) } == names.map { Array($0.utf8) })
    }
}
