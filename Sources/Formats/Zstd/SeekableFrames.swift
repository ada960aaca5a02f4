import Threads

/// The frames of a seekable zstd file, each unpacked and checked on demand.
struct SeekableFrames: Sendable {
    let path: String
    let file: TensorBytes
    let table: SeekTable
    /// XXH64 of each frame as it must stand there, in order; `nil` when the file has none.
    private let hashes: TensorBytes?
    private let decompressors = ContextPool<ZstdDecompressor>()
    private let cache: FrameCache

    /// Bytes of unpacked frames to keep, at least one frame.
    private static let cacheByteCount = 32 << 20
    /// The largest frame that is unpacked. More than any writer makes: zstd's decoders take windows up to 128 MiB.
    private static let maxFrameByteCount = 256 << 20

    /// Reads and checks the seek table and the table of hashes; unpacks nothing.
    init(_ file: TensorBytes, path: String) throws(FormatError) {
        self.path = path
        self.file = file
        let table: SeekTable
        do throws(FormatError) {
            table = try SeekTable(endOf: file.bytes)
            hashes = try table.hashes(in: file)
            // So that no table of a small file promises more than memory or offsets can hold.
            if let index = table.entries.firstIndex(where: { $0.contentByteCount > Self.maxFrameByteCount }) {
                let found = "\(table.entries[index].contentByteCount) bytes"
                throw FormatError(.invalid(field: "frame \(index)", found: found, expected: "at most \(Self.maxFrameByteCount) bytes"))
            }
        } catch {
            throw error.at(path: path)
        }
        self.table = table
        let largest = table.entries.lazy.map(\.contentByteCount).max() ?? 0
        cache = FrameCache(capacity: max(1, Self.cacheByteCount / max(1, largest)))
    }

    /// Unpacks a range of the content, its frames in parallel. Frames of which a part is wanted are kept for the next part.
    /// - Parameter tensor: what the range is, for messages about damage.
    func content(_ range: Range<Int>, threadCount: Int, tensor: String?) throws(FormatError) -> TensorBytes {
        let frames = table.frames(overlapping: range)
        if frames.count == 1 {
            let start = table.contentOffsets[frames.lowerBound], end = table.contentOffsets[frames.upperBound]
            if range != start..<end {
                return try kept(frames.lowerBound, tensor: tensor)[range.lowerBound - start..<range.upperBound - start]
            }
        }
        return TensorBytes(try ArrayStorage(byteCount: range.count) { (target: inout MutableRawSpan) throws(FormatError) in
            let parts = DisjointParts(&target)
            try inParallel(count: frames.count, threadCount: threadCount) { position throws(FormatError) in
                let index = frames.lowerBound + position
                let start = table.contentOffsets[index], end = table.contentOffsets[index + 1]
                guard start < end else { return }
                let wanted = max(start, range.lowerBound)..<min(end, range.upperBound)
                let place = wanted.lowerBound - range.lowerBound..<wanted.upperBound - range.lowerBound
                if wanted == start..<end {
                    try unpack(index, tensor: tensor) { frame, decompressor throws(FormatError) in
                        try parts.withPart(place) { part throws(FormatError) in try decompressor.decompress(frame, into: &part) }
                    }
                } else {
                    let content = try kept(index, tensor: tensor)
                    let source = content[wanted.lowerBound - start..<wanted.upperBound - start]
                    parts.withPart(place) { part in part.copy(source.bytes) }
                }
            }
        })
    }

    /// The whole content of a frame, through the cache.
    private func kept(_ index: Int, tensor: String?) throws(FormatError) -> TensorBytes {
        try cache.content(of: index) { () throws(FormatError) in
            TensorBytes(
                try ArrayStorage(byteCount: table.entries[index].contentByteCount) { (target: inout MutableRawSpan) throws(FormatError) in
                    try unpack(index, tensor: tensor) { frame, decompressor throws(FormatError) in
                        try decompressor.decompress(frame, into: &target)
                    }
                })
        }
    }

    /// Unpacks one frame into memory that is used again, checks it, and hands it to `body`.
    func withContent(ofFrame index: Int, tensor: String?, _ body: (RawSpan) throws(FormatError) -> Void) throws(FormatError) {
        let byteCount = table.entries[index].contentByteCount
        guard byteCount > 0 else { return try checkEmpty(index) }
        var failure: FormatError?
        try unpack(index, tensor: tensor) { frame, decompressor throws(FormatError) in
            let result = try decompressor.withDecompressed(frame, byteCount: byteCount, body)
            if case .failure(let error) = result { failure = error }
        }
        if let failure { throw failure }
    }

    /// Compares a frame's own header with the seek table, then lets `body` unpack it, which checks the content's hash.
    private func unpack(
        _ index: Int, tensor: String?, _ body: (RawSpan, ZstdDecompressor) throws(FormatError) -> Void
    ) throws(FormatError) {
        do throws(FormatError) {
            let bytes = try frame(index)
            try decompressors.use(make: ZstdDecompressor.init) { decompressor throws(FormatError) in
                try body(bytes.bytes, decompressor)
            }
        } catch {
            throw damaged(error, frame: index, tensor: tensor)
        }
    }

    /// The bytes of a frame whose own header says what the seek table says of it, and whose hash is that of its place.
    private func frame(_ index: Int) throws(FormatError) -> TensorBytes {
        let entry = table.entries[index]
        let bytes = file[table.offsets[index]..<table.offsets[index + 1]]
        let frame = try ZstdFrame(bytes.bytes)
        try expect(entry.byteCount, frame.byteCount, "the size of frame \(index) in the seek table")
        try expect(entry.contentByteCount, frame.contentByteCount ?? -1, "the content size of frame \(index) in the seek table")
        if let checksum = entry.checksum, checksum != frame.checksum {
            throw FormatError(
                .corrupt(what: "the checksum of frame \(index) in the seek table", expected: "\(frame.checksum)", found: "\(checksum)"))
        }
        if let hashes, xxh64(bytes.bytes) != hashes.bytes.littleEndian(UInt64.self, at: index * 8) {
            throw FormatError(.corrupt(what: "the hash", expected: "that of the frame", found: "another"))
        }
        return bytes
    }

    /// Checks a frame without content: a skippable one of exactly the size in the table.
    func checkEmpty(_ index: Int) throws(FormatError) {
        let entry = table.entries[index]
        let bytes = file[table.offsets[index]..<table.offsets[index + 1]]
        let span = bytes.bytes
        guard span.byteCount >= 8, SeekTable.skippableMagics.contains(span.littleEndian(at: 0)),
            Int(span.littleEndian(UInt32.self, at: 4)) == span.byteCount - 8, entry.checksum ?? 0 == 0
        else {
            let reason = FormatError.Reason.corrupt(what: "frame \(index)", expected: "a skippable frame", found: "something else")
            throw damaged(FormatError(reason), frame: index, tensor: nil)
        }
    }

    /// Compares every frame with what the tables say of it and of its place: a flipped bit, a frame of another file or
    /// frames that changed places are found. Unpacks nothing.
    func checkStored(threadCount: Int, name: @Sendable (Int) -> String?) throws(FormatError) {
        try inParallel(count: table.entries.count, threadCount: threadCount) { index throws(FormatError) in
            guard table.entries[index].contentByteCount > 0 else { return try checkEmpty(index) }
            do throws(FormatError) {
                _ = try frame(index)
            } catch {
                throw damaged(error, frame: index, tensor: name(index))
            }
        }
    }

    private func expect(_ expected: Int, _ found: Int, _ what: String) throws(FormatError) {
        guard expected == found else {
            throw FormatError(.corrupt(what: what, expected: "\(found)", found: "\(expected)"))
        }
    }

    /// An error with the place of its frame: the tensor, or the header when the frame belongs to none.
    private func damaged(_ error: FormatError, frame index: Int, tensor: String?) -> FormatError {
        var located = error.at(path: path)
        located.tensor = located.tensor ?? tensor
        located.byteOffset = located.byteOffset ?? UInt64(table.offsets[index])
        if tensor == nil, case .corrupt(let what, let expected, let found) = error.reason {
            located.reason = .corrupt(what: "the GGUF header or the seek table: \(what)", expected: expected, found: found)
        }
        return located
    }
}

/// One buffer that several threads fill, each its own part.
// @unchecked: the parts that threads ask for do not overlap, and the buffer outlives the parallel loop they run in.
@safe private struct DisjointParts: @unchecked Sendable {
    private let buffer: UnsafeMutableRawBufferPointer

    init(_ target: inout MutableRawSpan) {
        unsafe buffer = target.withUnsafeMutableBytes { unsafe $0 }
    }

    func withPart<E: Error>(_ range: Range<Int>, _ body: (inout MutableRawSpan) throws(E) -> Void) throws(E) {
        precondition(unsafe range.lowerBound >= 0 && range.upperBound <= buffer.count, "part outside the buffer")
        var part = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[range]).mutableBytes
        try body(&part)
    }
}

extension MutableRawSpan {
    /// Copies bytes of the same count.
    @_lifetime(self: copy self)
    fileprivate mutating func copy(_ source: RawSpan) {
        precondition(source.byteCount == byteCount)
        unsafe withUnsafeMutableBytes { target in
            unsafe source.withUnsafeBytes { unsafe target.copyMemory(from: $0) }
        }
    }
}
