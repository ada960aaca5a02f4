import Formats
import Foundation
import Synchronization
import Testing
import TestSupport
import Threads

/// A model, its plain file, and ways to compress it.
struct CompressedModel {
    let model: RandomGGUF
    let layout: FileLayout
    let plain: [UInt8]

    init(seed: UInt64, maxAlignment: Int = 64) throws {
        model = try RandomGGUF(seed: seed, maxAlignment: maxAlignment)
        layout = try GGUF.layout(tensors: model.tensors, metadata: model.metadata).files[0]
        plain = try model.file()
    }

    func content(_ piece: FramePiece, level: Int) -> GGUFZst.FrameContent {
        let bytes = model.contents[layout.tensors[piece.tensor!].index]
        return GGUFZst.FrameContent(bytes: TensorBytes([UInt8](bytes[piece.range])), level: level)
    }

    func write(to path: String, frameByteCount: Int = 200, level: Int = 3, threadCount: Int = 2) throws {
        let pieces = layout.framePieces(frameByteCount: frameByteCount)
        let output = try OutputFile(path: path, byteCount: nil, expectedByteCount: GGUFZst.maxByteCount(of: pieces))
        try GGUFZst.write(layout, pieces: pieces, to: output, threadCount: threadCount) { content($0, level: level) }
        try output.finish()
    }
}

@Suite struct GGUFZstTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    @Test(arguments: 0..<40 as Range<UInt64>) func whatIsWrittenIsRead(seed: UInt64) throws {
        let model = try CompressedModel(seed: seed, maxAlignment: 4096)
        try model.write(to: folder.path("m.gguf.zst"), frameByteCount: [1, 50, 1000, 4 << 20][Int(seed % 4)], level: [1, 3, -5][Int(seed % 3)])
        let file = try GGUFZstFile(path: folder.path("m.gguf.zst"), threadCount: 2)
        #expect(file.manifest.format == .ggufZst)
        #expect(file.manifest.tensors == model.model.tensors)
        #expect(file.manifest.byteOffsets == model.layout.tensors.map(\.byteOffset))
        #expect(try file.unpackedByteCount() == model.plain.count)
        guard case .gguf(let metadata) = file.manifest.metadata else { throw CancellationError() }
        #expect(metadata.keys == model.model.metadata.keys)
        for key in metadata.keys { #expect(metadata[key] == model.model.metadata[key]) }
        for (index, content) in model.model.contents.enumerated() {
            #expect(try file.bytes(ofTensorAt: index).array == content)
            let part = content.count / 3..<content.count - content.count / 4
            #expect(try file.bytes(ofTensorAt: index, in: part).array == [UInt8](content[part]))
        }
        try file.verify()
        let output = try OutputFile(path: folder.path("m.gguf"), byteCount: file.unpackedByteCount())
        try file.unpack(to: output)
        try output.finish()
        #expect(try folder.read("m.gguf") == model.plain)
    }

    /// Many more frames than are kept, each wanted several times and by two threads at once.
    @Test(arguments: [1, 3, 1000]) func frameCacheGivesEachFrameItsOwnContent(capacity: Int) throws {
        let cache = FrameCache(capacity: capacity)
        try inParallel(count: 4000, threadCount: 4) { position throws(FormatError) in
            let index = position / 3 % 40
            let content = try cache.content(of: index) { TensorBytes([UInt8(index), 1]) }
            #expect(content.array == [UInt8(index), 1])
        }
        // A frame that could not be unpacked is tried again.
        #expect(throws: FormatError.self) {
            try cache.content(of: 77) { () throws(FormatError) in throw FormatError(.unsupported(what: "this frame")) }
        }
        #expect(try cache.content(of: 77) { TensorBytes([7]) }.array == [7])
    }

    @Test(arguments: 0..<4 as Range<UInt64>) func stockZstdGivesThePlainFile(seed: UInt64) throws {
        let zstd = try StockZstd()
        let model = try CompressedModel(seed: seed)
        try model.write(to: folder.path("m.gguf.zst"))
        #expect(try zstd.run("-d", folder.path("m.gguf.zst"), "-o", folder.path("m.gguf")) == 0)
        #expect(try folder.read("m.gguf") == model.plain)
        #expect(try zstd.run("--test", folder.path("m.gguf.zst")) == 0)
    }

    @Test func theBytesDoNotDependOnTheNumberOfThreads() throws {
        let model = try CompressedModel(seed: 5)
        for threadCount in [1, 2, 7] { try model.write(to: folder.path("\(threadCount)"), frameByteCount: 16, threadCount: threadCount) }
        #expect(try folder.read("1") == folder.read("2"))
        #expect(try folder.read("1") == folder.read("7"))
    }

    @Test func endsWithHashesAndSeekTableAsDocumented() throws {
        let model = try CompressedModel(seed: 5)
        let pieces = model.layout.framePieces(frameByteCount: 100)
        try model.write(to: folder.path("m"), frameByteCount: 100)
        let bytes = TensorBytes(try folder.read("m"))
        let span = bytes.bytes
        #expect(span.littleEndian(UInt32.self, at: span.byteCount - 4) == 0x8F92_EAB1)
        #expect(span.littleEndian(UInt8.self, at: span.byteCount - 5) == 0x80)
        let count = Int(span.littleEndian(UInt32.self, at: span.byteCount - 9))
        #expect(count == pieces.count + 1)
        let table = span.byteCount - 9 - 12 * count - 8
        #expect(span.littleEndian(UInt32.self, at: table) == 0x184D_2A5E)
        #expect(Int(span.littleEndian(UInt32.self, at: table + 4)) == 12 * count + 9)
        var offset = 0
        var contentOffset = 0
        for (index, piece) in pieces.enumerated() {
            let entry = table + 8 + 12 * index
            #expect(span.littleEndian(UInt32.self, at: offset) == 0xFD2F_B528)
            #expect(Int(span.littleEndian(UInt32.self, at: entry + 4)) == piece.byteCount)
            let content = TensorBytes([UInt8](model.plain[contentOffset..<contentOffset + piece.byteCount]))
            #expect(span.littleEndian(UInt32.self, at: entry + 8) == UInt32(truncatingIfNeeded: xxh64(content.bytes)))
            offset += Int(span.littleEndian(UInt32.self, at: entry))
            contentOffset += piece.byteCount
        }
        #expect(span.littleEndian(UInt32.self, at: offset) == 0x184D_2A5D)
        #expect(bytes[offset + 8..<offset + 16].array == Array("RESQHASH".utf8))
    }

    @Test func framesStartWithTensorsAndAreCutBetweenRows() throws {
        let tensors = [
            try TensorInfo(name: "a", encoding: .block(.q4_0), shape: [10, 64]),  // rows of 36 bytes
            try TensorInfo(name: "empty", encoding: .plain(.f32), shape: [0]),
            try TensorInfo(name: "b", encoding: .plain(.i8), shape: [1, 250]),  // a row larger than a frame
        ]
        let layout = try GGUF.layout(tensors: tensors, metadata: GGUFMetadata()).files[0]
        let pieces = layout.framePieces(frameByteCount: 100)
        #expect(pieces.filter { $0.tensor == 0 }.map(\.range) == [0..<72, 72..<144, 144..<216, 216..<288, 288..<360])
        #expect(pieces.filter { $0.tensor == 0 }.map(\.paddingByteCount) == [0, 0, 0, 0, 24])
        #expect(pieces.filter { $0.tensor == 1 }.isEmpty)
        #expect(pieces.filter { $0.tensor == 2 }.map(\.range) == [0..<100, 100..<200, 200..<250])
        #expect(pieces.reduce(0) { $0 + $1.byteCount } == layout.byteCount)
    }

    @Test func oneTensorIsReadWithoutTheFramesOfTheOthers() throws {
        let tensors = try (0..<5).map { try TensorInfo(name: "t\($0)", encoding: .plain(.i8), shape: [100]) }
        let layout = try GGUF.layout(tensors: tensors, metadata: GGUFMetadata()).files[0]
        try write(layout, to: "m")
        var bytes = try folder.read("m")
        let intact = try GGUFZstFile(TensorBytes(bytes), path: "m")
        // The frames follow one another, so those of tensors 0 and 4 are found by what damage to them does.
        for position in frameRange(ofTensor: 0, in: bytes) { bytes[position] ^= 0xFF }
        for position in frameRange(ofTensor: 4, in: bytes) { bytes[position] ^= 0xFF }
        let damaged = try GGUFZstFile(TensorBytes(bytes), path: "m")
        for index in 1..<4 { #expect(try damaged.bytes(ofTensorAt: index).array == intact.bytes(ofTensorAt: index).array) }
        for index in [0, 4] {
            let error = #expect(throws: FormatError.self) { try damaged.bytes(ofTensorAt: index) }
            #expect(error?.tensor == "t\(index)")
            #expect(error?.path == "m")
        }
        #expect(throws: FormatError.self) { try damaged.verify() }
    }

    @Test func whatTheContentThrowsIsThrownAndNoFileIsLeft() throws {
        struct Failed: Error {}
        let model = try CompressedModel(seed: 5)
        #expect(throws: Failed.self) {
            let output = try OutputFile(path: folder.path("m"), byteCount: nil)
            let pieces = model.layout.framePieces(frameByteCount: 16)
            try GGUFZst.write(model.layout, pieces: pieces, to: output, threadCount: 3) { piece in
                if piece.tensor == 3 { throw Failed() }
                return model.content(piece, level: 1)
            }
        }
        #expect(folder.names == [])
    }

    @Test(arguments: [0, 1, 10, 300, 1000]) func goesOnAfterTheWholeFramesOfAnInterruptedRun(cut: Int) throws {
        let model = try CompressedModel(seed: 5)
        try model.write(to: folder.path("whole"), frameByteCount: 64)
        let whole = try folder.read("whole")
        let pieces = model.layout.framePieces(frameByteCount: 64)
        try folder.write([UInt8](whole[..<min(cut, whole.count)]) + [1, 2, 3], to: ".m.part")
        let output = try OutputFile(path: folder.path("m"), byteCount: nil, resume: true)
        let asked = Mutex<Set<FramePiece>>([])
        let written = Mutex<[Int]>([])
        try GGUFZst.write(
            model.layout, pieces: pieces, to: output, threadCount: 2, didWrite: { index in written.withLock { $0.append(index) } }
        ) { piece in
            _ = asked.withLock { $0.insert(piece) }
            return model.content(piece, level: 3)
        }
        try output.finish()
        #expect(try folder.read("m") == whole)
        #expect(written.withLock { $0 } == Array(pieces.indices))
        let offsets = frameOffsets(whole)
        for (index, piece) in pieces.enumerated() where piece.tensor != nil {
            #expect(asked.withLock { $0.contains(piece) } == (offsets[index + 1] > cut), "piece \(index)")
        }
    }

    @Test func aTensorIsCompressedOnlyWhenThatSavesSomething() throws {
        var numbers = SeededRandom(seed: 1)
        let noise = TensorBytes(numbers.bytes(500_000))
        #expect(try CompressionChoice(sampling: noise, requestedLevel: 3).isStored)
        #expect(try CompressionChoice(sampling: TensorBytes([]), requestedLevel: 3).isStored)
        let half = TensorBytes((0..<500_000).map { _ in UInt8(truncatingIfNeeded: numbers.next() & 0xF) })
        let choice = try CompressionChoice(sampling: half, requestedLevel: 3)
        #expect(!choice.isStored)
        #expect(choice.sampledRatio > 0.49 && choice.sampledRatio < 0.55)
        let repeats = TensorBytes((0..<500_000).map { UInt8($0 % 100) })
        #expect(try CompressionChoice(sampling: repeats, requestedLevel: -3).level == -3)
        let ranges = CompressionChoice.sampleRanges(byteCount: 10 << 20)
        #expect(ranges.count == 4 && ranges.last?.upperBound ?? 0 <= 10 << 20)
    }

    @Test func hashesAsTheReferenceDoes() {
        for (text, hash) in [("", 0xEF46_DB37_51D8_E999), ("abc", 0x44BC_2CF5_AD77_0999)] as [(String, UInt64)] {
            #expect(xxh64(TensorBytes(Array(text.utf8)).bytes) == hash)
        }
    }

    // MARK: Helpers

    private func write(_ layout: FileLayout, to name: String) throws {
        let output = try OutputFile(path: folder.path(name), byteCount: nil)
        try GGUFZst.write(layout, pieces: layout.framePieces(), to: output, threadCount: 2) { piece in
            var numbers = SeededRandom(seed: UInt64(piece.tensor!))
            return GGUFZst.FrameContent(bytes: TensorBytes(numbers.bytes(piece.range.count)), level: 3)
        }
        try output.finish()
    }

    private func frameOffsets(_ bytes: [UInt8]) -> [Int] {
        let file = TensorBytes(bytes)
        let span = file.bytes
        let count = Int(span.littleEndian(UInt32.self, at: span.byteCount - 9))
        let table = span.byteCount - 9 - 12 * count
        return (0..<count).reduce(into: [0]) { $0.append($0.last! + Int(span.littleEndian(UInt32.self, at: table + 12 * $1))) }
    }

    /// With one frame for the header and one for each tensor.
    private func frameRange(ofTensor index: Int, in bytes: [UInt8]) -> Range<Int> {
        let offsets = frameOffsets(bytes)
        return offsets[index + 1]..<offsets[index + 2]
    }
}
