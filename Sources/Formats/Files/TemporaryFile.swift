#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// A file without a name: it is gone when nobody uses it any more, however the process ends.
package final class TemporaryFile: Sendable {
    private let descriptor: Int32
    /// The folder it was made in.
    package let path: String

    /// Makes the file in `TMPDIR`, or in `/var/tmp`, which unlike `/tmp` is not kept in memory.
    package init() throws(FormatError) {
        // The environment is read once, into a string of our own.
        let folder = unsafe getenv("TMPDIR").map { unsafe String(cString: $0) } ?? "/var/tmp"
        var template = Array((folder + "/resq-XXXXXX").utf8CString)
        // mkstemp writes the name into the template, which is NUL-terminated and ours.
        let descriptor = unsafe template.withUnsafeMutableBufferPointer { unsafe mkstemp($0.baseAddress!) }
        guard descriptor >= 0 else { throw FormatError(.system(call: "mkstemp", errno: errno), path: folder) }
        _ = unsafe template.withUnsafeBufferPointer { unsafe unlink($0.baseAddress!) }
        self.descriptor = descriptor
        path = folder
    }

    deinit { close(descriptor) }

    /// Writes bytes at an offset.
    func write(_ bytes: RawSpan, at offset: Int) throws(FormatError) {
        try writeAll(descriptor, bytes, at: offset, path: path)
    }

    /// Fails when the file system has not this much room left.
    package func checkRoom(for byteCount: Int) throws(FormatError) {
        try checkDisk(descriptor, needed: byteCount, path: path)
    }

    /// Another descriptor of the file, for the caller to close.
    package func duplicated() throws(FormatError) -> Int32 {
        let copy = dup(descriptor)
        guard copy >= 0 else { throw FormatError(.system(call: "dup", errno: errno), path: path) }
        return copy
    }

    /// Everything written so far, mapped; it stays when the file object goes.
    func mapped(as path: String) throws(FormatError) -> MappedFile {
        try MappedFile(descriptor: descriptor, path: path)
    }
}
