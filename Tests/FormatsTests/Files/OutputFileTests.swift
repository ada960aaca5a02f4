import Dispatch
import Formats
import Foundation
import Testing
import TestSupport

@Suite struct OutputFileTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    @Test func takesItsNameOnlyWhenFinished() throws {
        let file = try OutputFile(path: folder.path("model"), byteCount: 6)
        try file.write(TensorBytes([4, 5]).bytes, at: 4)
        try file.write(TensorBytes([1, 2]).bytes, at: 0)
        #expect(folder.names == [".model.part"])
        try file.finish()
        #expect(folder.names == ["model"])
        #expect(try folder.read("model") == [1, 2, 0, 0, 4, 5])
    }

    @Test func theRoomOfSeveralFilesIsThatOfAllOfThem() throws {
        // A part of most of what a disk can have free: each file fits, two of them do not.
        let free = try #require(
            FileManager.default.attributesOfFileSystem(forPath: folder.path)[.systemFreeSize] as? Int)
        let files = ["a", "b"].map { (folder.path($0), free / 5 * 3) }
        #expect(throws: Never.self) { try OutputFile.checkRoom(for: [files[0]], resume: false) }
        let error = #expect(throws: FormatError.self) { try OutputFile.checkRoom(for: files, resume: false) }
        guard case .diskFull(let needed, _) = error?.reason else { Issue.record("\(String(describing: error))"); return }
        #expect(needed == UInt64(free / 5 * 3 * 2))
        #expect(folder.names == [])
    }

    @Test func leavesNothingWhenDroppedUnfinished() throws {
        try folder.write([9], to: "model")
        do {
            let file = try OutputFile(path: folder.path("model"), byteCount: 6)
            try file.write(TensorBytes([1]).bytes, at: 0)
        }
        #expect(folder.names == ["model"])
        #expect(try folder.read("model") == [9])
    }

    @Test func refusesASecondWriterOfTheSameTarget() throws {
        let first = try OutputFile(path: folder.path("model"), byteCount: 1)
        let reason = FormatError.Reason.invalid(
            field: "the output", found: "being written by another process", expected: "one writer at a time")
        #expect(throws: FormatError(reason, path: folder.path("model"))) {
            try OutputFile(path: folder.path("model"), byteCount: 1)
        }
        try first.finish()
        try OutputFile(path: folder.path("model"), byteCount: 2).finish()
        #expect(try folder.read("model") == [0, 0])
    }

    @Test func takesOverAStalePartOfAnyLength() throws {
        try folder.write([UInt8](repeating: 7, count: 100), to: ".model.part")
        try OutputFile(path: folder.path("model"), byteCount: 3).finish()
        #expect(folder.names == ["model"])
        #expect(try folder.read("model") == [0, 0, 0])
    }

    @Test func goesOnWithAKeptPart() throws {
        do {
            let file = try OutputFile(path: folder.path("model"), byteCount: 4, keepsPart: true)
            #expect(file.resumedByteCount == 0)
            try file.write(TensorBytes([1, 2]).bytes, at: 0)
        }
        #expect(folder.names == [".model.part"])
        let file = try OutputFile(path: folder.path("model"), byteCount: 4, resume: true)
        #expect(file.resumedByteCount == 4)
        #expect(try file.read(0..<2).array == [1, 2])
        try file.write(TensorBytes([3, 4]).bytes, at: 2)
        try file.finish()
        #expect(try folder.read("model") == [1, 2, 3, 4])
    }

    @Test func appendsAndGoesOnAppending() throws {
        do {
            let file = try OutputFile(path: folder.path("model"), byteCount: nil, keepsPart: true)
            #expect(try file.append(TensorBytes([1, 2, 3]).bytes) == 0)
            #expect(try file.append(TensorBytes([4]).bytes) == 3)
        }
        let file = try OutputFile(path: folder.path("model"), byteCount: nil, resume: true)
        #expect(file.resumedByteCount == 4)
        try file.truncate(to: 2)
        #expect(try file.append(TensorBytes([5]).bytes) == 2)
        #expect(throws: FormatError.self) { try file.read(2..<4) }
        try file.finish()
        #expect(try folder.read("model") == [1, 2, 5])
    }

    @Test func saysHowManyBytesAFullDiskLacks() throws {
        let error = #expect(throws: FormatError.self) { try OutputFile(path: folder.path("model"), byteCount: 1 << 60) }
        guard case .diskFull(1 << 60, let available) = error?.reason else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(available > 0)
        #expect(folder.names == [])
    }

    @Test func refusesToWriteOverAnInput() throws {
        let input = try MappedFile(path: try folder.write([1], to: "model"))
        try FileManager.default.createSymbolicLink(atPath: folder.path("link"), withDestinationPath: input.path)
        for name in ["model", "link"] {
            #expect(throws: FormatError.self) {
                try OutputFile(path: folder.path(name), byteCount: 1, inputs: [input.identity])
            }
        }
        #expect(folder.names == ["link", "model"])
    }

    @Test(.timeLimit(.minutes(1))) func refusesTargetsAndPartsThatAreNoRegularFiles() throws {
        #expect(throws: FormatError.self) { try OutputFile(path: folder.path, byteCount: 1) }
        #expect(throws: FormatError.self) { try OutputFile(path: folder.path + "/", byteCount: 1) }
        #expect(throws: FormatError.self) { try OutputFile(path: "/dev/null", byteCount: 1) }
        try #require(unsafe mkfifo(folder.path(".a.part"), 0o600) == 0)
        #expect(throws: FormatError.self) { try OutputFile(path: folder.path("a"), byteCount: 1) }
        try FileManager.default.createSymbolicLink(atPath: folder.path(".b.part"), withDestinationPath: "/etc/passwd")
        #expect(throws: FormatError.self) { try OutputFile(path: folder.path("b"), byteCount: 1) }
        #expect(throws: FormatError.self) { try OutputFile(path: folder.path("no/such"), byteCount: 1) }
    }

    @Test func takesPiecesFromSeveralThreads() throws {
        let pieceByteCount = 4096
        let file = try OutputFile(path: folder.path("model"), byteCount: 64 * pieceByteCount)
        DispatchQueue.concurrentPerform(iterations: 64) { index in
            let piece = TensorBytes([UInt8](repeating: UInt8(index), count: pieceByteCount))
            do { try file.write(piece.bytes, at: index * pieceByteCount) } catch { Issue.record(error) }
        }
        try file.finish()
        #expect(try folder.read("model") == (0..<64).flatMap { [UInt8](repeating: UInt8($0), count: pieceByteCount) })
    }
}
