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
        let digests = Mutex([Digest?](repeating: nil, count: pieces.count))
        let places = Dictionary(uniqueKeysWithValues: pieces.indices.map { (pieces[$0], $0) })
        progress.begin(.writing, byteCount: file.byteCount)
        try GGUFZst.write(
            file, pieces: pieces, to: part, threadCount: threadCount, didWrite: { progress.advance(pieces[$0].byteCount) }
        ) { piece in
            try progress.checkCancellation()
            let tensor = tensors[file.tensors[piece.tensor!].index]  // the header's frames are not asked for
            let bytes = try tensor.bytes(in: piece.range)
            let digest = Digest(of: bytes)
            digests.withLock { $0[places[piece]!] = digest }
            return GGUFZst.FrameContent(bytes: bytes, level: try levels.choice(for: file.tensors[piece.tensor!].index).level)
        }
        let written = digests.withLock { $0 }
        try readBack(part, pieces, written)
        try part.finish()
        let fresh = Set(pieces.indices.filter { written[$0] != nil }.compactMap { pieces[$0].tensor })
        return file.tensors.indices.count { !fresh.contains($0) && file.tensors[$0].info.byteCount > 0 }
    }

    private func readBack(_ part: OutputFile, _ pieces: [FramePiece], _ digests: [Digest?]) throws {
        progress.begin(.readingBack, byteCount: file.byteCount)
        try part.synchronize()
        let source = try GGUFZstFile(path: part.partPath, threadCount: 1)
        try inParallel(count: pieces.count, threadCount: threadCount) { index throws(any Error) in
            try progress.checkCancellation()
            defer { progress.advance(pieces[index].byteCount) }
            guard let place = pieces[index].tensor else { return }
            // Unpacking checks the frame's own checksum, which is all there is for frames of an earlier run.
            let bytes = try source.bytes(ofTensorAt: place, in: pieces[index].range)
            guard digests[index].map({ $0 == Digest(of: bytes) }) ?? true else {
                throw PipelineError.readBackMismatch(
                    path: output.path, tensor: file.tensors[place].info.name,
                    what: "bytes \(pieces[index].range) are not what was written")
            }
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
