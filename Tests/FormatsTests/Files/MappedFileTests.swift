import Formats
import Foundation
import Testing
import TestSupport

@Suite struct MappedFileTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    @Test func givesTheBytesOfTheFileAndAgainAfterTheyWereDiscarded() throws {
        let content = (0..<20_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let file = try MappedFile(path: try folder.write(content, to: "a"))
        file.adviseSequential()
        file.prefetch(5000..<9000)
        #expect(file.byteCount == content.count)
        #expect(file.bytes.array == content)
        file.bytes[100..<20_000].discard()
        #expect(file.bytes[4000..<20_000].array == [UInt8](content[4000..<20_000]))
    }

    @Test func mapsAFileWithoutBytes() throws {
        let file = try MappedFile(path: try folder.write([], to: "empty"))
        #expect(file.byteCount == 0)
        #expect(file.bytes.array.isEmpty)
        file.discard(0..<0)
    }

    @Test func namesAMissingFile() {
        #expect(throws: FormatError(.system(call: "open", errno: ENOENT), path: folder.path("no"))) {
            try MappedFile(path: folder.path("no"))
        }
    }

    @Test func refusesAFolder() {
        expectNotRegular(folder.path, found: "a folder")
    }

    @Test func refusesADevice() {
        expectNotRegular("/dev/null", found: "a device")
    }

    @Test(.timeLimit(.minutes(1))) func refusesAFIFOWithoutWaitingForAWriter() throws {
        try #require(unsafe mkfifo(folder.path("fifo"), 0o600) == 0)
        expectNotRegular(folder.path("fifo"), found: "a FIFO")
    }

    @Test func refusesAPathThatTheSystemWouldCutAtItsNUL() throws {
        try folder.write([1], to: "a")
        #expect(throws: FormatError.self) { try MappedFile(path: folder.path("a") + "\0b") }
    }

    @Test func twoNamesOfOneFileHaveOneIdentity() throws {
        let path = try folder.write([1], to: "a")
        try FileManager.default.createSymbolicLink(atPath: folder.path("link"), withDestinationPath: path)
        try folder.write([1], to: "b")
        #expect(try MappedFile(path: path).identity == MappedFile(path: folder.path("link")).identity)
        #expect(try FileIdentity(path: path) != MappedFile(path: folder.path("b")).identity)
    }

    private func expectNotRegular(_ path: String, found: String) {
        let reason = FormatError.Reason.invalid(field: "the path", found: found, expected: "a regular file")
        #expect(throws: FormatError(reason, path: path)) { try MappedFile(path: path) }
    }
}

@Suite struct ByteReaderTests {
    @Test func readsFieldsInOrder() throws {
        let bytes = TensorBytes([1, 2, 0, 0xFF, 0xFF, 0xFF, 0xFF, 9, 8])
        var reader = ByteReader(bytes.bytes, offset: 1)
        #expect(try reader.integer(UInt16.self, "a") == 2)
        #expect(try reader.integer(Int32.self, "b") == -1)
        #expect(try reader.take(2, "c") == 7..<9)
        #expect(reader.remaining == 0)
    }

    @Test func namesTheFieldThatTheFileEndsIn() throws {
        let bytes = TensorBytes([1, 2, 3])
        var reader = ByteReader(bytes.bytes)
        _ = try reader.integer(UInt8.self, "a")
        do {
            _ = try reader.integer(UInt32.self, "count")
            Issue.record("read past the end")
        } catch {
            #expect(error == FormatError(.truncated(field: "count", needed: 4, available: 2), byteOffset: 1))
        }
        do {
            _ = try reader.take(.max, "name")
            Issue.record("took past the end")
        } catch {
            #expect(error == FormatError(.truncated(field: "name", needed: .max, available: 2), byteOffset: 1))
        }
        #expect(reader.offset == 1)
    }
}
