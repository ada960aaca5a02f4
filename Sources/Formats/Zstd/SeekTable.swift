// The zstd seekable format (facebook/zstd, contrib/seekable_format), little-endian:
//
//   frames       independent zstd frames, one after another
//   hashes       (ours) skippable frame 0x184D2A5D: u32 size | "RESQHASH" | u64 XXH64 of each frame before it,
//                compressed | u64 XXH64 of this content so far
//   seek table   skippable frame 0x184D2A5E: u32 size | entries | u32 number of entries | u8 descriptor | u32 0x8F92EAB1
//
//   entry = u32 compressed bytes | u32 content bytes | u32 low half of the content's XXH64
//   descriptor: bit 7 set = entries have checksums; all other bits 0
//
// Skippable frames have entries too (content bytes 0, checksum 0), except the seek table itself. zstd's own tools
// step over both. The content checksum inside a frame leaves a few bits of the compressed form unguarded (unused bits
// in entropy tables); the hashes cover those.

/// Where each frame stands, compressed and unpacked.
struct SeekTable: Sendable {
    struct Entry: Sendable, Hashable {
        var byteCount: Int
        var contentByteCount: Int
        /// `nil` when the table has no checksums.
        var checksum: UInt32?
    }

    static let magic: UInt32 = 0x184D_2A5E
    static let footerMagic: UInt32 = 0x8F92_EAB1
    static let hashesMagic: UInt32 = 0x184D_2A5D
    static let skippableMagics: ClosedRange<UInt32> = 0x184D_2A50...0x184D_2A5F
    static let hashesTag = Array("RESQHASH".utf8)
    private static let footerByteCount = 9

    let entries: [Entry]
    /// Where each frame starts in the file; one more at the end: where the seek table starts.
    let offsets: [Int]
    /// Where each frame's content starts; one more at the end: the size of all of it.
    let contentOffsets: [Int]

    /// Whether a file ends as a seekable file does.
    static func isAtEnd(of bytes: RawSpan) -> Bool {
        bytes.byteCount >= footerByteCount && bytes.littleEndian(UInt32.self, at: bytes.byteCount - 4) == footerMagic
    }

    /// Reads the table at the end of a file and checks that it accounts for every byte before it.
    init(endOf bytes: RawSpan) throws(FormatError) {
        func damaged(_ what: String, _ expected: String, _ found: String) -> FormatError {
            FormatError(.corrupt(what: "\(what) of the seek table", expected: expected, found: found))
        }
        let end = bytes.byteCount
        guard Self.isAtEnd(of: bytes) else { throw damaged("the end", "0x8f92eab1", "something else") }
        let count = Int(bytes.littleEndian(UInt32.self, at: end - Self.footerByteCount))
        let descriptor = bytes.littleEndian(UInt8.self, at: end - 5)
        guard descriptor & 0x7F == 0 else { throw damaged("the descriptor", "0 or 128", "\(descriptor)") }
        let hasChecksums = descriptor != 0
        // At most 2^32 entries of 12 bytes: no overflow.
        let contentByteCount = count * (hasChecksums ? 12 : 8) + Self.footerByteCount
        guard contentByteCount + 8 <= end else {
            throw damaged("the number of entries", "at most what the file has room for", "\(count)")
        }
        let start = end - contentByteCount - 8
        guard bytes.littleEndian(UInt32.self, at: start) == Self.magic else { throw damaged("the start", "0x184d2a5e", "something else") }
        let size = bytes.littleEndian(UInt32.self, at: start + 4)
        guard size == contentByteCount else { throw damaged("the size", "\(contentByteCount)", "\(size)") }

        var entries: [Entry] = []
        var offsets = [0], contentOffsets = [0]
        entries.reserveCapacity(count)
        for index in 0..<count {
            let at = start + 8 + index * (hasChecksums ? 12 : 8)
            let entry = Entry(
                byteCount: Int(bytes.littleEndian(UInt32.self, at: at)),
                contentByteCount: Int(bytes.littleEndian(UInt32.self, at: at + 4)),
                checksum: hasChecksums ? bytes.littleEndian(at: at + 8) : nil)
            // Sums of fewer than 2^31 numbers below 2^32: no overflow.
            entries.append(entry)
            offsets.append(offsets[index] + entry.byteCount)
            contentOffsets.append(contentOffsets[index] + entry.contentByteCount)
        }
        guard offsets[count] == start else { throw damaged("the sum of the frame sizes", "\(start)", "\(offsets[count])") }
        self.entries = entries
        self.offsets = offsets
        self.contentOffsets = contentOffsets
    }

    /// The hashes of the frames before them, 8 bytes each; `nil` when the file has none.
    func hashes(in file: TensorBytes) throws(FormatError) -> TensorBytes? {
        guard let last = entries.indices.last, entries[last].contentByteCount == 0 else { return nil }
        let bytes = file[offsets[last]..<offsets[last + 1]]
        let damaged = FormatError(.corrupt(what: "the table of hashes", expected: "its own hash", found: "another"))
        let tag = 8 + Self.hashesTag.count
        let byteCount = tag + (last + 1) * 8
        guard bytes.count >= tag, bytes.bytes.littleEndian(UInt32.self, at: 0) == Self.hashesMagic else {
            // Another writer's frame, of which nothing is known, unless it is ours with its first bytes damaged.
            guard bytes.count != byteCount else { throw damaged }
            return nil
        }
        guard bytes.count == byteCount, bytes[8..<tag].array == Self.hashesTag,
            case let content = bytes[8..<byteCount - 8],
            bytes.bytes.littleEndian(UInt64.self, at: byteCount - 8) == xxh64(content.bytes)
        else { throw damaged }
        return bytes[tag..<byteCount - 8]
    }

    /// Bytes of the content of all frames.
    var contentByteCount: Int { contentOffsets[entries.count] }

    /// The frames that a range of the content lies in.
    func frames(overlapping range: Range<Int>) -> Range<Int> {
        guard !range.isEmpty else { return 0..<0 }
        // The last frame that starts at or before a position; empty ones before it hold nothing of the range.
        func frame(at position: Int) -> Int {
            var low = 0, high = entries.count
            while low < high {
                let middle = (low + high) / 2
                if contentOffsets[middle + 1] <= position { low = middle + 1 } else { high = middle }
            }
            return low
        }
        return frame(at: range.lowerBound)..<frame(at: range.upperBound - 1) + 1
    }

    /// The hashes and the seek table, as they stand after the last frame.
    static func trailer(_ frames: [Entry], hashes: [UInt64]) -> [UInt8] {
        var content = hashesTag
        for hash in hashes { content.append(littleEndian: hash) }
        content.append(littleEndian: xxh64(content.rawBytes))
        var bytes: [UInt8] = []
        bytes.append(littleEndian: hashesMagic)
        bytes.append(littleEndian: UInt32(content.count))
        bytes += content

        let entries = frames + [Entry(byteCount: bytes.count, contentByteCount: 0, checksum: 0)]
        bytes.append(littleEndian: magic)
        bytes.append(littleEndian: UInt32(entries.count * 12 + footerByteCount))
        for entry in entries {
            bytes.append(littleEndian: UInt32(entry.byteCount))
            bytes.append(littleEndian: UInt32(entry.contentByteCount))
            bytes.append(littleEndian: entry.checksum ?? 0)
        }
        bytes.append(littleEndian: UInt32(entries.count))
        bytes.append(0x80)
        bytes.append(littleEndian: footerMagic)
        return bytes
    }
}
