import Formats
import Foundation
import Testing
import TestSupport

@Suite struct GGUFZstDamageTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func open(_ bytes: [UInt8]) throws(FormatError) -> GGUFZstFile {
        try GGUFZstFile(TensorBytes(bytes), path: "m.gguf.zst", threadCount: 1)
    }

    /// Everything in a file is used: tensors, then whatever `verify` looks at.
    private func use(_ bytes: [UInt8]) throws {
        let file = try open(bytes)
        for index in file.manifest.tensors.indices { _ = try file.bytes(ofTensorAt: index) }
        try file.verify()
    }

    private func small() throws -> [UInt8] {
        let tensors = [
            try TensorInfo(name: "noise", encoding: .plain(.i8), shape: [40]),
            try TensorInfo(name: "text", encoding: .plain(.i8), shape: [300]),
        ]
        var metadata = GGUFMetadata()
        metadata["general.name"] = .string("a name, a name, a name")
        let layout = try GGUF.layout(tensors: tensors, metadata: metadata).files[0]
        let output = try OutputFile(path: folder.path("m"), byteCount: nil)
        try GGUFZst.write(layout, pieces: layout.framePieces(), to: output, threadCount: 1) { piece in
            var numbers = SeededRandom(seed: 9)
            let bytes = piece.tensor == 0
                ? numbers.bytes(40) : (0..<300).map { _ in UInt8(truncatingIfNeeded: 65 + numbers.next() % 7) }
            return GGUFZst.FrameContent(bytes: TensorBytes(bytes), level: 3)
        }
        try output.finish()
        return try folder.read("m")
    }

    @Test func everySingleFlippedBitIsFound() throws {
        let bytes = try small()
        #expect(throws: Never.self) { try use(bytes) }
        for position in 0..<bytes.count * 8 {
            var damaged = bytes
            damaged[position / 8] ^= 1 << (position % 8)
            #expect(throws: FormatError.self, "bit \(position % 8) of byte \(position / 8) of \(bytes.count)") { try use(damaged) }
        }
    }

    @Test func aFileCutAnywhereIsRefused() throws {
        let bytes = try small()
        // Without hashes and seek table, but with every frame, it is what stock zstd writes: nothing is lost.
        let tag = try #require(bytes.indices.first { bytes[$0...].starts(with: Array("RESQHASH".utf8)) })
        for count in 0..<bytes.count where count != tag - 8 {
            #expect(throws: FormatError.self, "\(count) of \(bytes.count)") { try use([UInt8](bytes[..<count])) }
        }
        let plain = try open([UInt8](bytes[..<(tag - 8)])), whole = try open(bytes)
        for index in 0..<2 { #expect(try plain.bytes(ofTensorAt: index).array == whole.bytes(ofTensorAt: index).array) }
        #expect(throws: FormatError.self) { try use(bytes + [0]) }
        #expect(throws: FormatError.self) { try use([0] + bytes) }
    }

    @Test(arguments: 0..<10 as Range<UInt64>) func manyFlippedBitsAreFound(seed: UInt64) throws {
        let model = try CompressedModel(seed: seed)
        try model.write(to: folder.path("m"))
        let bytes = try folder.read("m")
        var numbers = SeededRandom(seed: seed)
        for _ in 0..<200 {
            var damaged = bytes
            for _ in 0..<Int.random(in: 1...8, using: &numbers) {
                damaged[Int.random(in: 0..<bytes.count, using: &numbers)] ^= 1 << UInt8.random(in: 0..<8, using: &numbers)
            }
            if damaged != bytes { #expect(throws: FormatError.self) { try use(damaged) } }
        }
    }

    @Test func damageIsNamed() throws {
        let bytes = try small()
        // Frames: header, noise, text; the noise is stored as it is, so that its frame is easy to find.
        var numbers = SeededRandom(seed: 9)
        let noise = numbers.bytes(40)
        let at = try #require(bytes.indices.first { bytes[$0...].starts(with: noise) })
        var damaged = bytes
        damaged[at] ^= 1
        let tensor = #expect(throws: FormatError.self) { try use(damaged) }
        #expect(tensor?.tensor == "noise" && tensor?.path == "m.gguf.zst")
        damaged = bytes
        damaged[20] ^= 1
        let header = #expect(throws: FormatError.self) { try use(damaged) }
        #expect(header?.description.contains("header") == true, "\(String(describing: header))")
        damaged = bytes
        damaged[bytes.count - 1] ^= 1
        let table = #expect(throws: FormatError.self) { try use(damaged) }
        #expect(table?.description.contains("seek table") == true, "\(String(describing: table))")
    }

    @Test func framesThatChangedPlacesAreFound() throws {
        let tensors = try (0..<2).map { try TensorInfo(name: "t\($0)", encoding: .plain(.i8), shape: [200]) }
        let layout = try GGUF.layout(tensors: tensors, metadata: GGUFMetadata()).files[0]
        let output = try OutputFile(path: folder.path("m"), byteCount: nil)
        try GGUFZst.write(layout, pieces: layout.framePieces(), to: output, threadCount: 1) { piece in
            var numbers = SeededRandom(seed: UInt64(piece.tensor!))
            return GGUFZst.FrameContent(bytes: TensorBytes(numbers.bytes(200)), level: 3)
        }
        try output.finish()
        let bytes = try folder.read("m")
        // Frames of header, t0, t1 and the hashes, each with an entry of 12 bytes before the 9 last ones.
        let entries = (0..<4).map { bytes.count - 9 - 48 + 12 * $0 ..< bytes.count - 9 - 48 + 12 * ($0 + 1) }
        func number(at offset: Int) -> Int { (0..<4).reduce(0) { $0 | Int(bytes[offset + $1]) << (8 * $1) } }
        let sizes = entries.map { number(at: $0.lowerBound) }
        try #require(sizes[1] == sizes[2])
        let first = sizes[0]..<sizes[0] + sizes[1], second = first.upperBound..<first.upperBound + sizes[2]
        var swapped = bytes
        swapped.replaceSubrange(first, with: bytes[second])
        swapped.replaceSubrange(second, with: bytes[first])
        swapped.replaceSubrange(entries[1], with: bytes[entries[2]])
        swapped.replaceSubrange(entries[2], with: bytes[entries[1]])
        // Each frame is whole and is what its entry in the seek table says.
        let file = try open(swapped)
        for index in 0..<2 {
            let error = #expect(throws: FormatError.self) { try file.bytes(ofTensorAt: index) }
            #expect(error?.tensor == "t\(index)")
        }
        let error = #expect(throws: FormatError.self) { try file.verifyStored() }
        #expect(error?.tensor == "t0" && error?.path == "m.gguf.zst")
        #expect(throws: Never.self) { try open(bytes).verifyStored() }
    }

    // MARK: Files that promise too much

    /// A seekable file with these frames and entries of (compressed, content) bytes.
    private func seekable(_ frames: [UInt8], _ entries: [(UInt32, UInt32)], count: UInt32? = nil) -> [UInt8] {
        var table = GGUFBytes()
        table.bytes = frames
        table.append(0x184D_2A5E as UInt32)
        table.append(UInt32(entries.count * 8 + 9))
        for entry in entries {
            table.append(entry.0)
            table.append(entry.1)
        }
        table.append(count ?? UInt32(entries.count))
        table.bytes.append(0)
        table.append(0x8F92_EAB1 as UInt32)
        return table.bytes
    }

    @Test func refusesAFrameThatPromisesFourGigabytes() throws {
        let frame: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD, 0x24, 1, 9, 0, 0, 7, 0, 0, 0, 0]
        let reason = FormatError.Reason.invalid(
            field: "frame 0", found: "4294967295 bytes", expected: "at most \(256 << 20) bytes")
        #expect(throws: FormatError(reason, path: "m.gguf.zst")) { try open(seekable(frame, [(14, .max)])) }
    }

    @Test func refusesManyFramesThatTogetherPromiseTooMuch() throws {
        // Empty skippable frames: entries that add up to exabytes of content that is not there.
        let frame: [UInt8] = [0x50, 0x2A, 0x4D, 0x18, 0, 0, 0, 0]
        let frames = [[UInt8]](repeating: frame, count: 1000).flatMap { $0 }
        #expect(throws: FormatError.self) { try open(seekable(frames, .init(repeating: (8, 256 << 20), count: 1000))) }
    }

    @Test func refusesATableWithMoreEntriesThanTheFileHasRoomFor() throws {
        #expect(throws: FormatError.self) { try open(seekable([], [], count: .max)) }
        #expect(throws: FormatError.self) { try open(seekable([1, 2, 3], [])) }
        #expect(throws: FormatError.self) { try open(seekable([], [])) }
    }

    @Test func refusesFramesWhoseOwnSizeIsNotThatOfTheTable() throws {
        let bytes = try small()
        let file = try open(bytes)
        #expect(file.manifest.tensors.count == 2)
        let zstd = try StockZstd()
        let plain = try folder.write([UInt8](repeating: 7, count: 5000), to: "plain")
        try #require(try zstd.run(plain, "-o", folder.path("plain.zst")) == 0)
        let frame = try folder.read("plain.zst")
        #expect(throws: FormatError.self) { try open(seekable(frame, [(UInt32(frame.count), 4999)])) }
        #expect(throws: FormatError.self) { try open(seekable(frame + [0], [(UInt32(frame.count + 1), 5000)])) }
    }

    // MARK: Files without a seek table

    private func plainZst(_ arguments: String...) throws -> (plain: [UInt8], zst: [UInt8]) {
        let zstd = try StockZstd()
        let model = try CompressedModel(seed: 5)
        let path = try folder.write(model.plain, to: "p.gguf")
        let option = arguments.first ?? "-3"
        try #require(try zstd.run("-f", option, path, "-o", folder.path("p.gguf.zst")) == 0)
        return (model.plain, try folder.read("p.gguf.zst"))
    }

    @Test func opensWhatStockZstdCompressed() throws {
        let (plain, zst) = try plainZst()
        let file = try open(zst)
        let expected = try openGGUF(plain)
        #expect(file.manifest.tensors == expected.manifest.tensors)
        #expect(try file.unpackedByteCount() == plain.count)
        for index in expected.manifest.tensors.indices {
            #expect(try file.bytes(ofTensorAt: index).array == expected.bytes(ofTensorAt: index).array)
        }
        try file.verify()
        let output = try OutputFile(path: folder.path("again.gguf"), byteCount: file.unpackedByteCount())
        try file.unpack(to: output)
        try output.finish()
        #expect(try folder.read("again.gguf") == plain)
        // Two frames, one after the other, are one file too.
        let zstd = try StockZstd()
        for (name, part) in [("a", plain[..<100]), ("b", plain[100...])] {
            try folder.write([UInt8](part), to: name)
            try #require(try zstd.run(folder.path(name), "-o", folder.path(name + ".zst")) == 0)
        }
        #expect(try open(folder.read("a.zst") + folder.read("b.zst")).manifest.tensors == expected.manifest.tensors)
    }

    @Test func refusesPlainFilesThatAreCutOrHaveSomethingBehindThem() throws {
        let (_, zst) = try plainZst()
        for count in stride(from: 0, to: zst.count, by: 7) {
            #expect(throws: FormatError.self, "\(count)") { try open([UInt8](zst[..<count])) }
        }
        #expect(throws: FormatError.self) { try open(zst + [0]) }
        #expect(throws: FormatError.self) { try open(zst + Array("garbage behind".utf8)) }
    }

    @Test func refusesAPlainFileWithoutChecksum() throws {
        let (_, zst) = try plainZst("--no-check")
        let error = #expect(throws: FormatError.self) { try open(zst) }
        #expect(error?.reason == .unsupported(what: "a zstd frame without checksum"))
    }

    @Test func stopsUnpackingWhatIsNoGGUFFile() throws {
        let zstd = try StockZstd()
        let path = try folder.write([UInt8](repeating: 0, count: 64 << 20), to: "zeros")
        try #require(try zstd.run(path, "-o", folder.path("bomb.zst")) == 0)
        let error = #expect(throws: FormatError.self) { try GGUFZstFile(path: folder.path("bomb.zst")) }
        #expect(error?.reason == .invalid(field: "magic", found: "0x0", expected: "GGUF"))
    }

    /// A GGUF file with one I8 tensor of `declared` zeros, of which `present` are there.
    private func zeros(declared: Int, present: Int) -> [UInt8] {
        var file = GGUFBytes(tensors: 1)
        file.tensor("zeros", dimensions: [Int64(declared)], type: 24)
        file.pad(to: 32)
        return file.bytes + [UInt8](repeating: 0, count: present)
    }

    @Test(arguments: ["--content-size", "--no-content-size"]) func aLargePlainFileIsUnpackedWhenItIsReadOnly(option: String) throws {
        let zstd = try StockZstd()
        let path = try folder.write(zeros(declared: 80 << 20, present: 80 << 20), to: "p")
        try #require(try zstd.run(option, path, "-o", folder.path("p.zst")) == 0)
        var zst = try folder.read("p.zst")
        let file = try open(zst)
        #expect(try file.bytes(ofTensorAt: 0).count == 80 << 20)
        // The checksum at the end is wrong: whoever unpacks sees it, opening does not.
        zst[zst.count - 1] ^= 1
        let damaged = try open(zst)
        #expect(damaged.manifest.tensors.map(\.name) == ["zeros"])
        #expect(throws: FormatError.self) { try damaged.bytes(ofTensorAt: 0) }
        #expect(throws: FormatError.self) { try damaged.verify() }
    }

    @Test func aStatedSizeThatTheHeaderContradictsIsRefusedUnread() throws {
        let zstd = try StockZstd()
        for (declared, present) in [(80 << 20, 81 << 20), (81 << 20, 80 << 20)] {
            let path = try folder.write(zeros(declared: declared, present: present), to: "p")
            try #require(try zstd.run("-f", path, "-o", folder.path("p.zst")) == 0)
            var zst = try folder.read("p.zst")
            zst[zst.count - 1] ^= 1  // seen only by who unpacks all of it
            let error = #expect(throws: FormatError.self) { try open(zst) }
            switch error?.reason {
            case .invalid("the GGUF file inside", _, _): #expect(declared < present)
            case .truncated("tensor data", _, _): #expect(declared > present && error?.tensor == "zeros")
            default: Issue.record("\(String(describing: error))")
            }
        }
    }

    @Test func stopsAHeaderThatPromisesToBeHuge() throws {
        let zstd = try StockZstd()
        var file = GGUFBytes(keys: 1)
        file.append("k")
        file.append(UInt32(8))
        file.append(UInt64(1) << 29)
        let path = try folder.write(file.bytes + [UInt8](repeating: 0x20, count: 200_000), to: "p")
        try #require(try zstd.run("--no-content-size", path, "-o", folder.path("p.zst")) == 0)
        let error = #expect(throws: FormatError.self) { try GGUFZstFile(path: folder.path("p.zst")) }
        let reason = FormatError.Reason.invalid(
            field: "the GGUF header inside", found: "longer, in its value of key 'k'", expected: "at most \(128 << 20) bytes")
        #expect(error?.reason == reason)
    }

    @Test func stopsUnpackingPastWhatTheHeaderDeclares() throws {
        let zstd = try StockZstd()
        let path = try folder.write(GGUFGoldenTests.small + [UInt8](repeating: 0, count: 8 << 20), to: "long")
        try #require(try zstd.run(path, "-o", folder.path("long.zst")) == 0)
        let error = #expect(throws: FormatError.self) { try GGUFZstFile(path: folder.path("long.zst")) }
        guard case .invalid("the GGUF file inside", _, "192 bytes, as its header declares") = error?.reason else {
            Issue.record("\(String(describing: error))")
            return
        }
    }
}
