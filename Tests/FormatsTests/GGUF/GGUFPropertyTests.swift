import Formats
import Testing
import TestSupport

/// Random valid models, and what may happen to their bytes.
@Suite struct GGUFPropertyTests {
    @Test(arguments: 0..<200 as Range<UInt64>) func whatIsWrittenIsReadAndWrittenAgainTheSame(seed: UInt64) throws {
        let model = try RandomGGUF(seed: seed)
        let bytes = try model.file()
        let file = try openGGUF(bytes)
        #expect(file.manifest.tensors == model.tensors)
        #expect(file.metadata.keys.map { Array($0.utf8) } == model.metadata.keys.map { Array($0.utf8) })
        for key in model.metadata.keys { #expect(file.metadata[key] == model.metadata[key], "\(key)") }
        for index in model.tensors.indices { #expect(try file.bytes(ofTensorAt: index).array == model.contents[index]) }
        for offset in file.manifest.byteOffsets { #expect(offset % model.alignment == 0) }
        let again = try GGUF.layout(tensors: file.manifest.tensors, metadata: file.metadata)
        #expect(try again.files[0].assembled { try file.bytes(ofTensorAt: $0).array } == bytes)
    }

    @Test func aFileCutAnywhereIsRefusedUntilItsLastTensorIsThere() throws {
        let bytes = GGUFGoldenTests.small
        for count in 0..<bytes.count {
            let cut = [UInt8](bytes[..<count])
            if count < 161 {
                #expect(throws: FormatError.self, "\(count)") { try openGGUF(cut) }
            } else {
                #expect(throws: Never.self, "\(count)") { try openGGUF(cut) }
            }
        }
    }

    @Test(arguments: 0..<20 as Range<UInt64>) func aModelCutAnywhereNeverTraps(seed: UInt64) throws {
        let bytes = try RandomGGUF(seed: seed, maxAlignment: 64).file()
        for count in stride(from: 0, to: bytes.count, by: max(1, bytes.count / 2000)) {
            if let file = try? openGGUF([UInt8](bytes[..<count])) { try useEverything(file) }
        }
    }

    /// A changed bit may give another valid file; it must never give one that points outside itself.
    @Test(arguments: 0..<50 as Range<UInt64>) func flippedBitsNeverTrap(seed: UInt64) throws {
        let bytes = try RandomGGUF(seed: seed, maxAlignment: 64).file()
        var numbers = SeededRandom(seed: seed &+ 1000)
        for _ in 0..<400 {
            var damaged = bytes
            for _ in 0..<Int.random(in: 1...4, using: &numbers) {
                damaged[Int.random(in: 0..<min(bytes.count, 2048), using: &numbers)] ^= 1 << UInt8.random(in: 0..<8, using: &numbers)
            }
            if let file = try? openGGUF(damaged) { try useEverything(file) }
        }
    }

    @Test func everySingleFlippedBitOfASmallFileIsHarmless() throws {
        for position in 0..<GGUFGoldenTests.small.count * 8 {
            var damaged = GGUFGoldenTests.small
            damaged[position / 8] ^= 1 << (position % 8)
            if let file = try? openGGUF(damaged) { try useEverything(file) }
        }
    }

    private func useEverything(_ file: GGUFFile) throws {
        for key in file.metadata.keys {
            guard let array = file.metadata[key]?.array else { continue }
            _ = (array.strings, array.integers, array.floats, array.bools, array.values(upTo: 3))
        }
        for (index, tensor) in file.manifest.tensors.enumerated() {
            #expect(try file.bytes(ofTensorAt: index).array.count == tensor.byteCount)
        }
        _ = try? GGUF.layout(tensors: file.manifest.tensors, metadata: file.metadata)
    }
}

/// A model made from a seed: all types, ranks, alignments and kinds of values turn up.
struct RandomGGUF {
    var tensors: [TensorInfo] = []
    var contents: [[UInt8]] = []
    var metadata = GGUFMetadata()
    var alignment = 32

    init(seed: UInt64, maxAlignment: Int = 65536) throws {
        var numbers = SeededRandom(seed: seed)
        if seed % 3 != 0 {
            let exponent = Int.random(in: 0...maxAlignment.trailingZeroBitCount, using: &numbers)
            alignment = 1 << exponent
            metadata["general.alignment"] = .u32(UInt32(alignment))
        }
        for index in 0..<Int.random(in: 0...12, using: &numbers) {
            metadata["\(index)" + Self.text(8, &numbers)] = Self.value(&numbers)
        }
        for index in 0..<Int.random(in: 0...8, using: &numbers) {
            let type = GGMLType.allCases.randomElement(using: &numbers)!
            let rank = Int.random(in: (type.blockSize > 1 ? 1 : 0)...4, using: &numbers)
            var shape = (0..<rank).map { _ in Int.random(in: 0...3, using: &numbers) }
            if rank > 0 { shape[rank - 1] *= type.blockSize }
            let info = try TensorInfo(name: "\(index)" + Self.text(9, &numbers), encoding: Encoding(type), shape: shape)
            tensors.append(info)
            contents.append(numbers.bytes(info.byteCount))
        }
    }

    func file() throws -> [UInt8] {
        let layout = try GGUF.layout(tensors: tensors, metadata: metadata)
        return layout.files[0].assembled { contents[$0] }
    }

    private static func text(_ maxCount: Int, _ numbers: inout SeededRandom) -> String {
        let letters = ["a", "é", "e\u{301}", "漢", "🦙", ".", "_", " ", "\u{7F}", "\n", "Z"]
        var text = ""
        for _ in 0..<Int.random(in: 0...maxCount, using: &numbers) { text += letters.randomElement(using: &numbers)! }
        return text
    }

    private static func value(_ numbers: inout SeededRandom) -> GGUFValue {
        let bits = numbers.next()
        let count = Int(bits >> 60)
        func many<T: GGUFArrayElement>(_ make: (UInt64) -> T) -> GGUFValue {
            .array(GGUFArray((0..<UInt64(count)).map { make(bits &* ($0 | 1)) }))
        }
        switch Int.random(in: 0..<24, using: &numbers) {
        case 0: return .u8(UInt8(truncatingIfNeeded: bits))
        case 1: return .i8(Int8(truncatingIfNeeded: bits))
        case 2: return .u16(UInt16(truncatingIfNeeded: bits))
        case 3: return .i16(Int16(truncatingIfNeeded: bits))
        case 4: return .u32(UInt32(truncatingIfNeeded: bits))
        case 5: return .i32(Int32(truncatingIfNeeded: bits))
        case 6: return .u64(bits)
        case 7: return .i64(Int64(truncatingIfNeeded: bits))
        case 8: return .f32(Float(bits))
        case 9: return .f64(Double(bits))
        case 10: return .bool(bits & 1 == 1)
        case 11: return .string(text(count, &numbers))
        case 12: return many { UInt8(truncatingIfNeeded: $0) }
        case 13: return many { Int8(truncatingIfNeeded: $0) }
        case 14: return many { UInt16(truncatingIfNeeded: $0) }
        case 15: return many { Int16(truncatingIfNeeded: $0) }
        case 16: return many { UInt32(truncatingIfNeeded: $0) }
        case 17: return many { Int32(truncatingIfNeeded: $0) }
        case 18: return many { $0 }
        case 19: return many { Int64(truncatingIfNeeded: $0) }
        case 20: return many { Float($0) }
        case 21: return many { Double($0) }
        case 22: return many { $0 & 8 == 0 }
        default: return .array(GGUFArray(strings: (0..<count).map { text($0, &numbers) }))
        }
    }
}
