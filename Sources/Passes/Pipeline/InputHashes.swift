import Formats
import Synchronization
import Threads

/// The SHA-256 of every input file, in order, computed in parallel over the files.
func hashes(of files: [SourceFile], threadCount: Int) throws(FormatError) -> [Digest] {
    let digests = Mutex([Digest?](repeating: nil, count: files.count))
    try inParallel(count: files.count, threadCount: threadCount) { index throws(FormatError) in
        let digest = Digest(streaming: try MappedFile(path: files[index].path).bytes)
        digests.withLock { $0[index] = digest }
    }
    return digests.withLock { $0.compactMap(\.self) }
}

extension Digest {
    /// The SHA-256 of the SHA-256s of some files, in order.
    public init(ofFiles files: [SourceFile], threadCount: Int) throws(FormatError) {
        self.init(of: try hashes(of: files, threadCount: threadCount))
    }
}
