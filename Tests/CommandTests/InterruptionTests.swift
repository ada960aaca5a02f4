import Foundation
import Subprocess
import Testing
import TestSupport

/// Runs that are killed: what they leave, and how they go on.
@Suite(.serialized) struct InterruptionTests {
    let folder: TemporaryFolder
    private let tensorCount: Int

    init() throws {
        folder = try TemporaryFolder()
        // So large that a run takes some tenths of a second, and of many tensors.
        let model = SmallModel(layers: 16, hidden: 256, feedForward: 1024)
        tensorCount = model.tensors.count
        try model.write(to: folder)
    }

    private static let recipe = ["run", "q6_k", "--input", "model", "--threads", "2", "--output"]

    /// Output names and the options that go with them.
    static let outputs: [(name: String, options: [String])] = [
        ("m.gguf", []), ("m.gguf.zst", ["--frame-size", "64KiB"]), ("out", ["--shard-size", "3MB"]),
    ]

    /// Writes BF16 shards for a folder, Q6_K for a file.
    private func arguments(_ output: (name: String, options: [String]), as name: String? = nil) -> [String] {
        let name = name ?? output.name
        return output.name == "out"
            ? ["convert", "model", name, "--type", "f16", "--threads", "2"] + output.options : Self.recipe + [name] + output.options
    }

    @Test(arguments: outputs.indices) func aKilledRunGoesOn(index: Int) async throws {
        let output = Self.outputs[index]
        let whole = output.name == "out" ? "whole" : "whole." + output.name
        expectSuccess(try await resq(arguments(output, as: whole), in: folder.path))
        let expected = Array(try folder.contents(of: whole).values).sorted { $0.lexicographicallyPrecedes($1) }

        var resumed: [Int] = []
        for share in [0.0, 0.2, 0.5, 0.9] {
            let work = "work\(share)"
            let folder = folder
            let target = Int(share * Double(output.name == "m.gguf.zst" ? expected[0].count : tensorCount))
            let outcome = try await resqKilled(arguments(output) + ["--work", work], in: folder.path) {
                isComplete(output.name, in: folder) || progress(of: output.name, work: work, in: folder) > target
            }
            guard outcome.ending == .signaled(9) else {
                // It was quicker than we: then it is complete, and this says nothing.
                expectSuccess(outcome)
                try remove(output.name)
                continue
            }
            // Nothing has its name yet; the kill came long before the end.
            #expect(folder.everything.filter { $0.hasPrefix(output.name) && !isPart($0) } == (output.name == "out" ? ["out"] : []))
            let again = try await resq(arguments(output) + ["--work", work], in: folder.path)
            expectSuccess(again)
            resumed.append(resumedCount(again.errors))
            #expect(resumedCount(again.errors) >= (output.name == "m.gguf.zst" ? 0 : target), "\(again.errors)")
            let found = Array(try folder.contents(of: output.name).values).sorted { $0.lexicographicallyPrecedes($1) }
            #expect(found == expected, "other bytes after \(share)")
            #expect(!folder.everything.contains(where: isPart))
            try remove(output.name)
        }
        // At least one run must have been interrupted with something finished, else nothing was tested.
        #expect(resumed.contains { $0 > 0 && $0 < tensorCount }, "\(resumed)")
    }

    @Test(arguments: [Signal.interrupt, .terminate], outputs.indices)
    func anInterruptedRunTakesItsFilesAway(signal: Signal, index: Int) async throws {
        let output = Self.outputs[index]
        let before = folder.everything
        var interrupted = 0
        // On a busy machine the run may end before the signal is sent.
        for _ in 0..<20 where interrupted == 0 {
            let folder = folder
            let outcome = try await resqKilled(arguments(output), in: folder.path, by: signal) {
                isComplete(output.name, in: folder) || folder.everything.contains(where: isPart)
            }
            guard outcome.ending != .exited(0) else {
                // It was quicker than we.
                try remove(output.name)
                continue
            }
            expectRefusal(outcome, 130, saying: "interrupted")
            #expect(folder.everything == before)
            interrupted += 1
        }
        #expect(interrupted == 1)
    }

    @Test func anInterruptedRunWithAWorkDirectoryKeepsWhatItHas() async throws {
        let folder = folder
        let whole = try await resq(Self.recipe + ["whole.gguf"], in: folder.path)
        expectSuccess(whole)
        let outcome = try await interrupted(by: .interrupt, after: 0)
        expectRefusal(outcome, 130, saying: "interrupted")
        #expect(folder.everything.contains(where: isPart) && !folder.everything.contains("m.gguf"))
        let again = try await resq(Self.recipe + ["m.gguf", "--work", "work"], in: folder.path)
        expectSuccess(again)
        #expect(resumedCount(again.errors) > 0, "\(again.errors)")
        #expect(try folder.read("m.gguf") == folder.read("whole.gguf"))
    }

    /// Stops a run with a work directory by a signal once so many tensors are finished; tries again when it was quicker.
    private func interrupted(by signal: Signal, after count: Int) async throws -> Outcome {
        let folder = folder
        for _ in 0..<4 {
            let outcome = try await resqKilled(Self.recipe + ["m.gguf", "--work", "work"], in: folder.path, by: signal) {
                isComplete("m.gguf", in: folder) || progress(of: "m.gguf", work: "work", in: folder) > count
            }
            guard outcome.ending == .exited(0) else { return outcome }
            try remove("m.gguf")
        }
        throw TooQuick()
    }

    private struct TooQuick: Error {}

    private func remove(_ name: String) throws { try FileManager.default.removeItem(atPath: folder.path(name)) }

    @Test func damageDoneMeanwhileIsFound() async throws {
        let folder = folder, total = tensorCount
        expectSuccess(try await resq(Self.recipe + ["whole.gguf"], in: folder.path))
        let outcome = try await interrupted(by: .kill, after: total / 2)
        try #require(outcome.ending == .signaled(9))
        // The first tensor's data and the end of the journal are spoiled, as by a crash of the machine.
        var part = try folder.read(".m.gguf.part")
        let expected = try folder.read("whole.gguf")
        let first = try #require(zip(part, expected).enumerated().first { $0.offset > 4096 && $0.element.0 != 0 }?.offset)
        part[first] ^= 0x40
        try folder.write(part, to: ".m.gguf.part")
        var journal = try folder.read("work/journal")
        journal.removeLast(30)
        try folder.write(journal + Array("\u{0}\u{1}junk".utf8), to: "work/journal")
        expectSuccess(try await resq(Self.recipe + ["m.gguf", "--work", "work"], in: folder.path))
        #expect(try folder.read("m.gguf") == expected)
    }

    @Test func workOfAnotherRunIsNotTaken() async throws {
        let folder = folder, total = tensorCount
        let other = ["run", "q5_k_m", "--input", "model", "--output"]
        expectSuccess(try await resq(other + ["whole.gguf"], in: folder.path))
        let outcome = try await interrupted(by: .kill, after: total / 2)
        try #require(outcome.ending == .signaled(9))
        let again = try await resq(other + ["m.gguf", "--work", "work"], in: folder.path)
        expectSuccess(again)
        #expect(resumedCount(again.errors) == 0)
        #expect(try folder.read("m.gguf") == folder.read("whole.gguf"))
    }

    @Test func oneWriterAtATime() async throws {
        let folder = folder
        expectSuccess(try await resq(Self.recipe + ["whole.gguf"], in: folder.path))
        let first = try await resqStopped(Self.recipe + ["m.gguf", "--work", "work"], in: folder.path) {
            // Room is reserved after the lock is taken, so a part of any size is a locked one.
            isComplete("m.gguf", in: folder) || byteCount(".m.gguf.part", in: folder) > 0
        } meanwhile: {
            let before = folder.everything
            expectRefusal(try await resq(Self.recipe + ["m.gguf"], in: folder.path), 73, saying: "m.gguf", "another process")
            expectRefusal(try await resq(Self.recipe + ["other.gguf", "--work", "work"], in: folder.path), 73, saying: "work")
            #expect(folder.everything == before)
        }
        expectSuccess(first)
        #expect(try folder.read("m.gguf") == folder.read("whole.gguf"))
    }

    @Test func manyWritersMakeOneFile() async throws {
        expectSuccess(try await resq(Self.recipe + ["whole.gguf"], in: folder.path))
        let path = folder.path
        let endings = try await withThrowingTaskGroup(of: Outcome.self) { group in
            for _ in 0..<3 { group.addTask { try await resq(Self.recipe + ["m.gguf"], in: path) } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(endings.contains { $0.ending == .exited(0) })
        for outcome in endings where outcome.ending != .exited(0) { expectRefusal(outcome, 73, saying: "m.gguf") }
        #expect(try folder.read("m.gguf") == folder.read("whole.gguf"))
        #expect(folder.names == ["m.gguf", "model", "whole.gguf"])
    }
}

private func isPart(_ path: String) -> Bool { path.hasSuffix(".part") }

private func isComplete(_ output: String, in folder: TemporaryFolder) -> Bool {
    folder.everything.contains(output == "out" ? "out/model.safetensors.index.json" : output)
}

/// The size of a file; 0 when there is none.
private func byteCount(_ name: String, in folder: TemporaryFolder) -> Int {
    let attributes = try? FileManager.default.attributesOfItem(atPath: folder.path(name))
    return attributes?[.size] as? Int ?? 0
}

/// Tensors that the journal says are finished; for a compressed file the bytes of its part.
private func progress(of output: String, work: String, in folder: TemporaryFolder) -> Int {
    if output.hasSuffix(".zst") {
        let attributes = try? FileManager.default.attributesOfItem(atPath: folder.path(".\(output).part"))
        return attributes?[.size] as? Int ?? -1
    }
    guard let journal = try? folder.read(work + "/journal") else { return -1 }
    return journal.count { $0 == UInt8(ascii: "\n") } - 1
}

/// N of `(N tensors were there from an interrupted run)`.
private func resumedCount(_ text: String) -> Int {
    guard let bracket = text.lastIndex(of: "("), text.contains("interrupted run") else { return 0 }
    return Int(text[text.index(after: bracket)...].prefix { $0.isNumber }) ?? 0
}
