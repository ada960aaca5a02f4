import Foundation
import Formats

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// A folder that keeps the state of an interrupted run; one run at a time uses it.
final class WorkDirectory: Sendable {
    let path: String
    private let lock: Int32

    /// Creates the folder when missing and locks it for as long as the object lives.
    /// - Throws: `PipelineError.workDirectoryBusy` when another process holds it.
    init(path: String) throws {
        try createFolder(path)
        // The path is copied for the call.
        let descriptor = unsafe open(path + "/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw FormatError(.system(call: "open", errno: errno), path: path + "/lock") }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            close(descriptor)
            throw PipelineError.workDirectoryBusy(path: path)
        }
        self.path = path
        self.lock = descriptor
    }

    deinit {
        // A child that was forked, and has not begun its program yet, shares the lock; closing alone would leave it locked.
        flock(lock, LOCK_UN)
        close(lock)
    }
}
