import Formats
import Foundation
import Testing
import TestSupport

@Suite struct HuggingFaceDirectoryTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func write(_ text: String, to name: String) throws { try folder.write(Array(text.utf8), to: name) }

    /// A shard with one-byte tensors of those names, in that order.
    private func writeShard(_ name: String, _ tensors: [String], metadata: [String: String] = ["format": "pt"]) throws {
        let infos = try tensors.map { try TensorInfo(name: $0, encoding: .plain(.u8), shape: [1]) }
        let file = try Safetensors.layout(tensors: infos, metadata: metadata).files[0]
        try folder.write(file.rendered { [UInt8($0)] }, to: name)
    }

    private func writeIndex(_ map: [(String, String)]) throws {
        var weightMap = JSONObject()
        for (tensor, file) in map { weightMap[tensor] = .string(file) }
        let index: JSONValue = ["metadata": ["total_size": 3], "weight_map": .object(weightMap)]
        try write(index.text(pretty: true), to: "model.safetensors.index.json")
    }

    private func failure(_ path: String? = nil) throws -> FormatError {
        try #require(throws: FormatError.self) { try openTensorSource(at: path ?? folder.path) }
    }

    private func makeFIFO(_ name: String) {
        // The path is NUL-terminated for the call.
        #expect(unsafe mkfifo(folder.path(name), 0o600) == 0)
    }

    // MARK: What opens

    @Test func opensADirectoryWithOneFile() throws {
        try writeShard("model.safetensors", ["b", "a"])
        try write("{\"model_type\": \"llama\", \"x\": Infinity}", to: "config.json")
        for name in [
            "tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "generation_config.json", "chat_template.jinja", "LICENSE",
            "special_tokens_map.json", "README.md", "pytorch_model.bin", "pytorch_model.bin.index.json", "model.onnx", "logo.png",
            "flax_model.msgpack", "modeling.py", ".gitattributes", ".hidden.json",
        ] { try write(name, to: name) }
        try FileManager.default.createDirectory(atPath: folder.path("onnx.json"), withIntermediateDirectories: true)
        let source = try openTensorSource(at: folder.path)
        let directory = try #require(source as? HuggingFaceDirectory)
        #expect(directory.manifest.format == .huggingFace)
        #expect(directory.manifest.tensors.map(\.name) == ["b", "a"])
        #expect(try directory.bytes(ofTensorAt: 1).array == [1])
        let kept = [
            "LICENSE", "chat_template.jinja", "generation_config.json", "merges.txt", "special_tokens_map.json", "tokenizer.json",
            "tokenizer.model", "vocab.json",
        ]
        guard case .huggingFace(let files) = directory.manifest.metadata else { throw FormatError(.unsupported(what: "metadata")) }
        #expect(files.files.keys.sorted() == kept)
        #expect(files.files["merges.txt"]?.array == Array("merges.txt".utf8))
        #expect(files.config["model_type"] == "llama")
        #expect(files.config["x"]?.double == .infinity)
        #expect(files.weightsMetadata == ["format": "pt"])
        #expect(directory.files.map(\.path) == (["model.safetensors", "config.json"] + kept).map(folder.path(_:)))
    }

    @Test func opensShardsInTheOrderOfTheirNames() throws {
        try writeShard("model-00002-of-00002.safetensors", ["a"], metadata: ["format": "mlx", "k": "v"])
        try writeShard("model-00001-of-00002.safetensors", ["c", "b"])
        try writeIndex([("a", "model-00002-of-00002.safetensors"), ("b", "model-00001-of-00002.safetensors"), ("c", "model-00001-of-00002.safetensors")])
        try write("{}", to: "config.json")
        let source = try openTensorSource(at: folder.path + "/")
        #expect(source.manifest.tensors.map(\.name) == ["c", "b", "a"])
        #expect(try (0..<3).map { try source.bytes(ofTensorAt: $0).array } == [[0], [1], [0]])
        #expect((source as? HuggingFaceDirectory)?.modelFiles.weightsMetadata == ["format": "pt", "k": "v"])
        #expect(source.files.count == 4)
        let index = try openTensorSource(at: folder.path("model.safetensors.index.json"))
        #expect(index.manifest.format == .safetensors)
        #expect(index.manifest.tensors == source.manifest.tensors)
    }

    @Test func opensAFileByItsContentWhateverItsName() throws {
        try writeShard("weights.gguf", ["a"])
        #expect(try openTensorSource(at: folder.path("weights.gguf")).manifest.format == .safetensors)
    }

    @Test func linksOfTheDirectoryItselfAreFollowed() throws {
        let blobs = try TemporaryFolder()
        try FileManager.default.createDirectory(atPath: folder.path("snapshot"), withIntermediateDirectories: true)
        try writeShard("blob", ["a"])
        try blobs.write(Array("{}".utf8), to: "config")
        try FileManager.default.createSymbolicLink(atPath: folder.path("snapshot/model.safetensors"), withDestinationPath: "../blob")
        try FileManager.default.createSymbolicLink(atPath: folder.path("snapshot/config.json"), withDestinationPath: blobs.path("config"))
        #expect(try openTensorSource(at: folder.path("snapshot")).manifest.tensors.count == 1)
    }

    // MARK: Round trip

    @Test(arguments: 0..<10 as Range<UInt64>) func directoriesLaidOutReadBackEqual(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let tensors = try random.plainTensors(8)
        let data = tensors.map { random.bytes($0.byteCount) }
        let files = HuggingFaceFiles(config: ["model_type": "x", "eps": 1e-05], files: ["tokenizer.json": TensorBytes([1, 2]), "merges.txt": TensorBytes([])])
        let layout = try HuggingFaceDirectory.layout(tensors: tensors, files: files, shardByteCount: 1 + random.next(below: 400))
        for file in layout.files { try folder.write(file.rendered { data[$0] }, to: file.name) }
        let opened = try HuggingFaceDirectory(path: folder.path)
        #expect(opened.modelFiles.config == files.config)
        #expect(opened.modelFiles.files.mapValues(\.array) == files.files.mapValues(\.array))
        #expect(opened.modelFiles.weightsMetadata == ["format": "pt"])
        let placed = layout.files.flatMap(\.tensors)
        #expect(opened.manifest.tensors == placed.map(\.info), "seed \(seed)")
        #expect(opened.manifest.byteOffsets == placed.map(\.byteOffset), "seed \(seed)")
        for (place, tensor) in placed.enumerated() { #expect(try opened.bytes(ofTensorAt: place).array == data[tensor.index], "seed \(seed)") }
    }

    @Test(arguments: ["../x", "a/b", "config.json", "model.safetensors", "", ".."]) func layoutRefusesOtherFileNames(name: String) throws {
        let files = HuggingFaceFiles(config: [:], files: [name: TensorBytes([])])
        #expect(try #require(throws: FormatError.self) { try HuggingFaceDirectory.layout(tensors: [], files: files) }.description.contains("'\(name)'"))
    }

    // MARK: Shards and index that do not agree

    @Test(arguments: ["../model.safetensors", "/etc/passwd", "sub/model.safetensors", "..", ".", "", "a\0b", "./model.safetensors"])
    func refusesAnIndexThatLeavesTheFolder(name: String) throws {
        try writeShard("model.safetensors.x", ["t"])
        try write("{}", to: "config.json")
        try writeIndex([("t", name)])
        let error = try failure()
        #expect(error.tensor == "t")
        #expect(error.path == folder.path("model.safetensors.index.json"))
        #expect(error.reason == .invalid(field: "weight_map", found: "'\(name)'", expected: "the name of a file in the index's own folder"))
    }

    @Test func refusesAMissingShardNamingIt() throws {
        try write("{}", to: "config.json")
        try writeShard("a.safetensors", ["a"])
        try writeIndex([("a", "a.safetensors"), ("b", "b.safetensors")])
        #expect(try failure() == FormatError(.missing(field: "shard", name: "b.safetensors"), path: folder.path("model.safetensors.index.json")))
    }

    @Test func refusesAMapThatDoesNotAgreeWithItsShards() throws {
        try write("{}", to: "config.json")
        try writeShard("a.safetensors", ["a", "x"])
        try writeShard("b.safetensors", ["b"])
        try writeIndex([("a", "a.safetensors"), ("b", "b.safetensors")])
        let unmapped = try failure()
        #expect(unmapped.tensor == "x")
        #expect(unmapped.description.contains("weight_map"))
        try writeIndex([("a", "a.safetensors"), ("x", "a.safetensors"), ("b", "b.safetensors"), ("lost", "b.safetensors")])
        let lost = try failure()
        #expect(lost.tensor == "lost")
        #expect(lost.description.contains("b.safetensors"))
        try writeIndex([("a", "a.safetensors"), ("x", "b.safetensors"), ("b", "b.safetensors")])
        #expect(try failure().reason == .invalid(field: "weight_map", found: "'b.safetensors'", expected: "'a.safetensors', where the tensor is"))
        try writeShard("b.safetensors", ["b", "a"])
        try writeIndex([("a", "a.safetensors"), ("x", "a.safetensors"), ("b", "b.safetensors")])
        #expect(try failure().tensor == "a")
    }

    @Test(arguments: ["[]", "{}", "{\"weight_map\": []}", "{\"weight_map\": {\"t\": 1}}", "{\"weight_map\": {\"t\": \"a\", \"t\": \"b\"}}", "{\"weight_map\""])
    func refusesIndexesThatAreNotOne(text: String) throws {
        try write("{}", to: "config.json")
        try write(text, to: "model.safetensors.index.json")
        #expect(try failure().path == folder.path("model.safetensors.index.json"))
    }

    // MARK: Folders and files that are no models

    @Test func refusesFoldersWithoutAModel() throws {
        #expect(try failure().description.contains("empty"))
        try write("{}", to: "config.json")
        #expect(try failure().description.contains("model.safetensors.index.json"))
        try write("", to: "pytorch_model.bin")
        let error = try failure()
        #expect(error.description.contains("pytorch_model.bin"))
        #expect(error.description.contains("unpickled"))
        #expect(error.path == folder.path)
    }

    @Test func refusesADirectoryWithoutConfiguration() throws {
        try writeShard("model.safetensors", ["a"])
        #expect(try failure() == FormatError(.missing(field: "file", name: "config.json"), path: folder.path))
    }

    @Test(arguments: ["", "[]", "{", "{\"a\": 1, \"a\": 2}"]) func refusesBrokenConfigurations(text: String) throws {
        try writeShard("model.safetensors", ["a"])
        try write(text, to: "config.json")
        #expect(try failure().path == folder.path("config.json"))
    }

    @Test func refusesHugeFilesBesideTheWeights() throws {
        try writeShard("model.safetensors", ["a"])
        try write("{}", to: "config.json")
        try write("", to: "tokenizer.json")
        // A hole: takes no disk.
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: folder.path("tokenizer.json")))
        try handle.truncate(atOffset: UInt64(HuggingFaceDirectory.maximumFileByteCount + 1))
        try handle.close()
        let error = try failure()
        #expect(error.path == folder.path("tokenizer.json"))
        #expect(error.description.contains("at most"))
    }

    @Test func refusesFilesOfAnotherKind() throws {
        for (name, bytes) in [("empty", []), ("short", [1, 2, 3]), ("text", Array("Hello, world, this is text.".utf8))] as [(String, [UInt8])] {
            let error = try failure(folder.write(bytes, to: name))
            #expect(error.path == folder.path(name))
            #expect(error.description.contains("expected safetensors"))
        }
        #expect(try failure(folder.write([1, 0], to: "a.safetensors")).reason == .truncated(field: "header length", needed: 8, available: 2))
        #expect(try failure(folder.path("none")).reason == .system(call: "open", errno: ENOENT))
        makeFIFO("fifo")
        #expect(try failure(folder.path("fifo")).description.contains("FIFO"))
        #expect(try failure("/dev/zero").description.contains("device"))
        #expect(try failure(folder.path("a\0b")).description.contains("NUL"))
    }

    @Test func aFIFOInADirectoryDoesNotHang() throws {
        try write("{}", to: "config.json")
        makeFIFO("model.safetensors")
        #expect(try failure().path == folder.path("model.safetensors"))
    }
}
