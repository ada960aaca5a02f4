import Formats
import Testing
import TestSupport

/// A file that gguf-py wrote (`scripts/fixtures/make-gguf`).
@Suite struct GGUFReferenceTests {
    @Test func readsEveryKindOfValueThatTheReferenceWrites() throws {
        let file = try GGUFFile(path: fixturePath("every-value.gguf"))
        let metadata = file.metadata
        #expect(metadata["general.architecture"] == .string("llama"))
        #expect(metadata["general.alignment"] == .u32(64))
        #expect(metadata["u8"] == .u8(200) && metadata["i8"] == .i8(-100))
        #expect(metadata["u16"] == .u16(60000) && metadata["i16"] == .i16(-30000))
        #expect(metadata["u32"] == .u32(.max) && metadata["i32"] == .i32(.min))
        #expect(metadata["u64"] == .u64(.max) && metadata["i64"] == .i64(.min))
        #expect(metadata["f32"] == .f32(1.5) && metadata["f64"] == .f64(-2.25))
        #expect(metadata["bool"] == .bool(true))
        #expect(metadata["text"] == .string("ünïcode 🦙"))
        #expect(metadata["strings"]?.array?.strings == ["a", "", "漢字"])
        #expect(metadata["integers"]?.array == GGUFArray([1, -2, 3] as [Int32]))
        #expect(metadata["floats"]?.array?.floats == [0.5, -1])
        #expect(metadata["bools"]?.array?.bools == [true, false])
        #expect(metadata["bytes"]?.array?.integers == [1, 2, 255])

        let tensors = file.manifest.tensors
        #expect(tensors.map(\.name) == ["f32", "f16", "i8.rank4", "f64", "q8_0"])
        #expect(tensors.map(\.shape) == [[2, 3], [4], [2, 3, 2, 2], [1], [2, 64]])
        #expect(tensors.map(\.encoding) == [.plain(.f32), .plain(.f16), .plain(.i8), .plain(.f64), .block(.q8_0)])
        #expect(file.manifest.byteOffsets.allSatisfy { $0 % 64 == 0 })
        #expect(try file.bytes(ofTensorAt: 2).array == Array(0..<24))
        #expect(try file.bytes(ofTensorAt: 4).array == Array(0..<136))
    }

    @Test func writesWhatTheReferenceWrites() throws {
        let path = fixturePath("every-value.gguf")
        let file = try GGUFFile(path: path)
        let layout = try GGUF.layout(tensors: file.manifest.tensors, metadata: file.metadata).files[0]
        #expect(try layout.assembled { try file.bytes(ofTensorAt: $0).array } == MappedFile(path: path).bytes.array)
    }
}

@Suite struct GGUFOpeningTests {
    @Test func isFoundByContentWhateverTheName() throws {
        let folder = try TemporaryFolder()
        let model = try CompressedModel(seed: 5)
        try folder.write(model.plain, to: "a.bin")
        try model.write(to: folder.path("b.bin"))
        for (name, format) in [("a.bin", ContainerFormat.gguf), ("b.bin", .ggufZst)] {
            let source = try openTensorSource(at: folder.path(name))
            #expect(source.manifest.format == format)
            #expect(source.manifest.tensors == model.model.tensors)
        }
    }
}
