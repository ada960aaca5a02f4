import Foundation
import Testing
import TestSupport

/// The method from outside: runs that are killed, artifacts that become ordinary models, and what cannot work.
@Suite(.serialized) struct ResQCommandTests {
    let folder: TemporaryFolder
    private static let layers = 8

    init() throws {
        folder = try TemporaryFolder()
        // So large that a layer takes some hundredths of a second.
        try SmallModel(layers: Self.layers, hidden: 192, feedForward: 512, heads: 6).write(to: folder)
        var random = SeededRandom(seed: 3)
        // Few tokens often, so that the second moments are far from round.
        try folder.write(numPyBytes((0..<3000).map { _ in Int(random.next() % 8 * (random.next() % 8) / 8) }), to: "tokens.npy")
    }

    private func arguments(_ output: String, _ more: String...) -> [String] {
        ["run", "resq-w4a4kv4", "--input", "model", "--output", output, "--threads", "1", "--set", "calibration.text=tokens.npy",
         "--set", "calibration.sequences=16", "--set", "calibration.context=64"] + more
    }

    /// Paths below the work folder whose last part is one of these, with the time of their last change.
    private func files(_ names: [String], in work: String) -> [String: Date] {
        var found: [String: Date] = [:]
        for path in folder.everything where path.hasPrefix(work + "/") && names.contains(where: { path.hasSuffix("/" + $0) }) {
            let attributes = try? FileManager.default.attributesOfItem(atPath: folder.path(path))
            found[path] = attributes?[.modificationDate] as? Date
        }
        return found
    }

    /// Killed again and again, in both stages that take long: what was finished is not done again, and the bytes are those
    /// of a run that nothing stopped.
    @Test func aKilledRunGoesOnAtItsLayer() async throws {
        expectSuccess(try await resq(arguments("whole.gguf"), in: folder.path))
        let folder = folder
        // Each kill with the files that were finished before it, and the one whose coming it waits for.
        let stages: [(finished: [String], next: String)] = [
            ([], "bases-2.safetensors"), ((0...2).map { "bases-\($0).safetensors" }, "bases-5.safetensors"),
            (["bases.safetensors"], "rounded-1.safetensors"), (["bases.safetensors", "rounded-0.safetensors", "rounded-1.safetensors"], "rounded-4.safetensors"),
        ]
        for (finished, next) in stages {
            let before = files(finished, in: "work")
            let outcome = try await resqKilled(arguments("m.gguf", "--work", "work"), in: folder.path) {
                folder.everything.contains { $0.hasSuffix("/" + next) } || folder.everything.contains("m.gguf")
            }
            #expect(outcome.ending == .signaled(9), "\(next): \(outcome.errors)")
            #expect(!folder.everything.contains("m.gguf"))
            // `bases.safetensors` is made between the second and the third kill.
            #expect(before.count == finished.count || finished == ["bases.safetensors"], "\(before.keys)")
            #expect(files(finished, in: "work").merging(before) { $0 == $1 ? $0 : .distantPast }.values.allSatisfy { $0 != .distantPast }, "\(next)")
        }
        let rounded = (0...4).map { "rounded-\($0).safetensors" }
        let before = files(rounded + ["bases.safetensors"], in: "work")
        #expect(before.count == 6)
        expectSuccess(try await resq(arguments("m.gguf", "--work", "work"), in: folder.path))
        #expect(try folder.read("m.gguf") == folder.read("whole.gguf"))
        #expect(files(rounded + ["bases.safetensors"], in: "work") == before)
        // Another recipe with the same bases and weights has nothing left to find.
        let again = Array(arguments("w4.gguf", "--work", "work").map { $0 == "resq-w4a4kv4" ? "resq-w4" : $0 })
        expectSuccess(try await resq(again, in: folder.path))
        #expect(files((0..<Self.layers).map { "rounded-\($0).safetensors" }, in: "work").count == Self.layers)
    }

    @Test func artifactsBecomeOrdinaryModels() async throws {
        expectSuccess(try await resq(arguments("a.gguf.zst"), in: folder.path))
        // In GGUF an artifact stays what it is, unless something else is asked for.
        expectSuccess(try await resq(["convert", "a.gguf.zst", "a.gguf"], in: folder.path))
        #expect(try await architecture("a.gguf") == "resq")
        let directory = try await resq(["convert", "a.gguf.zst", "out"], in: folder.path)
        expectSuccess(directory)
        #expect(directory.errors.contains("note: the model is an ordinary one again; left out is what its runtime did: queries and keys are rotated"))
        let config = try #require(JSONSerialization.jsonObject(with: Data(try folder.read("out/config.json"))) as? [String: Any])
        #expect(config["torch_dtype"] as? String == "float16" && config["model_type"] as? String == "llama")
        expectSuccess(try await resq(["convert", "a.gguf.zst", "wide.gguf", "--lower", "widen", "--type", "f32"], in: folder.path))
        let uniform = try await resq(["convert", "a.gguf.zst", "q8.gguf", "--lower", "uniform"], in: folder.path)
        expectSuccess(uniform)
        #expect(uniform.errors.contains("rounding cost a relative error of up to 0.0"), "\(uniform.errors)")
        for name in ["wide.gguf", "q8.gguf"] { #expect(try await architecture(name) == "llama") }
        #expect(try await types("wide.gguf") == ["F32"])
        #expect(try await types("q8.gguf") == ["F32", "Q8_0"])
        // Original, unrotated: a weight in 4 bits is near what it was; rotated it is not.
        let near = try await relativeError("out", "model", "model.layers.3.mlp.down_proj.weight")
        #expect(near > 0.01 && near < 0.2, "\(near)")
        #expect(try await relativeError("wide.gguf", "model", "model.layers.3.mlp.down_proj.weight") > 1)
    }

    private func inspected(_ path: String) async throws -> [String: Any] {
        try #require(try json(try await resq(["inspect", path, "--json"], in: folder.path)) as? [String: Any])
    }

    private func architecture(_ path: String) async throws -> String? {
        (try await inspected(path)["metadata"] as? [String: Any])?["general.architecture"] as? String
    }

    private func types(_ path: String) async throws -> [String] {
        let tensors = try #require(try await inspected(path)["tensors"] as? [[String: Any]])
        return Set(tensors.compactMap { $0["type"] as? String }).sorted()
    }

    private func relativeError(_ a: String, _ b: String, _ name: String) async throws -> Double {
        let outcome = try await resq(["diff", b, a, "--json"], in: folder.path)
        let report = try #require(JSONSerialization.jsonObject(with: Data(outcome.output.utf8)) as? [String: Any])
        let tensors = try #require(report["tensors"] as? [[String: Any]])
        return try #require(tensors.first { $0["name"] as? String == name }?["relative_rmse"] as? Double)
    }

    @Test(arguments: [
        (["convert", "model", "o.gguf", "--lower", "narrow"], "narrow"),
        (["convert", "model", "o.gguf", "--lower", "widen", "--type", "q4_0"], "--lower uniform"),
        (["convert", "model", "o", "--lower", "uniform"], "--lower uniform is for .gguf"),
    ]) func loweringThatMeansNothingIsRefused(arguments: [String], words: String) async throws {
        expectRefusal(try await resq(arguments, in: folder.path), 64, saying: words)
    }

    /// Everything that a plan can know stops it, in a moment and without a trace.
    @Test(arguments: [
        (["high-fraction=0.001"], "an empty subspace"), (["high-fraction=0.0157"], "an odd number"),
        (["calibration.context=4096"], "4096"), (["calibration.context=1"], "1"),
        (["calibration.text=none.npy"], "none.npy"), (["calibration.text=bad.npy"], "token"),
        (["calibration.text=short.npy"], "the text has 3 tokens, a window needs 64"),
    ]) func whatCannotWorkIsRefusedWhenPlanned(settings: [String], words: String) async throws {
        try folder.write(numPyBytes((0..<100).map { $0 }), to: "bad.npy")
        try folder.write(numPyBytes([1, 2, 3]), to: "short.npy")
        let before = folder.everything
        let sets = settings.flatMap { ["--set", $0] }
        expectRefusal(try await resq(arguments("o.gguf") + sets, in: folder.path), saying: words)
        let plan = ["plan"] + arguments("o.gguf").dropFirst().filter { $0 != "--threads" && $0 != "1" }
        expectRefusal(try await resq(plan + sets, in: folder.path), saying: words)
        #expect(folder.everything == before)
    }

    /// Time grows with the calibration, and bits are those of the weights: 4 and an eighth of 8, and 16 where nothing is rounded.
    @Test func aPlanSaysWhatToExpect() async throws {
        func plan(_ more: String...) async throws -> [String: Any] {
            let base = ["plan", "resq-w4a4kv4", "--input", "model", "--output", "o.gguf", "--json", "--set", "calibration.context=64"]
            return try #require(try json(try await resq(base + more, in: folder.path)) as? [String: Any])
        }
        let text = ["--set", "calibration.text=tokens.npy"]
        let short = try await plan("--set", "calibration.sequences=16", text[0], text[1])
        let long = try await plan("--set", "calibration.sequences=32", text[0], text[1])
        let (a, b) = (try #require(short["expected_cpu_seconds"] as? Double), try #require(long["expected_cpu_seconds"] as? Double))
        #expect(a > 0 && b > a && b < 2 * a)
        #expect(short["calibration_tokens"] as? Int == 1024 && long["calibration_tokens"] as? Int == 2048)
        #expect(try #require(short["peak_memory_bytes"] as? Int) > 0)
        let stages = try #require(short["stages"] as? [[String: Any]])
        #expect(stages.count == 3 && stages.last?["stage"] as? String == "write")
        #expect(abs(stages.reduce(0) { $0 + ($1["expected_cpu_seconds"] as? Double ?? .nan) } - a) < 1e-9 * a)
        // The model's own sequences have to be written first.
        let own = try await plan("--set", "calibration.sequences=16")
        #expect((own["stages"] as? [[String: Any]])?.first?["stage"] as? String == "calibration sequences")
        let bits = try #require(short["bits_per_weight"] as? Double)
        #expect(bits > 4.5 && bits < 6.5, "\(bits)")
        let plain = try #require(try json(try await resq(["plan", "q8_0", "--input", "model", "--json"], in: folder.path)) as? [String: Any])
        #expect(plain["expected_cpu_seconds"] == nil)
    }

    /// The stream can be cut, and a head of 24, 8 or 4 dimensions cannot.
    @Test(arguments: [(96, 4, "an odd number"), (64, 8, "an odd number"), (32, 8, "an empty subspace")])
    func headsThatCannotBeSplitAreRefused(hidden: Int, heads: Int, words: String) async throws {
        try SmallModel(hidden: hidden, heads: heads).write(to: folder, as: "odd")
        let plan = arguments("o.gguf").map { $0 == "model" ? "odd" : $0 }
        expectRefusal(try await resq(plan, in: folder.path), saying: "a head", words)
    }

    /// Finite weights whose outputs have no finite squares are found in the layer they stand in.
    @Test func activationsThatAreNotFiniteNameLayerAndToken() async throws {
        try SmallModel(layers: 3, spoiled: ("model.layers.1.self_attn.v_proj.weight", 3e38)).write(to: folder, as: "bad")
        let outcome = try await resq(arguments("o.gguf").map { $0 == "model" ? "bad" : $0 }, in: folder.path)
        expectRefusal(outcome, saying: "layer 1", "at token", "of window")
        #expect(!folder.everything.contains { $0.hasPrefix("o.gguf") })
    }

    /// A file whose bytes were changed in one place.
    private func write(_ name: String, from original: String, replacing old: String, with new: String) throws {
        var bytes = try folder.read(original)
        let (old, new) = (Array(old.utf8), Array(new.utf8))
        let place = try #require((0...bytes.count - old.count).first { bytes[$0] == old[0] && bytes[$0..<$0 + old.count].elementsEqual(old) })
        bytes.replaceSubrange(place..<place + old.count, with: new)
        try folder.write(bytes, to: name)
    }

    /// What an artifact does not say cannot be guessed: nobody makes another model of it, a copy keeps all it has, and a check fails.
    @Test(arguments: [("resq.online.down.transform_seed", "resq.online.down.transform_seeX"), ("blk.1.attn_key_rotation", "blk.1.attn_key_rotatioX")])
    func artifactsThatAreNotUnderstoodAreOnlyCopied(key: String, changed: String) async throws {
        expectSuccess(try await resq(arguments("a.gguf"), in: folder.path))
        try write("b.gguf", from: "a.gguf", replacing: key, with: changed)
        // A key is missed by its name; a tensor that nobody knows is named itself.
        let word = key.hasPrefix("resq.") ? key : changed
        for arguments in [
            ["convert", "b.gguf", "c.gguf", "--lower", "widen"], ["convert", "b.gguf", "c.gguf", "--type", "q8_0"], ["convert", "b.gguf", "c"],
            ["run", "resq-lower", "--input", "b.gguf", "--output", "c.gguf"],
        ] { expectRefusal(try await resq(arguments, in: folder.path), saying: word) }
        expectSuccess(try await resq(["convert", "b.gguf", "copy.gguf"], in: folder.path))
        #expect(try await inspected("copy.gguf")["metadata"] as? NSDictionary == inspected("b.gguf")["metadata"] as? NSDictionary)
        expectSuccess(try await resq(["verify", "a.gguf"], in: folder.path))
        let verdict = try await resq(["verify", "b.gguf"], in: folder.path)
        #expect(verdict.ending == .exited(1) && verdict.output.contains(word), "\(verdict)")
    }

    @Test func axesMayStayWhatTheyAre() async throws {
        let basis = ["--set", "passes.resq.rotate.with.basis=identity"]
        expectSuccess(try await resq(arguments("i.gguf") + basis, in: folder.path))
        expectSuccess(try await resq(["convert", "i.gguf", "back"], in: folder.path))
        #expect(try await relativeError("back", "model", "model.layers.3.mlp.down_proj.weight") < 0.2)
    }

    /// A stream that lost its end is not filled up with zeros, and a weight of another size is not taken for this one.
    @Test func filesOfTheWorkFolderMustBeWhole() async throws {
        func file(_ name: String) throws -> String { try #require(folder.everything.first { $0.hasPrefix("work/") && $0.hasSuffix("/" + name) }) }
        let outcome = try await resqKilled(arguments("m.gguf", "--work", "work"), in: folder.path) {
            folder.everything.contains { $0.hasSuffix("/rounded-2.safetensors") }
        }
        #expect(outcome.ending == .signaled(9))
        let stream = try #require(folder.everything.filter { $0.contains("/gptq-") && $0.hasSuffix(".f32") }.sorted().first)
        try folder.write(Array(try folder.read(stream).dropLast(4)), to: stream)
        let next = try await resq(arguments("m.gguf", "--work", "work"), in: folder.path)
        // The stream of a layer that is finished already is not read again.
        if next.ending != .exited(0) { expectRefusal(next, saying: "cut short") }
        let rounded = try file("rounded-0.safetensors")
        for path in folder.everything where path.hasPrefix("work/") && path.hasSuffix(".f32") { try FileManager.default.removeItem(atPath: folder.path(path)) }
        expectSuccess(try await resq(arguments("m.gguf", "--work", "work"), in: folder.path))
        try SmallModel(layers: Self.layers, hidden: 96, feedForward: 256, heads: 6).write(to: folder, as: "small")
        let small = arguments("s.gguf", "--work", "other").map { $0 == "model" ? "small" : $0 } + ["--set", "high-fraction=0.25"]
        expectSuccess(try await resq(small, in: folder.path))
        let foreign = try #require(folder.everything.first { $0.hasPrefix("other/") && $0.hasSuffix("/rounded-0.safetensors") })
        try folder.write(try folder.read(foreign), to: rounded)
        expectRefusal(try await resq(arguments("n.gguf", "--work", "work"), in: folder.path), saying: "another run")
    }
}
