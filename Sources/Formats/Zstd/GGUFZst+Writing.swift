import Dispatch
import Synchronization

/// Writing `.gguf.zst`: a whole GGUF file in zstd's seekable format.
public enum GGUFZst {
    /// The content of one frame and the zstd level to compress it with.
    public struct FrameContent: Sendable {
        /// `FramePiece.range.count` bytes, without the padding.
        public var bytes: TensorBytes
        public var level: Int

        public init(bytes: TensorBytes, level: Int) {
            self.bytes = bytes
            self.level = level
        }
    }

    /// The level of the header's frames: text, which shrinks well.
    static let headerLevel = 3

    /// Bytes that the compressed file takes at most, for checking the disk.
    public static func maxByteCount(of pieces: [FramePiece]) -> Int {
        pieces.reduce(SeekTable.trailer([], hashes: []).count) { $0 + zstdBound($1.byteCount) + 20 }
    }

    /// Compresses a file frame by frame on several threads and appends the frames in order, then hashes and seek table.
    ///
    /// The bytes do not depend on the number of threads. At most `2 * threadCount + 2` frames are in memory.
    /// The caller finishes the output.
    /// - Parameters:
    ///   - pieces: all of the file in order, e.g. `file.framePieces()`.
    ///   - output: opened without a byte count. When it was opened for resuming, whole frames at its start that match
    ///     the pieces and their checksums are kept and only the rest is written.
    ///   - didWrite: called after a frame was written (or kept) with its index, in order.
    ///   - content: gives the bytes of a tensor's piece; called on several threads, lower pieces first. Not called for
    ///     the header.
    /// - Returns: the end of the file, hashes and seek table, to which every frame read back must answer.
    /// - Throws: what `content` throws, or `FormatError` from compressing and writing.
    @discardableResult public static func write(
        _ file: FileLayout, pieces: [FramePiece], to output: OutputFile, threadCount: Int,
        didWrite: @Sendable (Int) -> Void = { _ in },
        content: @Sendable (FramePiece) throws -> FrameContent
    ) throws -> [UInt8] {
        precondition(pieces.reduce(0) { $0 + $1.byteCount } == file.byteCount, "the pieces are not the file")
        var queue = FrameQueue()
        if output.resumedByteCount > 0 {
            try queue.keepFrames(of: output, matching: pieces)
            for index in queue.entries.indices { didWrite(index) }
        }
        let first = queue.entries.count
        let state = Mutex(queue)
        let next = Atomic<Int>(first)
        let failure = Mutex<(any Error)?>(nil)
        let compressors = ContextPool<ZstdCompressor>()
        let threads = max(1, min(threadCount, pieces.count - first))
        // A thread takes room before it takes a piece, so the piece that all wait for always has room.
        let room = DispatchSemaphore(value: 0)
        for _ in 0..<2 * threads + 2 { room.signal() }

        @Sendable func work() {
            while true {
                room.wait()
                let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
                guard index < pieces.count, failure.withLock({ $0 == nil }) else {
                    room.signal()
                    return
                }
                do {
                    let frame = try compressors.use(make: ZstdCompressor.init) { compressor in
                        try compressed(pieces[index], of: file, with: compressor, content: content)
                    }
                    // Whoever completes the next frame in order writes it and those that wait behind it.
                    var ready = state.withLock { $0.complete(index, frame) }
                    while let (position, bytes) = ready {
                        try output.append(bytes.rawBytes)
                        didWrite(position)
                        room.signal()
                        ready = state.withLock { $0.following() }
                    }
                } catch {
                    failure.withLock { if $0 == nil { $0 = error } }
                    for _ in 0..<threads { room.signal() }
                    return
                }
            }
        }
        if threads == 1 { work() } else { DispatchQueue.concurrentPerform(iterations: threads) { _ in work() } }
        if let error = failure.withLock({ $0 }) { throw error }
        let (entries, hashes) = state.withLock { ($0.entries, $0.hashes) }
        let trailer = SeekTable.trailer(entries, hashes: hashes)
        try output.append(trailer.rawBytes)
        return trailer
    }

    private static func compressed(
        _ piece: FramePiece, of file: FileLayout, with compressor: ZstdCompressor,
        content: (FramePiece) throws -> FrameContent
    ) throws -> CompressedFrame {
        let source = piece.tensor == nil
            ? FrameContent(bytes: file.header[piece.range], level: headerLevel) : try content(piece)
        precondition(source.bytes.count == piece.range.count, "a frame's content has the wrong size")
        let bytes: [UInt8]
        if piece.paddingByteCount == 0 {
            bytes = try compressor.compress(source.bytes.bytes, level: source.level)
        } else {
            let padded = source.bytes.array + [UInt8](repeating: 0, count: piece.paddingByteCount)
            bytes = try compressor.compress(padded.rawBytes, level: source.level)
        }
        return CompressedFrame(bytes: bytes, contentByteCount: piece.byteCount)
    }
}

private struct CompressedFrame {
    let bytes: [UInt8]
    let entry: SeekTable.Entry
    let hash: UInt64

    init(bytes: [UInt8], contentByteCount: Int) {
        self.bytes = bytes
        let checksum = bytes.rawBytes.littleEndian(UInt32.self, at: bytes.count - 4)
        entry = SeekTable.Entry(byteCount: bytes.count, contentByteCount: contentByteCount, checksum: checksum)
        hash = xxh64(bytes.rawBytes)
    }
}

/// Frames that are done, put back in order. One thread at a time is the writer.
private struct FrameQueue {
    private(set) var entries: [SeekTable.Entry] = []
    private(set) var hashes: [UInt64] = []
    private var waiting: [Int: CompressedFrame] = [:]
    private var isBeingWritten = false

    /// Takes a frame in. When it is the next to be written and nobody is writing, the caller becomes the writer.
    mutating func complete(_ index: Int, _ frame: CompressedFrame) -> (Int, [UInt8])? {
        waiting[index] = frame
        guard !isBeingWritten else { return nil }
        return following()
    }

    /// For the writer: the next frame in order; `nil` when it is not done yet, and then the caller is the writer no more.
    mutating func following() -> (Int, [UInt8])? {
        guard let frame = waiting.removeValue(forKey: entries.count) else {
            isBeingWritten = false
            return nil
        }
        isBeingWritten = true
        entries.append(frame.entry)
        hashes.append(frame.hash)
        return (entries.count - 1, frame.bytes)
    }

    /// Takes over the frames at the start of a part that an earlier run left, and cuts off what is no whole good frame.
    mutating func keepFrames(of output: OutputFile, matching pieces: [FramePiece]) throws(FormatError) {
        let decompressor = try ZstdDecompressor()
        var offset = 0
        for piece in pieces {
            let available = min(zstdBound(piece.byteCount), output.resumedByteCount - offset)
            let bytes = try output.read(offset..<offset + available)
            guard let frame = try? ZstdFrame(bytes.bytes), frame.contentByteCount == piece.byteCount else { break }
            let whole = bytes[0..<frame.byteCount]
            let isGood = try? decompressor.withDecompressed(whole.bytes, byteCount: piece.byteCount) { _ throws(FormatError) in }
            guard isGood != nil else { break }
            entries.append(SeekTable.Entry(byteCount: frame.byteCount, contentByteCount: piece.byteCount, checksum: frame.checksum))
            hashes.append(xxh64(whole.bytes))
            offset += frame.byteCount
        }
        try output.truncate(to: offset)
    }
}
