import Formats
import Synchronization
import Threads

/// Writes a `.gguf.zst`: the frames of a GGUF layout, computed and compressed in parallel, written in order, read back.
///
/// Memory holds a few frames per thread. A run that is interrupted goes on after the last whole frame it wrote.
struct CompressedWriter {
    let file: FileLayout
    /// The tensors, by the index that the layout's places carry.
    let tensors: [LazyTensor]
    let output: Output
    let inputs: [FileIdentity]
    let threadCount: Int
    /// The state of an interrupted run, when a work directory keeps it.
    let journal: Journal?
    let progress: Progress

    /// - Returns: how many tensors an earlier run had finished.
    func write() throws -> Int {
        let pieces = file.framePieces(frameByteCount: output.frameByteCount)
        let part = try Output.creating(output.path) { () throws(FormatError) in
            try OutputFile(
                path: output.path, byteCount: nil, expectedByteCount: GGUFZst.maxByteCount(of: pieces),
                resume: journal?.isContinuation ?? false, keepsPart: journal != nil, inputs: inputs)
        }
        let levels = LevelChoices(tensors: tensors, requestedLevel: output.compressionLevel)
        let fresh = Mutex<Set<Int>>([])
        progress.begin(.writing, total: file.byteCount)
        let trailer = try GGUFZst.write(
            file, pieces: pieces, to: part, threadCount: threadCount, didWrite: { progress.advance(pieces[$0].byteCount) }
        ) { piece in
            try progress.checkCancellation()
            let tensor = tensors[file.tensors[piece.tensor!].index]  // the header's frames are not asked for
            let bytes = try tensor.bytes(in: piece.range)
            fresh.withLock { _ = $0.insert(piece.tensor!) }
            return GGUFZst.FrameContent(bytes: bytes, level: try levels.choice(for: file.tensors[piece.tensor!].index).level)
        }
        try readBack(part, trailer: trailer)
        try part.finish()
        let computed = fresh.withLock { $0 }
        return file.tensors.indices.count { !computed.contains($0) && file.tensors[$0].info.byteCount > 0 }
    }

    /// Every frame must have the hash that it had in memory, and unpack to content with the checksum of what went in.
    private func readBack(_ part: OutputFile, trailer: [UInt8]) throws {
        progress.begin(.readingBack, total: file.byteCount)
        let bytes = try MappedFile(path: part.partPath).bytes
        guard bytes.count >= trailer.count, bytes[bytes.count - trailer.count..<bytes.count].array == trailer else {
            throw PipelineError.readBackMismatch(path: output.path, tensor: "", what: "the seek table differs")
        }
        do {
            try GGUFZstFile(path: part.partPath, threadCount: threadCount).verify { byteCount in
                try progress.checkCancellation()
                progress.advance(byteCount)
            }
        } catch let error as FormatError {
            guard case .corrupt = error.reason else { throw error }
            throw PipelineError.readBackMismatch(path: output.path, tensor: error.tensor ?? "", what: error.description)
        }
    }
}

/// How hard to compress each tensor, decided by a sample of it when first asked for.
final class LevelChoices: Sendable {
    private let tensors: [LazyTensor]
    private let requestedLevel: Int
    private let choices: Mutex<[Int: CompressionChoice]>

    init(tensors: [LazyTensor], requestedLevel: Int) {
        self.tensors = tensors
        self.requestedLevel = requestedLevel
        choices = Mutex([:])
    }

    /// Depends on the tensor's bytes and the level only, so two threads that ask at once get the same answer.
    func choice(for index: Int) throws -> CompressionChoice {
        if let known = choices.withLock({ $0[index] }) { return known }
        var sample: [UInt8] = []
        for range in CompressionChoice.sampleRanges(byteCount: tensors[index].info.byteCount) {
            sample += try tensors[index].bytes(in: range).array
        }
        let choice = try CompressionChoice(sampling: TensorBytes(sample), requestedLevel: requestedLevel)
        choices.withLock { $0[index] = choice }
        return choice
    }
}

extension LazyTensor {
    /// Some of the encoded bytes, which need not be whole rows.
    func bytes(in range: Range<Int>) throws -> TensorBytes {
        guard let rowByteCount = info.rowByteCount, rowByteCount > 0 else { return try rows(0..<info.rowCount)[range] }
        let first = range.lowerBound / rowByteCount
        let last = (range.upperBound + rowByteCount - 1) / rowByteCount
        let start = range.lowerBound - first * rowByteCount
        return try soundRows(first..<last)[start..<start + range.count]
    }
}
