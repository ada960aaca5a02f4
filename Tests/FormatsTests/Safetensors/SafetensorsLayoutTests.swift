import Formats
import Testing
import TestSupport

@Suite struct SafetensorsLayoutTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func tensor(_ name: String, _ dtype: DType, _ shape: [Int]) throws -> TensorInfo {
        try TensorInfo(name: name, encoding: .plain(dtype), shape: shape)
    }

    @Test func headerIsTheExpectedText() throws {
        let layout = try Safetensors.layout(
            tensors: [tensor("h", .f16, [3]), tensor("q\"é", .f32, [1, 2]), tensor("z", .f32, [])], metadata: ["b": "2", "a": "1"])
        let header =
            #"{"__metadata__":{"a":"1","b":"2"},"q\"é":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"#
            + #""z":{"dtype":"F32","shape":[],"data_offsets":[8,12]},"h":{"dtype":"F16","shape":[3],"data_offsets":[12,18]}}"#
        let padded = header + String(repeating: " ", count: (8 - header.utf8.count % 8) % 8)
        let file = layout.files[0]
        #expect(layout.files.count == 1)
        #expect(file.name == "model.safetensors")
        #expect(file.header.array == safetensorsBytes(padded))
        #expect(file.byteCount == 8 + padded.utf8.count + 18)
        #expect(file.tensors.map(\.index) == [1, 2, 0])
        #expect(file.tensors.map(\.byteOffset) == [0, 8, 12].map { $0 + 8 + padded.utf8.count })
    }

    @Test func nothingToWriteIsAFileToo() throws {
        let file = try Safetensors.layout(tensors: [], fileName: "").files[0]
        #expect(file.name == "")
        #expect(file.header.array == safetensorsBytes("{}      "))
    }

    @Test(arguments: 0..<60 as Range<UInt64>) func whatIsLaidOutReadsBackEqual(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let tensors = try random.plainTensors(random.next(below: 12))
        let data = tensors.map { random.bytes($0.byteCount) }
        let metadata = Dictionary((0..<random.next(below: 4)).map { _ in (random.text().replacing("\0", with: ""), random.text()) }) { a, _ in a }
        let file = try Safetensors.layout(tensors: tensors, metadata: metadata).files[0]
        let bytes = file.rendered { data[$0] }
        let opened = try SafetensorsFile(path: folder.write(bytes, to: "t"))
        #expect(opened.metadata == metadata, "seed \(seed)")
        #expect(opened.manifest.tensors == file.tensors.map(\.info), "seed \(seed)")
        #expect(opened.manifest.byteOffsets == file.tensors.map(\.byteOffset), "seed \(seed)")
        #expect(Set(file.tensors.map(\.index)) == Set(tensors.indices), "seed \(seed)")
        for (place, tensor) in file.tensors.enumerated() {
            #expect(tensor.info == tensors[tensor.index], "seed \(seed)")
            #expect(try opened.bytes(ofTensorAt: place).array == data[tensor.index], "seed \(seed)")
            let alignment = max(1, DType(rawValue: tensor.info.encoding.name)!.bitWidth / 8)
            #expect(tensor.byteOffset % alignment == 0, "seed \(seed): \(tensor)")
        }
        // Written again from what was read: the same bytes.
        let again = try Safetensors.layout(tensors: opened.manifest.tensors, metadata: opened.metadata).files[0]
        #expect(again.rendered { data[file.tensors[$0].index] } == bytes, "seed \(seed)")
    }

    @Test func shardsAreFilledInOrderAndIndexed() throws {
        let tensors = try [
            tensor("d", .f32, [4]), tensor("c", .f16, [4]), tensor("b", .f32, [100]), tensor("a", .u8, [0]), tensor("é", .i64, [2]),
        ]
        let layout = try Safetensors.layout(tensors: tensors, metadata: ["format": "pt"], shardByteCount: 24)
        #expect(
            layout.files.map(\.name) == [
                "model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors",
                "model.safetensors.index.json",
            ])
        #expect(layout.files.map { $0.tensors.map(\.index) } == [[0, 1], [2], [4, 3], []])
        let index = try JSONValue(parsing: layout.files[3].header)
        #expect(index["metadata"] == ["total_size": 440])
        #expect(index["weight_map"]?.object?.keys == ["a", "b", "c", "d", "é"])
        #expect(index["weight_map"]?["é"] == "model-00003-of-00003.safetensors")
        #expect(layout.files[3].header.count == layout.files[3].byteCount)
        #expect(layout.files[3].header.array.last == 0x0A)
    }

    @Test func oneShardIsOneFile() throws {
        let tensors = try [tensor("a", .f32, [4]), tensor("b", .f32, [4])]
        #expect(try Safetensors.layout(tensors: tensors, shardByteCount: 32).files.map(\.name) == ["model.safetensors"])
        #expect(try Safetensors.layout(tensors: tensors, fileName: "x.safetensors", shardByteCount: 31).files.map(\.name) == [
            "x-00001-of-00002.safetensors", "x-00002-of-00002.safetensors", "x.safetensors.index.json",
        ])
    }

    @Test func refusesWhatTheFormatCannotHold() throws {
        func failure(_ tensors: [TensorInfo], shardByteCount: Int? = nil) throws -> FormatError {
            try #require(throws: FormatError.self) { try Safetensors.layout(tensors: tensors, shardByteCount: shardByteCount) }
        }
        let block = try failure([TensorInfo(name: "w", encoding: .block(.q4_K), shape: [256])])
        #expect(block.tensor == "w")
        #expect(block.description.contains("Q4_K"))
        #expect(try failure([tensor("a", .u8, []), tensor("a", .u8, [])]).reason == .duplicate(field: "tensor", name: "a"))
        #expect(try failure([tensor("__metadata__", .u8, [])]).tensor == "__metadata__")
        #expect(try failure([], shardByteCount: 0).description.contains("shard size"))
        #expect(try failure([tensor("a\0", .u8, [])]).description.contains("NUL"))
        let huge = try (1...9).map { try tensor("t\($0)", .u8, [.max / 8]) }
        #expect(try failure(huge).tensor == "t8")
    }
}
