#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// A regular file mapped read-only into memory.
///
/// Nothing is read until the bytes are touched. Folders, FIFOs and devices are refused without waiting for them.
/// - Important: A file that someone else truncates while it is mapped kills the process (SIGBUS) when the lost part
///   is touched; no check beforehand can prevent that.
// @unchecked: the mapping is made in `init`, never written, and released in `deinit`.
@safe public final class MappedFile: ByteStorage, @unchecked Sendable {
    public let path: String
    public let byteCount: Int
    /// Which file this is, whatever it is called.
    public let identity: FileIdentity
    private let mapping: UnsafeMutableRawPointer?

    public var baseAddress: UnsafeRawPointer? { unsafe UnsafeRawPointer(mapping) }

    /// Maps the whole file.
    /// - Throws: `.system` when it cannot be opened or mapped, `.invalid` when it is not a regular file.
    public convenience init(path: String) throws(FormatError) {
        // O_NONBLOCK: opening a FIFO for reading would wait for a writer that may never come.
        let descriptor = try openFile(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        defer { close(descriptor) }
        try self.init(descriptor: descriptor, path: path)
    }

    /// Maps the whole of an open file, which may be closed afterwards.
    init(descriptor: Int32, path: String) throws(FormatError) {
        let status = try fileStatus(descriptor, path: path)
        guard status.kind == S_IFREG else { throw notARegularFile(status.kind, path: path) }
        self.path = path
        self.identity = status.identity
        self.byteCount = status.byteCount
        guard status.byteCount > 0 else {
            unsafe mapping = nil  // mmap refuses an empty range
            return
        }
        // The mapping covers exactly the bytes that fstat reported and is released once, in deinit.
        let address = unsafe mmap(nil, status.byteCount, PROT_READ, MAP_PRIVATE, descriptor, 0)
        guard let address = unsafe address, unsafe address != UnsafeMutableRawPointer(bitPattern: -1) else {
            throw FormatError(.system(call: "mmap", errno: errno), path: path)
        }
        unsafe mapping = address
    }

    deinit {
        if let mapping = unsafe mapping { unsafe munmap(mapping, byteCount) }
    }

    /// The whole file.
    public var bytes: TensorBytes { TensorBytes(self) }

    /// A hint that the file will be read from start to end.
    public func adviseSequential() { advise(0..<byteCount, MADV_SEQUENTIAL) }

    /// A hint that a range will be read soon.
    public func prefetch(_ range: Range<Int>) {
        let lower = range.lowerBound / pageSize * pageSize
        advise(lower..<range.upperBound, MADV_WILLNEED)
    }

    /// Drops the whole pages inside a range from memory; touching them again reads them again.
    public func discard(_ range: Range<Int>) {
        // Pages shared with a neighbour stay: somebody may be reading it.
        let lower = (range.lowerBound + pageSize - 1) / pageSize * pageSize
        let upper = range.upperBound == byteCount ? byteCount : range.upperBound / pageSize * pageSize
        if lower < upper { advise(lower..<upper, MADV_DONTNEED) }
    }

    private func advise(_ range: Range<Int>, _ advice: Int32) {
        guard let mapping = unsafe mapping, !range.isEmpty, range.upperBound <= byteCount else { return }
        // The range lies inside the mapping; MADV_DONTNEED on a read-only file mapping loses nothing.
        unsafe madvise(mapping + range.lowerBound, range.count, advice)
    }
}

private let pageSize = Int(sysconf(Int32(_SC_PAGESIZE)))
