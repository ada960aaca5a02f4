import Foundation
import Testing
import TestSupport

/// How files come to be: what stands there before, room, faults of the disk at every call, the order of the calls.
@Suite struct WritePathTests {
    let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        try SmallModel(layers: 1).write(to: folder)
    }

    private static let run = ["run", "q4_k_m", "--input", "model", "--threads", "1", "--quiet", "--output"]

    /// Outputs of every kind of writer.
    static let outputs: [(name: String, options: [String])] = [
        ("m.gguf", []), ("m.gguf.zst", ["--frame-size", "64KiB"]), ("out", ["--shard-size", "60kB"]),
    ]

    private func arguments(_ output: (name: String, options: [String]), as name: String? = nil) -> [String] {
        output.name == "out"
            ? ["convert", "model", name ?? "out", "--type", "f16", "--threads", "1", "--quiet"] + output.options
            : Self.run + [name ?? output.name] + output.options
    }

    private func whole(_ output: (name: String, options: [String])) -> String { "whole" + (output.name == "out" ? "" : "." + output.name) }

    private func remove(_ name: String) { try? FileManager.default.removeItem(atPath: folder.path(name)) }

    /// What lies beside the model and is neither of these.
    private func leftovers(besides names: String...) -> [String] { folder.names.filter { $0 != "model" && !names.contains($0) } }

    // MARK: what stands there before

    @Test(arguments: outputs.indices) func aPartThatSomebodyLeftIsTakenOver(index: Int) async throws {
        let output = Self.outputs[index]
        expectSuccess(try await resq(arguments(output, as: whole(output)), in: folder.path))
        let expected = try folder.contents(of: whole(output))
        // Shorter than the output, and longer.
        for count in [100, 3_000_000] {
            for (number, options) in [[], ["--work", "work\(count)"]].enumerated() {
                let part: String
                if output.name == "out" {
                    try folder.makeFolder("out")
                    part = "out/." + (expected.keys.first { $0.hasSuffix(".safetensors") } ?? "") + ".part"
                } else {
                    part = "." + output.name + ".part"
                }
                try folder.write([UInt8](repeating: 0xA5, count: count), to: part)
                expectSuccess(try await resq(arguments(output) + options, in: folder.path))
                let found = try folder.contents(of: output.name)
                #expect(found.values.sorted(by: precedes) == expected.values.sorted(by: precedes), "\(count) bytes, \(number)")
                #expect(!folder.everything.contains { $0.hasSuffix(".part") })
                remove(output.name)
            }
        }
    }

    @Test func aPlantedPartIsNotFollowed() async throws {
        try folder.write([7], to: "precious")
        let link = folder.path(".m.gguf.part")
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: "precious")
        expectRefusal(try await resq(Self.run + ["m.gguf"], in: folder.path), 73, saying: "m.gguf")
        #expect(try folder.read("precious") == [7])
        try FileManager.default.removeItem(atPath: link)
        folder.makeFIFO(".m.gguf.part")
        expectRefusal(try await resq(Self.run + ["m.gguf"], in: folder.path), 73, saying: "m.gguf", "FIFO")
        try FileManager.default.removeItem(atPath: link)
        try folder.makeFolder(".m.gguf.part")
        expectRefusal(try await resq(Self.run + ["m.gguf"], in: folder.path), 73, saying: "m.gguf")
    }

    @Test(arguments: ["", "resq-journal 2 junk\n0 0 0 0\n", "\u{0}\u{0}", String(repeating: "0 0 0 0\n", count: 1000)])
    func aJournalThatIsNoneStartsAfresh(text: String) async throws {
        try folder.makeFolder("work")
        try folder.write(Array(text.utf8), to: "work/journal")
        expectSuccess(try await resq(Self.run + ["m.gguf", "--work", "work"], in: folder.path))
        expectSuccess(try await resq(Self.run + ["whole.gguf"], in: folder.path))
        #expect(try folder.read("m.gguf") == folder.read("whole.gguf"))
    }

    @Test func aWorkFolderThatIsAFileIsNamed() async throws {
        try folder.write([1], to: "work")
        expectRefusal(try await resq(Self.run + ["m.gguf", "--work", "work"], in: folder.path), 73, saying: "work")
        #expect(leftovers(besides: "work") == [])
    }

    // MARK: room

    @Test(arguments: outputs.indices) func aLimitOnFileSizesIsAnErrorLikeAFullDisk(index: Int) async throws {
        let output = Self.outputs[index]
        let outcome = try await resq(arguments(output), in: folder.path, limits: Limits(fileSize: 20_480))
        #expect([.exited(73), .exited(74)].contains(outcome.ending), "\(outcome.errors)")
        #expect(outcome.errors.hasPrefix("error: \(output.name)") && outcome.errorLines.count == 1, "\(outcome.errors)")
        #expect(try folder.contents(of: output.name).isEmpty)
        #expect(leftovers(besides: "out") == [])
    }

    /// A memory disk with some kilobytes left, where the system lets us make one.
    @Test(.enabled(if: canMount)) func aFullDiskIsAnErrorThatSaysHowMuchIsNeeded() async throws {
        let disk = try folder.makeFolder("disk")
        try await shell("mount -t tmpfs -o size=200k tmpfs '\(disk)'")
        try await withCleanUp {
            try folder.write([UInt8](repeating: 1, count: 180_000), to: "disk/filler")
            for output in Self.outputs {
                let outcome = try await resq(arguments(output, as: "disk/" + output.name), in: folder.path)
                expectRefusal(outcome, 73, saying: "disk/" + output.name, "bytes")
                #expect(try FileManager.default.contentsOfDirectory(atPath: disk) == ["filler"], "\(output.name)")
            }
        } finally: {
            try? await shell("umount '\(disk)'")
        }
    }

    // MARK: faults at every call

    /// Every call that changes the disk, one fault in each.
    static let calls = "pwrite64,fsync,rename,ftruncate,fallocate"

    /// A killed run leaves either nothing or everything under the output's name, and the next one completes it.
    @Test(.enabled(if: canTrace), arguments: outputs.indices) func aKillAtAnyCallIsHarmless(index: Int) async throws {
        let output = Self.outputs[index]
        expectSuccess(try await resq(arguments(output, as: whole(output)), in: folder.path))
        let expected = try folder.contents(of: whole(output))
        var kills: [String: Int] = [:]
        for call in Self.calls.split(separator: ",") {
            for number in 1...200 {
                // Most writes are like the one before.
                if call == "pwrite64" && number > 4 && number % 5 != 0 { continue }
                let killed = try await resq(
                    arguments(output) + ["--work", "work"], in: folder.path, wrapper: tracing(call, "signal=KILL:when=\(number)"))
                let ended = killed.ending == .exited(0)
                #expect(ended || killed.ending == .signaled(9), "\(call) \(number): \(killed.ending) \(killed.errors)")
                if !ended, try folder.contents(of: output.name) != expected {
                    // What is there can be no model to anybody.
                    let opened = try await resq(["inspect", output.name], in: folder.path)
                    #expect(opened.ending == .exited(65), "\(call) \(number): \(folder.everything)")
                }
                let again = try await resq(arguments(output) + ["--work", "work"] + (ended && output.name == "out" ? ["--force"] : []), in: folder.path)
                #expect(again.ending == .exited(0), "\(call) \(number): \(again.errors)")
                #expect(try folder.contents(of: output.name) == expected, "\(call) \(number)")
                #expect(!folder.everything.contains { $0.hasSuffix(".part") || $0 == "work/journal" }, "\(call) \(number)")
                remove(output.name)
                remove("work")
                guard !ended else { break }
                kills[String(call), default: 0] += 1
            }
        }
        // What was never killed was never tried.
        for call in ["pwrite64", "fsync", "rename", "ftruncate"] { #expect(kills[call, default: 0] > 0, "\(call)") }
    }

    /// A call that fails is an error that names the output, and nothing stays behind.
    @Test(.enabled(if: canTrace), arguments: outputs.indices) func aFaultAtAnyCallIsTold(index: Int) async throws {
        let output = Self.outputs[index]
        for (call, error, code) in [
            ("pwrite64", "ENOSPC", 73), ("pwrite64", "EIO", 74), ("fsync", "EIO", 74), ("rename", "EIO", 74), ("fallocate", "ENOSPC", 73),
        ] as [(String, String, Int32)] {
            for number in 1...100 {
                if call == "pwrite64" && number > 3 && number % 7 != 0 { continue }
                let outcome = try await resq(
                    arguments(output), in: folder.path, wrapper: tracing(call, "error=\(error):when=\(number)"))
                if outcome.ending == .exited(0) {
                    #expect(number > 1 || call == "fallocate", "\(call) was never called")
                    remove(output.name)
                    break
                }
                expectRefusal(outcome, code, saying: "error: \(output.name)")
                let left = try folder.contents(of: output.name)
                if !left.isEmpty {
                    let opened = try await resq(["inspect", output.name], in: folder.path)
                    // Only what came after the last rename may have failed with the files in place.
                    #expect(opened.ending == .exited(65) || call == "fsync" && opened.ending == .exited(0), "\(call) \(number): \(left.keys)")
                }
                #expect(leftovers(besides: output.name) == [], "\(call) \(number)")
                #expect(!folder.everything.contains { $0.hasSuffix(".part") }, "\(call) \(number)")
                remove(output.name)
            }
        }
    }

    @Test(.enabled(if: canTrace), arguments: outputs.indices) func dataAreOnTheDiskBeforeTheirName(index: Int) async throws {
        let output = Self.outputs[index]
        expectSuccess(
            try await resq(
                arguments(output), in: folder.path, wrapper: ["strace", "-f", "-y", "-o", "log", "-e", "trace=pwrite64,fsync,rename"]))
        let log = String(decoding: try folder.read("log"), as: UTF8.self).split(separator: "\n")
        let renames = log.indices.filter { log[$0].contains("rename(") }
        #expect(renames.count == (try folder.contents(of: output.name)).count)
        for rename in renames {
            // rename("PART", "NAME")
            let path = try #require(log[rename].split(separator: "\"").dropFirst().first)
            let part = path.split(separator: "/").last ?? ""
            let last = { (call: String) in log.lastIndex { $0.contains(call + "(") && $0.contains(part + ">") } ?? -1 }
            let (written, synced) = (last("pwrite64"), last("fsync"))
            #expect(written >= 0 && written < synced && synced < rename, "\(part)")
            // Then the folder that has the new name.
            #expect(log[(rename + 1)...].contains { $0.contains("fsync(") && !$0.contains(".part>") }, "\(part)")
        }
    }

    /// `strace` that injects something into the calls it watches.
    private func tracing(_ call: some StringProtocol, _ injection: String) -> [String] {
        ["strace", "-f", "-o", "/dev/null", "-e", "trace=\(call)", "-e", "inject=\(call):\(injection)"]
    }
}

private func precedes(_ a: [UInt8], _ b: [UInt8]) -> Bool { a.lexicographicallyPrecedes(b) }
