import Formats
import Synchronization
import Threads

/// Fills a layout with the bytes of its tensors, proves what stands on the disk, and only then gives the files their
/// names.
///
/// Every piece is computed once, hashed (XXH64), written at its place, and let go: memory holds one piece per thread.
/// After the last one, every piece is read back from the file and hashed again. Pieces are independent, so the bytes do
/// not depend on the number of threads.
struct ArtifactWriter {
    let layout: ArtifactLayout
    /// When the inputs are not hashed yet: that is done beside the writing, and the headers are written last.
    var pending: PendingHeaders?
    /// The tensors, by the index that the layout's places carry.
    let tensors: [LazyTensor]
    /// The output file, or the folder that holds the files when they have names.
    let path: String
    let inputs: [FileIdentity]
    let threadCount: Int
    let journal: Journal?
    let progress: Progress

    /// Bytes of a piece: large enough to amortise a write, small enough to keep memory flat, and as large as the frames
    /// of a compressed source, so that threads seldom wait for the same one.
    static let pieceByteCount = FileLayout.defaultFrameByteCount

    /// - Returns: how many tensors an earlier run had finished.
    func write() throws -> Int {
        try takeNamesBack()
        try OutputFile.checkRoom(for: layout.files.map { (path(of: $0), $0.byteCount) }, resume: journal != nil)
        let files = try layout.files.map { file in
            let path = self.path(of: file)
            return try Output.creating(path) { () throws(FormatError) in
                try OutputFile(
                    path: path, byteCount: file.byteCount, resume: journal != nil, keepsPart: journal != nil, inputs: inputs)
            }
        }
        let pieces = layout.pieces(ofAbout: Self.pieceByteCount)
        let byTensor = Dictionary(grouping: pieces.indices) { pieces[$0].tensor }
        let hashes = Mutex([UInt64?](repeating: nil, count: pieces.count))
        progress.begin(.writing, total: pieces.reduce(0) { $0 + $1.byteCount })

        let resumed = try finishedEarlier(files: files, pieces: pieces, byTensor: byTensor, hashes: hashes)
        try writePieces(pieces, byTensor: byTensor, to: files, hashes: hashes, skipping: resumed)
        let layout = try pending.map { try $0.layout($0.hashes.all) } ?? layout
        precondition(layout.files.map(\.header.count) == self.layout.files.map(\.header.count), "headers changed their length")
        try writeHeaders(layout, to: files)

        progress.begin(.readingBack, total: pieces.reduce(0) { $0 + $1.byteCount })
        try readBack(layout, pieces, from: files, hashes: hashes.withLock { $0 })
        try giveNames(files)
        return resumed.count
    }

    /// Hashes what the journal says was finished; what does not match is done again.
    private func finishedEarlier(
        files: [OutputFile], pieces: [Piece], byTensor: [Int: [Int]], hashes: borrowing Mutex<[UInt64?]>
    ) throws -> Set<Int> {
        var finished: Set<Int> = []
        for entry in journal?.finished ?? [] {
            guard let indices = byTensor[entry.tensor], pieces[indices[0]].file == entry.file,
                entry.chain == Digest(of: tensors[entry.tensor].chain)
            else { continue }
            let file = files[entry.file]
            guard file.resumedByteCount == layout.files[entry.file].byteCount else { continue }
            let found = try indices.map { index in
                let piece = pieces[index]
                let bytes = try file.read(piece.byteOffset..<piece.byteOffset + piece.byteCount)
                return xxh64(bytes.bytes)
            }
            guard Digest(ofHashes: found) == entry.digest else { continue }
            hashes.withLock { hashes in
                for (index, hash) in zip(indices, found) { hashes[index] = hash }
            }
            finished.insert(entry.tensor)
            progress.advance(indices.reduce(0) { $0 + pieces[$1].byteCount })
        }
        return finished
    }

    private func writeHeaders(_ layout: ArtifactLayout, to files: [OutputFile]) throws {
        for (file, layout) in zip(files, layout.files) {
            try file.write(layout.header.bytes, at: 0)
            // What an unknown part left between the tensors must not survive as padding.
            guard file.resumedByteCount > 0 else { continue }
            var end = layout.header.count
            for tensor in layout.tensors.sorted(by: { $0.byteOffset < $1.byteOffset }) {
                try file.writeZeros(end..<tensor.byteOffset)
                end = tensor.byteOffset + tensor.info.byteCount
            }
            try file.writeZeros(end..<layout.byteCount)
        }
    }

    private func writePieces(
        _ pieces: [Piece], byTensor: [Int: [Int]], to files: [OutputFile], hashes: borrowing Mutex<[UInt64?]>,
        skipping resumed: Set<Int>
    ) throws {
        let todo = pieces.indices.filter { !resumed.contains(pieces[$0].tensor) }
        // Files to hash come first: each keeps one thread busy for long.
        let hashing = pending?.hashes.files.count ?? 0
        let remaining = Mutex(byTensor.mapValues(\.count))
        // Mutex cannot be captured by an escaping closure; this one does not escape the call.
        try inParallel(count: hashing + todo.count, threadCount: threadCount) { number throws(any Error) in
            try progress.checkCancellation()
            guard number >= hashing else { return try pending!.hashes.hash(number, progress: progress) }
            let index = todo[number - hashing]
            let piece = pieces[index]
            let bytes = try tensors[piece.tensor].soundRows(piece.rows)
            try files[piece.file].write(bytes.bytes, at: piece.byteOffset)
            let hash = xxh64(bytes.bytes)
            hashes.withLock { $0[index] = hash }
            progress.advance(piece.byteCount)
            let isLast = remaining.withLock { remaining in
                remaining[piece.tensor]! -= 1
                return remaining[piece.tensor] == 0
            }
            if isLast, let journal {
                let all = hashes.withLock { hashes in byTensor[piece.tensor]!.map { hashes[$0]! } }
                try journal.record(
                    Journal.Entry(
                        file: piece.file, tensor: piece.tensor, chain: Digest(of: tensors[piece.tensor].chain),
                        digest: Digest(ofHashes: all)))
            }
        }
    }

    private func readBack(
        _ layout: ArtifactLayout, _ pieces: [Piece], from files: [OutputFile], hashes: [UInt64?]
    ) throws {
        let contents = try zip(files, layout.files).map { file, layout in
            let content = try MappedFile(path: file.partPath).bytes
            guard content.count == layout.byteCount, content[0..<layout.header.count].bytes.isEqual(to: layout.header.bytes) else {
                throw PipelineError.readBackMismatch(path: file.path, tensor: "", what: "the header differs")
            }
            return content
        }
        try inParallel(count: pieces.count, threadCount: threadCount) { index throws(any Error) in
            try progress.checkCancellation()
            let piece = pieces[index]
            let bytes = contents[piece.file][piece.byteOffset..<piece.byteOffset + piece.byteCount]
            guard xxh64(bytes.bytes) == hashes[index] else {
                throw PipelineError.readBackMismatch(
                    path: files[piece.file].path, tensor: tensors[piece.tensor].info.name,
                    what: "rows \(piece.rows.lowerBound) to \(piece.rows.upperBound - 1) are not what was written")
            }
            bytes.discard()
            progress.advance(piece.byteCount)
        }
    }
}

extension OutputFile {
    /// Writes zeros over a range, in runs.
    func writeZeros(_ range: Range<Int>) throws(FormatError) {
        let zeros = TensorBytes([UInt8](repeating: 0, count: min(range.count, 1 << 20)))
        var offset = range.lowerBound
        while offset < range.upperBound {
            let count = min(zeros.count, range.upperBound - offset)
            try write(zeros[0..<count].bytes, at: offset)
            offset += count
        }
    }
}
