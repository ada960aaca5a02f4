import Foundation
import Testing
import TestSupport

/// Files that are cut, flipped, or made to mislead, through the command: a refusal in one line that names the file, no
/// trap, no hang, little memory, nothing left behind.
@Suite(.timeLimit(.minutes(2))) struct HostileFileTests {
    let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        try folder.makeFolder("out")
    }

    /// Runs a conversion that may only be refused or, where `mayPass`, succeed.
    /// - Parameters:
    ///   - input: a path in the folder.
    ///   - name: what the message must name.
    /// - Returns: what it wrote.
    @discardableResult private func convert(
        _ input: String, naming name: String, words: [String] = [], mayPass: Bool = false, what: String = "",
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> [UInt8]? {
        // A safetensors file without a configuration stays one.
        let output = "out/o." + (input.hasSuffix(".safetensors") ? "safetensors" : "gguf")
        let outcome = try await resq(["convert", input, output], in: folder.path, limits: .smallFile)
        var found: [UInt8]?
        if mayPass, outcome.ending == .exited(0) {
            found = try folder.read(output)
            try FileManager.default.removeItem(atPath: folder.path(output))
        } else {
            expectRefusal(outcome, sourceLocation: sourceLocation)
            for word in words + [name] where !word.isEmpty {
                #expect(outcome.errors.contains(word), "\(what): \(outcome.errors)", sourceLocation: sourceLocation)
            }
        }
        let left = (try? FileManager.default.contentsOfDirectory(atPath: folder.path("out"))) ?? ["no folder"]
        #expect(left.isEmpty, "\(what): left \(left)", sourceLocation: sourceLocation)
        return found
    }

    // MARK: cut and flipped files

    /// A GGUF of two tensors and a few keys.
    static let gguf: [UInt8] = {
        var file = GGUFBytes(tensors: 2, keys: 3)
        file.key("general.architecture", type: 8, Array("\u{4}\0\0\0\0\0\0\0test".utf8))
        file.alignment(32)
        file.key("test.list", type: 9, [4, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0])
        file.tensor("first", dimensions: [8, 2], offset: 0)
        file.tensor("second", dimensions: [32], type: 8, offset: 64)
        file.pad(to: 32)
        file.bytes += (0..<64).map { $0 % 4 == 3 ? 0x3F : UInt8($0) }
        // One Q8_0 block: the scale, 32 numbers.
        file.bytes += [0x00, 0x3C] + (0..<32).map { UInt8($0) }
        return file.bytes
    }()

    static let safetensors = safetensorsBytes(
        #"{"__metadata__":{"a":"b"},"x":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"y":{"dtype":"U8","shape":[4],"data_offsets":[16,20]}}"#,
        dataByteCount: 20)

    /// Files of a model, by the path that is damaged, and what is given to the command.
    static let victims: [(file: String, input: String, name: String)] = [
        ("m.gguf", "m.gguf", "m.gguf"), ("m.safetensors", "m.safetensors", "m.safetensors"), ("m.gguf.zst", "m.gguf.zst", "m.gguf.zst"),
        ("model/model.safetensors.index.json", "model", "index.json"), ("model/config.json", "model", "config.json"),
        ("model/tokenizer.json", "model", "tokenizer.json"), ("model/model-00002-of-00002.safetensors", "model", "model-00002"),
    ]

    private func prepare(_ file: String) async throws -> [UInt8] {
        switch file {
        case "m.gguf": try folder.write(Self.gguf, to: file)
        case "m.safetensors": try folder.write(Self.safetensors, to: file)
        case "m.gguf.zst":
            try folder.write(Self.gguf, to: "plain.gguf")
            expectSuccess(try await resq(["convert", "plain.gguf", file], in: folder.path))
        default: try SmallModel(layers: 1, shardCount: 2).write(to: folder)
        }
        return try folder.read(file)
    }

    @Test(arguments: victims.indices) func cutFilesAreRefused(index: Int) async throws {
        let victim = Self.victims[index]
        let whole = try await prepare(victim.file)
        // The valid file is accepted, else the refusals say nothing.
        #expect(try await convert(victim.input, naming: "", mayPass: true) != nil)
        var random = SeededRandom(seed: 1 + UInt64(index))
        var cuts = [0, 1, 4, 8, 9, whole.count / 2, whole.count - 1]
        while cuts.count < 30 { cuts.append(random.next(below: whole.count)) }
        for cut in Set(cuts) {
            try folder.write(Array(whole[..<cut]), to: victim.file)
            try await convert(victim.input, naming: victim.name, what: "cut to \(cut) of \(whole.count)")
        }
    }

    @Test(arguments: victims.indices) func flippedFilesNeverTrap(index: Int) async throws {
        let victim = Self.victims[index]
        let whole = try await prepare(victim.file)
        let plain = victim.file == "m.gguf.zst" ? try await convert(victim.input, naming: "", mayPass: true) : nil
        var random = SeededRandom(seed: 100 + UInt64(index))
        for _ in 0..<30 {
            var damaged = whole
            // Headers are where a flip misleads; most of a weights file is weights.
            let bit = random.next(below: 8 * min(damaged.count, 2000))
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            try folder.write(damaged, to: victim.file)
            // Another number or name may be as good. A compressed file may be read when it unpacks to what it was,
            // but its hashes see every bit.
            let isCompressed = victim.file == "m.gguf.zst"
            let written = try await convert(victim.input, naming: isCompressed ? victim.name : "", mayPass: true, what: "bit \(bit)")
            if isCompressed, let written { #expect(written == plain, "bit \(bit)") }
            let verified = try await resq(["verify", victim.input], in: folder.path, limits: .smallFile)
            #expect(
                [.exited(1), .exited(65)].contains(verified.ending) || !isCompressed && verified.ending == .exited(0),
                "bit \(bit): \(verified.ending) \(verified.errors)")
        }
    }

    // MARK: files made to mislead

    /// Headers of GGUF files, and a word of the message.
    static let ggufs: [(String, String, GGUFBytes)] = {
        func file(tensors: Int64 = 0, keys: Int64 = 0, version: UInt32 = 3, _ fill: (inout GGUFBytes) -> Void = { _ in }) -> GGUFBytes {
            var file = GGUFBytes(version: version, tensors: tensors, keys: keys)
            fill(&file)
            file.pad(to: 32)
            file.bytes += [UInt8](repeating: 0, count: 64)
            return file
        }
        return [
            ("version 0", "version", file(version: 0)), ("version 4", "version", file(version: 4)),
            ("big endian", "version", file(version: 3 << 24)),
            ("tensor count", "n_tensors", file(tensors: .max)), ("negative tensor count", "n_tensors", file(tensors: -1)),
            ("key count", "n_kv", file(keys: .max)),
            ("key length", "key", file(keys: 1) { $0.append(UInt64.max) }),
            ("key length past the end", "key", file(keys: 1) { $0.append(UInt64(1 << 40)) }),
            ("string length", "k", file(keys: 1) { $0.append("k"); $0.append(UInt32(8)); $0.append(UInt64(1) << 63) }),
            ("array count", "k", file(keys: 1) { $0.append("k"); $0.append(UInt32(9)); $0.append(UInt32(10)); $0.append(UInt64(1) << 61) }),
            ("string array count", "k", file(keys: 1) { $0.append("k"); $0.append(UInt32(9)); $0.append(UInt32(8)); $0.append(UInt64(1) << 40) }),
            ("nested arrays", "k", file(keys: 1) {
                $0.append("k")
                $0.append(UInt32(9))
                for _ in 0..<20_000 { $0.append(UInt32(9)); $0.append(UInt64(1)) }
            }),
            ("value type", "k", file(keys: 1) { $0.append("k"); $0.append(UInt32(99)) }),
            ("key twice", "k", file(keys: 2) { for _ in 0..<2 { $0.key("k", type: 4, [1, 0, 0, 0]) } }),
            ("alignment 0", "general.alignment", file(keys: 1) { $0.alignment(0) }),
            ("alignment 3", "general.alignment", file(keys: 1) { $0.alignment(3) }),
            ("alignment 2^31", "general.alignment", file(keys: 1) { $0.alignment(1 << 31) }),
            ("rank", "t", file(tensors: 1) { $0.append("t"); $0.append(UInt32.max) }),
            ("rank 5", "t", file(tensors: 1) { $0.tensor("t", dimensions: [1, 1, 1, 1, 1]) }),
            ("dimension", "t", file(tensors: 1) { $0.tensor("t", dimensions: [.max]) }),
            ("negative dimension", "t", file(tensors: 1) { $0.tensor("t", dimensions: [-4]) }),
            ("product 2^64", "t", file(tensors: 1) { $0.tensor("t", dimensions: [1 << 32, 1 << 32]) }),
            ("product 2^64 of four", "t", file(tensors: 1) { $0.tensor("t", dimensions: [65536, 65536, 65536, 65536]) }),
            ("overflow behind a zero", "t", file(tensors: 1) { $0.tensor("t", dimensions: [0, 1 << 62, 1 << 62]) }),
            ("type", "t", file(tensors: 1) { $0.tensor("t", dimensions: [4], type: 999) }),
            ("removed type", "t", file(tensors: 1) { $0.tensor("t", dimensions: [32], type: 4) }),
            ("half a block", "t", file(tensors: 1) { $0.tensor("t", dimensions: [33], type: 8) }),
            ("offset past the end", "t", file(tensors: 1) { $0.tensor("t", dimensions: [4], offset: 1 << 40) }),
            ("offset near 2^64", "t", file(tensors: 1) { $0.tensor("t", dimensions: [4], offset: .max - 31) }),
            ("crooked offset", "t", file(tensors: 1) { $0.tensor("t", dimensions: [4], offset: 7) }),
            ("overlap", "u", file(tensors: 2) { $0.tensor("t", dimensions: [16]); $0.tensor("u", dimensions: [16], offset: 32) }),
            ("name twice", "t", file(tensors: 2) { $0.tensor("t", dimensions: [8]); $0.tensor("t", dimensions: [8], offset: 32) }),
            ("name of control characters", "", file(tensors: 1) { $0.tensor("a\u{1B}[2J\nerror: b", dimensions: [.max]) }),
        ]
    }()

    @Test(arguments: ggufs.indices) func misleadingGGUFIsRefused(index: Int) async throws {
        let (name, word, file) = Self.ggufs[index]
        try folder.write(file.bytes, to: "m.gguf")
        try await convert("m.gguf", naming: "m.gguf: ", words: [word], what: name)
        let inspected = try await resq(["inspect", "m.gguf", "--json"], in: folder.path, limits: .smallFile)
        expectRefusal(inspected, saying: "m.gguf: ")
        #expect(!inspected.errors.dropLast().contains { $0.isNewline || $0 == "\u{1B}" })
    }

    /// Headers of safetensors files, and a word of the message.
    static let headers: [(String, [UInt8], String)] = {
        let x = { (fields: String) in safetensorsBytes("{\"x\":{\(fields)}}", dataByteCount: 16) }
        return [
            ("length past the end", [0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0x7B, 0x7D], "header"),
            ("length 2^63", [0, 0, 0, 0, 0, 0, 0, 0x80, 0x7B, 0x7D], ""),
            ("no object", safetensorsBytes("[]        "), ""),
            ("not UTF-8", safetensorsBytes([0x7B, 0x22, 0xFF, 0x22, 0x3A, 0x31, 0x7D]), ""),
            ("deep", safetensorsBytes("{\"x\":" + String(repeating: "[", count: 100_000)), ""),
            ("name twice", safetensorsBytes(
                #"{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\u0078":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#, dataByteCount: 2), "x"),
            ("unknown dtype", x(#""dtype":"F99","shape":[4],"data_offsets":[0,16]"#), "F99"),
            ("negative shape", x(#""dtype":"F32","shape":[-4],"data_offsets":[0,16]"#), "x"),
            ("shape of fractions", x(#""dtype":"F32","shape":[4.5],"data_offsets":[0,16]"#), "x"),
            ("product 2^64", x(#""dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,16]"#), "x"),
            ("shape past 2^63", x(#""dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,16]"#), ""),
            ("overflow behind a zero", x(#""dtype":"F32","shape":[0,4611686018427387904,4611686018427387904],"data_offsets":[0,0]"#), "x"),
            ("bytes do not fit the shape", x(#""dtype":"F32","shape":[3],"data_offsets":[0,16]"#), "x"),
            ("offsets reversed", x(#""dtype":"F32","shape":[4],"data_offsets":[16,0]"#), "x"),
            ("offsets past the end", x(#""dtype":"F32","shape":[8],"data_offsets":[0,32]"#), "x"),
            ("gap", x(#""dtype":"F32","shape":[2],"data_offsets":[8,16]"#), "x"),
            ("bytes left over", x(#""dtype":"F32","shape":[2],"data_offsets":[0,8]"#), ""),
            ("no offsets", x(#""dtype":"F32","shape":[4]"#), "data_offsets"),
            ("metadata that is no text", safetensorsBytes(#"{"__metadata__":{"a":[1]}}"#), "__metadata__"),
            ("half a byte", x(#""dtype":"F4","shape":[1],"data_offsets":[0,1]"#), "x"),
        ]
    }()

    @Test(arguments: headers.indices) func misleadingSafetensorsIsRefused(index: Int) async throws {
        let (name, bytes, word) = Self.headers[index]
        try folder.write(bytes, to: "m.safetensors")
        try await convert("m.safetensors", naming: "m.safetensors: ", words: [word].filter { !$0.isEmpty }, what: name)
    }

    // MARK: directories

    /// Changes to `model.safetensors.index.json` and a word of the message.
    static let indexes: [(String, String, [String])] = [
        ("outside", #"{"weight_map":{"lm_head.weight":"../secret.safetensors"}}"#, ["../secret.safetensors"]),
        ("absolute", #"{"weight_map":{"lm_head.weight":"/etc/passwd"}}"#, ["/etc/passwd"]),
        ("outside in the middle", #"{"weight_map":{"lm_head.weight":"a/../../secret.safetensors"}}"#, ["secret"]),
        ("missing shard", #"{"weight_map":{"lm_head.weight":"model-00009-of-00009.safetensors"}}"#, ["model-00009-of-00009.safetensors"]),
        ("tensor that is not there", #"{"weight_map":{"nowhere.weight":"model-00001-of-00002.safetensors"}}"#, ["is missing"]),
        ("no map", #"{"metadata":{}}"#, ["weight_map"]), ("map of numbers", #"{"weight_map":{"a":1}}"#, ["a"]),
        ("map as a list", #"{"weight_map":[]}"#, ["weight_map"]), ("deep", "{\"weight_map\":" + String(repeating: "{\"a\":", count: 50_000), [""]),
        ("NUL", #"{"weight_map":{"a":"model\u0000.safetensors"}}"#, [""]),
        ("FIFO", #"{"weight_map":{"a":"pipe.safetensors"}}"#, ["pipe.safetensors"]),
        ("folder", #"{"weight_map":{"a":"sub"}}"#, ["sub"]),
    ]

    @Test(arguments: indexes.indices) func misleadingIndexIsRefused(index: Int) async throws {
        let (name, text, words) = Self.indexes[index]
        try SmallModel(layers: 1, shardCount: 2).write(to: folder)
        try folder.write(Self.safetensors, to: "secret.safetensors")
        try folder.makeFolder("model/sub")
        folder.makeFIFO("model/pipe.safetensors")
        try folder.write(Array(text.utf8), to: "model/model.safetensors.index.json")
        try await convert("model", naming: "model/", words: words, what: name)
    }

    /// Changes to `config.json`, and a word of the message.
    static let configs: [(String, any Sendable, String)] = [
        ("num_hidden_layers", Int.max, "num_hidden_layers"), ("num_hidden_layers", -1, "num_hidden_layers"),
        ("num_hidden_layers", "two", "num_hidden_layers"), ("num_hidden_layers", 100_000, "num_hidden_layers"), ("num_hidden_layers", 8192, "model.layers."),
        ("hidden_size", 0, "hidden_size"), ("hidden_size", Int.max, ""), ("num_attention_heads", 0, "num_attention_heads"),
        ("num_attention_heads", 1.5, "num_attention_heads"), ("num_key_value_heads", Int.max, ""), ("vocab_size", Int.max, ""),
        ("vocab_size", -8, "vocab_size"), ("vocab_size", 4, ""), ("rms_norm_eps", "small", "rms_norm_eps"),
        ("rope_theta", -1.0, "rope_theta"), ("architectures", ["SomethingForCausalLM"], "SomethingForCausalLM"),
        ("hidden_act", "tanh", "hidden_act"),
    ]

    @Test(arguments: configs.indices) func misleadingConfigIsRefused(index: Int) async throws {
        let (key, value, word) = Self.configs[index]
        let model = SmallModel(layers: 1)
        try model.write(to: folder)
        var config = model.config
        config[key] = value
        try folder.write(jsonBytes(config), to: "model/config.json")
        try await convert("model", naming: "", words: [word], what: "\(key) = \(value)")
    }

    @Test func incompleteDirectoriesAreRefused() async throws {
        let files = FileManager.default
        try folder.makeFolder("empty")
        try await convert("empty", naming: "empty", words: ["model.safetensors"])
        for (index, missing) in ["config.json", "tokenizer.json", "model.safetensors"].enumerated() {
            try SmallModel(layers: 1).write(to: folder, as: "m\(index)")
            try files.removeItem(atPath: folder.path("m\(index)/\(missing)"))
            try await convert("m\(index)", naming: missing, what: missing)
        }
        try SmallModel(layers: 1).write(to: folder, as: "pickle")
        try files.moveItem(atPath: folder.path("pickle/model.safetensors"), toPath: folder.path("pickle/pytorch_model.bin"))
        try await convert("pickle", naming: "pytorch_model.bin", words: ["nothing is ever unpickled"])
        for (index, name) in ["config.json", "tokenizer.json", "model.safetensors"].enumerated() {
            try SmallModel(layers: 1).write(to: folder, as: "f\(index)")
            try files.removeItem(atPath: folder.path("f\(index)/\(name)"))
            folder.makeFIFO("f\(index)/\(name)")
            try await convert("f\(index)", naming: name, words: ["FIFO"], what: name)
        }
        folder.makeFIFO("pipe.gguf")
        try await convert("pipe.gguf", naming: "pipe.gguf", words: ["FIFO"])
        try await convert("/dev/null", naming: "/dev/null")
    }

    @Test(arguments: [nil, "f16", "q8_0", "q4_0"]) func weightsThatAreNotNumbersAreRefused(type: String?) async throws {
        for (name, value) in [("nan", Float.nan), ("inf", .infinity)] {
            try SmallModel(layers: 1, spoiled: ("model.layers.0.mlp.up_proj.weight", value)).write(to: folder, as: name)
            for output in ["o.gguf", "o.gguf.zst", "o"] {
                let outcome = try await resq(["convert", name, "out/" + output, "--quiet"] + (type.map { ["--type", $0] } ?? []), in: folder.path)
                expectRefusal(outcome, saying: "\(name): ", "up", "element 5")
                #expect(folder.everything.allSatisfy { !$0.hasPrefix("out/") }, "\(folder.everything)")
            }
        }
    }

    // MARK: zstd

    @Test func bombsStayPacked() async throws {
        // 400 MB of zeros in a few kilobytes, as stock zstd packs them, alone and behind a header that promises one tensor.
        let block = [UInt8](repeating: 0, count: 1 << 20)
        var header = GGUFBytes(tensors: 1)
        header.tensor("t", dimensions: [4])
        header.pad(to: 32)
        for (name, start) in [("zeros", []), ("tail", header.bytes)] {
            try folder.write(start, to: "plain")
            let handle = try #require(FileHandle(forWritingAtPath: folder.path("plain")))
            try handle.seekToEnd()
            for _ in 0..<400 { try handle.write(contentsOf: block) }
            try handle.close()
            try await pack("plain", to: "\(name).gguf.zst")
            // Nothing may be unpacked that a header has not promised: neither into memory nor onto the disk.
            let outcome = try await resq(
                ["convert", "\(name).gguf.zst", "out/o.gguf"], in: folder.path, limits: Limits(addressSpace: 512 << 20, fileSize: 64 << 20))
            expectRefusal(outcome, saying: "\(name).gguf.zst")
            #expect(folder.everything.allSatisfy { !$0.hasPrefix("out/") })
        }
    }

    private func pack(_ input: String, to output: String) async throws {
        try await shell("zstd -qf '\(folder.path(input))' -o '\(folder.path(output))'")
    }

    // MARK: side doors

    @Test func everyCommandRefuses() async throws {
        try folder.write(Array(Self.gguf.dropLast(40)), to: "m.gguf")
        try folder.write(Self.gguf, to: "whole.gguf")
        for arguments in [
            ["inspect", "m.gguf"], ["inspect", "m.gguf", "--json"], ["verify", "m.gguf"], ["verify", "whole.gguf", "--against", "m.gguf"],
            ["diff", "m.gguf", "whole.gguf"], ["diff", "whole.gguf", "m.gguf", "--json"], ["plan", "q8_0", "--input", "m.gguf"],
            ["run", "q8_0", "--input", "m.gguf", "--output", "out/o.gguf"], ["run", "q8_0", "--input", "m.gguf", "--dry-run"],
        ] {
            expectRefusal(try await resq(arguments, in: folder.path, limits: .smallFile), saying: "m.gguf: ")
        }
        #expect(folder.names == ["m.gguf", "out", "whole.gguf"])
    }

    @Test func hostileArchitectureFilesAreRefused() async throws {
        try SmallModel(layers: 1).write(to: folder)
        for (name, text) in [
            ("empty", ""), ("list", "[]"), ("deep", String(repeating: "{\"a\":", count: 50_000)), ("self", #"{"extends":"x","architecture":"x"}"#),
            ("nothing", "{}"), ("division", #"{"extends":"llama","architecture":"x","hyperparameters":{"head-dimension":{"default":"hidden/zero"}}}"#),
        ] {
            try folder.write(Array(text.utf8), to: "\(name).json")
            let outcome = try await resq(
                ["convert", "model", "out/o.gguf", "--architecture", "\(name).json"], in: folder.path, limits: .smallFile)
            expectRefusal(outcome, saying: "\(name).json")
        }
    }
}
