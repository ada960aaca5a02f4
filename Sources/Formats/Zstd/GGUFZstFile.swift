import Threads

/// An opened `.gguf.zst`: a GGUF file inside zstd frames.
///
/// With a seek table (as this project writes it), a tensor is read by unpacking its frames only, in parallel, and every
/// frame read is checked. A GGUF file compressed with stock `zstd` opens too: it is unpacked once, when its tensors are
/// asked for, to an unnamed temporary file. Byte offsets in the manifest are those of the unpacked GGUF file.
public struct GGUFZstFile: TensorSource {
    public let manifest: Manifest
    public let files: [SourceFile]
    private let content: Content
    private let threadCount: Int

    private enum Content {
        case frames(SeekableFrames)
        case plain(PlainZstd)
    }

    /// More than any model's header; the largest known vocabularies take about 30 MB.
    private static let maxHeaderByteCount = 128 << 20

    /// Opens a file and reads the GGUF header inside.
    /// - Parameter threadCount: threads that reading one tensor may take; `nil` for one per processor.
    /// - Throws: `FormatError` naming what is damaged: the seek table, the header, or a frame.
    public init(path: String, threadCount: Int? = nil) throws(FormatError) {
        try self.init(MappedFile(path: path).bytes, path: path, threadCount: threadCount)
    }

    package init(_ file: TensorBytes, path: String, threadCount: Int? = nil) throws(FormatError) {
        self.threadCount = threadCount ?? processorCount()
        files = [SourceFile(path: path, byteCount: file.count)]
        let header: GGUFHeader
        if SeekTable.isAtEnd(of: file.bytes) {
            let frames = try SeekableFrames(file, path: path)
            header = try Self.header(of: frames, threadCount: self.threadCount)
            content = .frames(frames)
        } else {
            let plain = try PlainZstd(file, path: path)
            header = plain.header
            content = .plain(plain)
        }
        do throws(FormatError) {
            if let count = try GGUFSplit.count(header.metadata), count > 1 {
                throw FormatError(.unsupported(what: "one compressed file of a model split into \(count)"))
            }
        } catch {
            throw error.at(path: path)
        }
        manifest = Manifest(
            format: .ggufZst, tensors: header.tensors, metadata: .gguf(header.metadata), byteOffsets: header.byteOffsets)
    }

    public func bytes(ofTensorAt index: Int) throws(FormatError) -> TensorBytes {
        try bytes(ofTensorAt: index, in: 0..<manifest.tensors[index].byteCount)
    }

    public func bytes(ofTensorAt index: Int, in range: Range<Int>) throws(FormatError) -> TensorBytes {
        let tensor = manifest.tensors[index]
        precondition(range.lowerBound >= 0 && range.upperBound <= tensor.byteCount, "range outside the tensor")
        let start = manifest.byteOffsets[index]
        let place = start + range.lowerBound..<start + range.upperBound
        return switch content {
        case .frames(let frames): try frames.content(place, threadCount: threadCount, tensor: tensor.name)
        case .plain(let plain): try plain.bytes()[place]
        }
    }

    /// Unpacks every frame and compares everything with everything: content checksums, hashes of the compressed bytes,
    /// sizes and checksums in the seek table. A flipped bit anywhere in a file of ours is found.
    /// - Parameter didCheck: called with the unpacked bytes of each frame that is good, from several threads; may end the
    ///   check by throwing.
    /// - Throws: `FormatError` naming the tensor whose frame is damaged, or the header, hashes or seek table.
    public func verify(didCheck: @Sendable (Int) throws -> Void = { _ in }) throws {
        switch content {
        case .plain(let plain): _ = try plain.bytes()
        // Every frame answers to the tables before it is unpacked.
        case .frames(let frames): try forEachFrame(frames) { _, bytes in try didCheck(bytes.byteCount) }
        }
    }

    /// The part of `verify` that unpacks nothing; whoever also reads every tensor has checked as much.
    /// - Throws: `FormatError` as `verify`.
    public func verifyStored() throws(FormatError) {
        guard case .frames(let frames) = content else { return }
        try frames.checkStored(threadCount: threadCount) { tensorName(atFrame: $0, frames.table) }
    }

    /// Bytes of the GGUF file inside. A file that stock `zstd` wrote is unpacked to tell.
    public func unpackedByteCount() throws(FormatError) -> Int {
        switch content {
        case .frames(let frames): frames.table.contentByteCount
        case .plain(let plain): try plain.bytes().count
        }
    }

    /// Writes the GGUF file inside, unpacking frames in parallel; exactly what `zstd -d` gives.
    /// - Parameter output: opened with `unpackedByteCount()`; the caller finishes it.
    public func unpack(to output: OutputFile) throws {
        switch content {
        case .frames(let frames):
            try forEachFrame(frames) { offset, bytes in try output.write(bytes, at: offset) }
        case .plain(let plain):
            let bytes = try plain.bytes()
            let step = 8 << 20
            for start in stride(from: 0, to: bytes.count, by: step) {
                let part = bytes[start..<min(start + step, bytes.count)]
                try output.write(part.bytes, at: start)
                part.discard()
            }
        }
    }

    private func forEachFrame(_ frames: SeekableFrames, _ body: @Sendable (Int, RawSpan) throws -> Void) throws {
        try inParallel(count: frames.table.entries.count, threadCount: threadCount) { index throws(any Error) in
            var failure: (any Error)?
            try frames.withContent(ofFrame: index, tensor: tensorName(atFrame: index, frames.table)) { bytes in
                do { try body(frames.table.contentOffsets[index], bytes) } catch { failure = error }
            }
            if let failure { throw failure }
            frames.file[frames.table.offsets[index]..<frames.table.offsets[index + 1]].discard()
        }
    }

    /// The tensor that a frame's content starts in; `nil` for the header and for frames without content.
    private func tensorName(atFrame index: Int, _ table: SeekTable) -> String? {
        guard table.entries[index].contentByteCount > 0 else { return nil }
        let offset = table.contentOffsets[index]
        var low = 0, high = manifest.byteOffsets.count
        while low < high {
            let middle = (low + high) / 2
            if manifest.byteOffsets[middle] <= offset { low = middle + 1 } else { high = middle }
        }
        return low == 0 ? nil : manifest.tensors[low - 1].name
    }

    /// Unpacks frames from the start until the header is complete.
    private static func header(of frames: SeekableFrames, threadCount: Int) throws(FormatError) -> GGUFHeader {
        let table = frames.table
        var frameCount = 0
        var needed = 0
        while true {
            // Twice as much each time, so that long headers are not parsed over and over.
            repeat { frameCount += 1 } while frameCount < table.entries.count && table.contentOffsets[frameCount] < needed
            let end = min(frameCount, table.entries.count)
            let byteCount = table.contentOffsets[end]
            let prefix = try frames.content(0..<byteCount, threadCount: threadCount, tensor: nil)
            do throws(FormatError) {
                return try GGUFHeader(prefix, fileByteCount: table.contentByteCount)
            } catch {
                // Only when the header goes on past these frames, and the file is long enough for it.
                guard case .truncated(let field, let missing, _) = error.reason, field != GGUFHeader.dataField,
                    missing <= UInt64(table.contentByteCount), end < table.entries.count, byteCount <= maxHeaderByteCount / 2
                else { throw error.at(path: frames.path) }
                needed = 2 * byteCount
            }
        }
    }
}
