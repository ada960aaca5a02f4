#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// A file's identity on this machine: two paths with the same identity are the same file.
public struct FileIdentity: Sendable, Hashable {
    let device: UInt64
    let inode: UInt64

    /// The file behind a path, links followed; `nil` when there is none.
    public init?(path: String) {
        guard let status = pathStatus(path) else { return nil }
        self = status.identity
    }

    init(device: UInt64, inode: UInt64) {
        self.device = device
        self.inode = inode
    }
}

/// What `stat` knows of a file.
struct FileStatus {
    let identity: FileIdentity
    /// The S_IFMT part of the mode.
    let kind: mode_t
    let byteCount: Int
    /// Bytes of disk that the file takes.
    let allocatedByteCount: Int

    fileprivate init(_ status: stat) {
        identity = FileIdentity(device: UInt64(truncatingIfNeeded: status.st_dev), inode: UInt64(status.st_ino))
        kind = status.st_mode & S_IFMT
        byteCount = Int(status.st_size)
        allocatedByteCount = Int(status.st_blocks) * 512
    }
}

// In this file the C library gets pointers to NUL-terminated paths and to one `stat`, all valid for the call.

/// Opens a file and retries when a signal interrupts.
func openFile(_ path: String, _ flags: Int32, mode: mode_t = 0) throws(FormatError) -> Int32 {
    // A path with a NUL inside would silently name another file.
    guard !path.utf8.contains(0) else {
        throw FormatError(.invalid(field: "path", found: "a NUL byte", expected: "none"), path: path)
    }
    while true {
        let descriptor = unsafe open(path, flags, mode)
        if descriptor >= 0 { return descriptor }
        if errno != EINTR { throw FormatError(.system(call: "open", errno: errno), path: path) }
    }
}

func fileStatus(_ descriptor: Int32, path: String) throws(FormatError) -> FileStatus {
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0 else { throw FormatError(.system(call: "fstat", errno: errno), path: path) }
    return FileStatus(status)
}

func pathStatus(_ path: String) -> FileStatus? {
    var status = stat()
    return unsafe stat(path, &status) == 0 ? FileStatus(status) : nil
}

func notARegularFile(_ kind: mode_t, path: String) -> FormatError {
    let found =
        switch kind {
        case S_IFDIR: "a folder"
        case S_IFIFO: "a FIFO"
        case S_IFCHR, S_IFBLK: "a device"
        case S_IFSOCK: "a socket"
        default: "something else"
        }
    return FormatError(.invalid(field: "the path", found: found, expected: "a regular file"), path: path)
}
