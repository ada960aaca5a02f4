import Formats
import Synchronization
import Threads

/// The SHA-256 of every input file, each computed once, on whichever thread comes by.
final class InputHashes: Sendable {
    let files: [SourceFile]
    private let digests: Mutex<[Digest?]>

    init(of files: [SourceFile]) {
        self.files = files
        digests = Mutex([Digest?](repeating: nil, count: files.count))
    }

    /// Reads and hashes one file, from front to back.
    func hash(_ index: Int, progress: Progress) throws {
        let digest = try Digest(streaming: try MappedFile(path: files[index].path).bytes) { try progress.checkCancellation() }
        digests.withLock { $0[index] = digest }
    }

    /// Hashes all files, in parallel over the files, before anything else is done.
    func hashAll(threadCount: Int, progress: Progress) throws {
        progress.begin(.hashing, total: files.reduce(0) { $0 + $1.byteCount })
        try inParallel(count: files.count, threadCount: threadCount) { index throws(any Error) in
            try hash(index, progress: progress)
            progress.advance(files[index].byteCount)
        }
    }

    /// The digests in the order of the files, once all are hashed.
    var all: [Digest] { digests.withLock { $0.map { $0! } } }
}

/// Headers that name the hashes of the inputs, while those are still being computed.
///
/// A digest has a fixed length, so that every tensor's place is known before it is.
struct PendingHeaders: Sendable {
    let hashes: InputHashes
    /// The layout with the digests filled in.
    let layout: @Sendable ([Digest]) throws -> ArtifactLayout
}

extension Digest {
    /// The SHA-256 of the SHA-256s of some files, in order.
    public init(ofFiles files: [SourceFile], threadCount: Int) throws {
        let hashes = InputHashes(of: files)
        try hashes.hashAll(threadCount: threadCount, progress: Progress())
        self.init(of: hashes.all)
    }
}
