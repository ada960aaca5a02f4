import Formats
import Foundation
import Testing
import TestSupport

@Suite struct GGUFLayoutTests {
    @Test func refusesEncodingsThatGGUFDoesNotHave() throws {
        let tensor = try TensorInfo(name: "t", encoding: .plain(.f8e4m3), shape: [4])
        expect(FormatError(.unsupported(what: "F8_E4M3 in GGUF"), tensor: "t"), for: [tensor])
    }

    @Test func refusesNamesThatAreTooLongOrTwiceThere() throws {
        let long = String(repeating: "t", count: 64)
        let name = FormatError.Reason.invalid(field: "tensor name", found: "64 bytes", expected: "at most 63 bytes, no NUL")
        expect(FormatError(name, tensor: long), for: [try TensorInfo(name: long, encoding: .plain(.f32), shape: [])])
        let tensor = try TensorInfo(name: "t", encoding: .plain(.f32), shape: [])
        expect(FormatError(.duplicate(field: "tensor name", name: "t")), for: [tensor, tensor])
    }

    @Test func refusesFiveDimensions() throws {
        let tensor = try TensorInfo(name: "t", encoding: .plain(.f32), shape: [1, 1, 1, 1, 1])
        expect(FormatError(.invalid(field: "rank", found: "5", expected: "at most 4"), tensor: "t"), for: [tensor])
    }

    @Test func refusesSizesThatOverflowTogether() throws {
        let tensors = try (0..<16).map { try TensorInfo(name: "\($0)", encoding: .plain(.i8), shape: [1 << 59]) }
        #expect(throws: FormatError.self) { try GGUF.layout(tensors: tensors, metadata: GGUFMetadata()) }
    }

    @Test func refusesKeysThatReadersWouldNotTake() throws {
        for key in ["", "a\0", String(repeating: "k", count: 65536)] {
            var metadata = GGUFMetadata()
            metadata[key] = .u8(1)
            #expect(throws: FormatError.self) { try GGUF.layout(tensors: [], metadata: metadata) }
        }
    }

    @Test func writesAnAlignmentThatIsAskedFor() throws {
        let tensors = try ["a", "b"].map { try TensorInfo(name: $0, encoding: .plain(.i8), shape: [3]) }
        let layout = try GGUF.layout(tensors: tensors, metadata: GGUFMetadata(), alignment: 4096)
        let file = try openGGUF(layout.files[0].assembled { [UInt8](repeating: UInt8($0), count: 3) })
        #expect(file.metadata["general.alignment"] == .u32(4096))
        #expect(file.manifest.byteOffsets == [4096, 8192])
        #expect(layout.files[0].byteCount == 12288)
        #expect(throws: FormatError.self) { try GGUF.layout(tensors: tensors, metadata: GGUFMetadata(), alignment: 48) }
    }

    private func expect(_ error: FormatError, for tensors: [TensorInfo]) {
        #expect(throws: error) { try GGUF.layout(tensors: tensors, metadata: GGUFMetadata()) }
    }
}

@Suite struct GGUFSplitTests {
    let folder: TemporaryFolder
    let tensors: [TensorInfo]
    let metadata: GGUFMetadata

    init() throws {
        folder = try TemporaryFolder()
        tensors = try (0..<5).map { try TensorInfo(name: "t\($0)", encoding: .plain(.i8), shape: [10 * ($0 + 1)]) }
        var metadata = GGUFMetadata()
        metadata["general.name"] = .string("five")
        self.metadata = metadata
    }

    /// Writes the model split into the folder as `m-0000K-of-0000N.gguf`.
    private func write(_ splitting: GGUF.Splitting, change: (Int, inout [UInt8]) -> Void = { _, _ in }) throws {
        let layout = try GGUF.layout(tensors: tensors, metadata: metadata, splitting: splitting, name: "m")
        for (number, file) in layout.files.enumerated() {
            var bytes = file.assembled { [UInt8](repeating: UInt8($0), count: tensors[$0].byteCount) }
            change(number, &bytes)
            try folder.write(bytes, to: file.name)
        }
    }

    @Test(arguments: [GGUF.Splitting.maxTensors(2), .maxBytes(96)]) func anyFileOpensAllOfThem(_ splitting: GGUF.Splitting) throws {
        try write(splitting)
        // Padded sizes are 32, 32, 32, 64, 64.
        #expect(folder.names == (1...3).map { "m-0000\($0)-of-00003.gguf" })
        for name in folder.names {
            let file = try GGUFFile(path: folder.path(name))
            #expect(file.manifest.tensors == tensors)
            #expect(file.files.map(\.path) == folder.names.map { folder.path($0) })
            #expect(file.fileIndices == (splitting == .maxTensors(2) ? [0, 0, 1, 1, 2] : [0, 0, 0, 1, 2]))
            #expect(file.metadata.keys == ["general.name"])
            for index in tensors.indices {
                let expected = [UInt8](repeating: UInt8(index), count: tensors[index].byteCount)
                #expect(try file.bytes(ofTensorAt: index).array == expected)
            }
        }
    }

    @Test func theFirstFileHasTheMetadataAndTheKeysStandAsLlamaCppWritesThem() throws {
        let layout = try GGUF.layout(tensors: tensors, metadata: metadata, splitting: .maxTensors(3), name: "m")
        let first = try openGGUFShard(layout.files[0])
        #expect(first.keys == ["general.name", "split.no", "split.tensors.count", "split.count"])
        #expect(first["split.no"] == .u16(0))
        #expect(first["split.tensors.count"] == .i32(5))
        #expect(first["split.count"] == .u16(2))
        let second = try openGGUFShard(layout.files[1])
        #expect(second.keys == ["split.no", "split.tensors.count", "split.count"])
        #expect(second["split.no"] == .u16(1))
    }

    @Test func aMergedModelIsWholeThoughItCountsNoFiles() throws {
        // llama-gguf-split --merge sets the count to 0 instead of removing it.
        var file = GGUFBytes(keys: 1)
        file.key("split.count", type: 2, [0, 0])
        #expect(try openGGUF(file.bytes).metadata["split.count"] == .u16(0))
    }

    @Test func everyFileKeepsAnUnusualAlignment() throws {
        let layout = try GGUF.layout(tensors: tensors, metadata: metadata, alignment: 256, splitting: .maxTensors(4), name: "m")
        for file in layout.files {
            #expect(try openGGUFShard(file)["general.alignment"] == .u32(256))
            #expect(file.byteCount % 256 == 0)
        }
    }

    @Test func aTensorLargerThanTheLimitStandsAlone() throws {
        let layout = try GGUF.layout(tensors: tensors, metadata: metadata, splitting: .maxBytes(1), name: "m")
        #expect(layout.files.map(\.tensors.count) == [1, 1, 1, 1, 1])
    }

    @Test func joinedAgainNothingSpeaksOfSplitting() throws {
        try write(.maxTensors(2))
        let file = try GGUFFile(path: folder.path("m-00002-of-00003.gguf"))
        let joined = try GGUF.layout(tensors: file.manifest.tensors, metadata: file.metadata).files[0]
        let whole = try GGUF.layout(tensors: tensors, metadata: metadata).files[0]
        #expect(joined.header.array == whole.header.array)
    }

    @Test func namesAMissingFile() throws {
        try write(.maxTensors(2))
        try FileManager.default.removeItem(atPath: folder.path("m-00002-of-00003.gguf"))
        let opened = folder.path("m-00003-of-00003.gguf")
        #expect(throws: FormatError(.missing(field: "shard", name: folder.path("m-00002-of-00003.gguf")), path: opened)) {
            try GGUFFile(path: opened)
        }
    }

    @Test func namesAFileInTheWrongPlace() throws {
        try write(.maxTensors(2))
        try folder.write(try folder.read("m-00003-of-00003.gguf"), to: "m-00002-of-00003.gguf")
        #expect(throws: FormatError.self) { try GGUFFile(path: folder.path("m-00001-of-00003.gguf")) }
    }

    @Test func refusesASplitFileUnderAnotherName() throws {
        try write(.maxTensors(2))
        try folder.write(try folder.read("m-00001-of-00003.gguf"), to: "model.gguf")
        let expected = "a name ending in -00001-of-00003.gguf"
        let path = folder.path("model.gguf")
        #expect(throws: FormatError(.invalid(field: "the name of a split file", found: path, expected: expected), path: path)) {
            try GGUFFile(path: path)
        }
    }

    @Test func refusesAWrongNumberOfTensors() throws {
        try write(.maxTensors(2)) { number, bytes in
            guard number == 0 else { return }
            // split.tensors.count is an i32 5 after its key and type.
            let key = Array("split.tensors.count".utf8)
            let at = bytes.indices.first { bytes[$0...].starts(with: key) }! + key.count + 4
            bytes[at] = 6
        }
        let reason = FormatError.Reason.invalid(
            field: "split.tensors.count", found: "6", expected: "5, the tensors of all files")
        #expect(throws: FormatError(reason, path: folder.path("m-00001-of-00003.gguf"))) {
            try GGUFFile(path: folder.path("m-00003-of-00003.gguf"))
        }
    }

    /// The metadata of one file of a split model.
    private func openGGUFShard(_ file: FileLayout) throws -> GGUFMetadata {
        // Cut off from its siblings, a file is only readable when it does not claim to have any.
        var bytes = file.assembled { [UInt8](repeating: 0, count: tensors[$0].byteCount) }
        let key = Array("split.count".utf8)
        let at = try #require(bytes.indices.first { bytes[$0...].starts(with: key) }) + key.count + 4
        let count = bytes[at]
        bytes[at] = 0
        var metadata = try openGGUF(bytes).metadata
        metadata["split.count"] = .u16(UInt16(count))
        return metadata
    }
}
