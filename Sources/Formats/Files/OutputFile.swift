import CKernels
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// A file being written: it grows as the sibling `.NAME.part` and takes its name only when it is complete.
///
/// A killed writer thus never leaves anything that looks finished. One target has one writer at a time (flock).
/// Writes at positions may come from several threads at once. Dropped unfinished, the part is removed, unless
/// `keepsPart` was asked for, so that a later run can go on with it.
public final class OutputFile: Sendable {
    /// Where the file will stand once finished.
    public let path: String
    /// Where it stands until then.
    public let partPath: String
    /// Bytes of the part that an earlier run left and this one goes on with; 0 when it starts afresh.
    public let resumedByteCount: Int

    private let descriptor: Int32
    private let keepsPart: Bool
    private let isFinished = Atomic<Bool>(false)
    private let unsyncedByteCount = Atomic<Int>(0)
    private let appendOffset: Mutex<Int>

    /// Checks the disk, locks the target and opens its part.
    /// - Parameters:
    ///   - byteCount: bytes of the finished file; its blocks are reserved now. `nil` for a file that grows by `append`.
    ///   - expectedByteCount: for a growing file, the room to insist on.
    ///   - resume: go on with a part that an earlier run left. Its contents are for the caller to judge.
    ///   - keepsPart: leave the part in place when dropped unfinished.
    ///   - inputs: files that must not be written over.
    /// - Throws: `.diskFull` when the room is not there; `.invalid` when the target is an input, is no regular file, or
    ///   is being written by someone else; `.system` otherwise.
    public init(
        path: String, byteCount: Int?, expectedByteCount: Int = 0, resume: Bool = false, keepsPart: Bool = false,
        inputs: [FileIdentity] = []
    ) throws(FormatError) {
        let (folder, name) = folderAndName(of: path)
        guard !name.isEmpty, name != ".", name != ".." else {
            throw FormatError(.invalid(field: "output path", found: path, expected: "a file name"), path: path)
        }
        if let target = pathStatus(path) {
            guard target.kind == S_IFREG else { throw notARegularFile(target.kind, path: path) }
            guard !inputs.contains(target.identity) else {
                throw FormatError(.invalid(field: "the output", found: "one of the inputs", expected: "another file"), path: path)
            }
        }
        let partPath = folder + "." + name + ".part"
        let descriptor = try lockedPart(partPath, target: path)
        do throws(FormatError) {
            let found = try fileStatus(descriptor, path: partPath)
            if !resume { try setLength(descriptor, 0, path: partPath) }
            let reserved = resume ? found.allocatedByteCount : 0
            try checkDisk(descriptor, needed: (byteCount ?? expectedByteCount) - reserved, path: path)
            if let byteCount { try reserve(descriptor, byteCount, path: path) }
            resumedByteCount = resume ? found.byteCount : 0
        } catch {
            if !keepsPart { unsafe unlink(partPath) }
            close(descriptor)
            throw error
        }
        self.path = path
        self.partPath = partPath
        self.descriptor = descriptor
        self.keepsPart = keepsPart
        self.appendOffset = Mutex(resumedByteCount)
    }

    /// Checks that one file system has room for several files that are written together.
    /// - Parameters:
    ///   - files: all in one folder, which exists.
    ///   - resume: whether the disk that parts of an interrupted run take counts as there.
    ///   - includesSingleFile: checks one file too, for those who open it much later.
    /// - Throws: `.diskFull` with the bytes of all of them.
    public static func checkRoom(
        for files: [(path: String, byteCount: Int)], resume: Bool, includesSingleFile: Bool = false
    ) throws(FormatError) {
        // A single file checks itself when it is opened.
        guard files.count > (includesSingleFile ? 0 : 1) else { return }
        var needed = 0
        for file in files {
            let (folder, name) = folderAndName(of: file.path)
            let part = resume ? pathStatus(folder + "." + name + ".part")?.allocatedByteCount ?? 0 : 0
            let (sum, overflow) = needed.addingReportingOverflow(max(0, file.byteCount - part))
            needed = overflow ? .max : sum
        }
        let (folder, _) = folderAndName(of: files[0].path)
        // What is wrong with a folder that cannot be opened, whoever makes the files finds out.
        guard let descriptor = try? openFile(folder.isEmpty ? "." : folder, O_RDONLY | O_CLOEXEC) else { return }
        defer { close(descriptor) }
        try checkDisk(descriptor, needed: needed, path: folder.isEmpty ? "." : folder)
    }

    deinit {
        // The part goes before the lock does, so that nobody else's part is removed.
        if !isFinished.load(ordering: .acquiring) && !keepsPart { unsafe unlink(partPath) }
        // A child that was forked, and has not begun its program yet, shares the lock; closing alone would leave it locked.
        flock(descriptor, LOCK_UN)
        close(descriptor)
    }

    /// Writes bytes at an offset. Safe to call from several threads for ranges that do not overlap.
    public func write(_ bytes: RawSpan, at offset: Int) throws(FormatError) {
        try writeAll(descriptor, bytes, at: offset, path: path)
        startWriteback(bytes.byteCount)
    }

    /// Writes bytes after everything appended (or resumed) so far.
    /// - Returns: the offset they were written at.
    @discardableResult public func append(_ bytes: RawSpan) throws(FormatError) -> Int {
        let count = bytes.byteCount
        let offset = appendOffset.withLock { next in
            defer { next += count }
            return next
        }
        try write(bytes, at: offset)
        return offset
    }

    /// Cuts the file, so that the next `append` starts at `byteCount`.
    public func truncate(to byteCount: Int) throws(FormatError) {
        try setLength(descriptor, byteCount, path: path)
        appendOffset.withLock { $0 = byteCount }
    }

    /// Reads back what stands in the part.
    /// - Throws: `.truncated` when the part is shorter.
    public func read(_ range: Range<Int>) throws(FormatError) -> TensorBytes {
        let available = try fileStatus(descriptor, path: path).byteCount
        guard range.lowerBound >= 0, range.upperBound <= available else {
            let reason = FormatError.Reason.truncated(
                field: "the part", needed: UInt64(range.count), available: UInt64(max(0, available - range.lowerBound)))
            throw FormatError(reason, path: path, byteOffset: UInt64(max(0, range.lowerBound)))
        }
        return TensorBytes(try ArrayStorage(byteCount: range.count) { (target: inout MutableRawSpan) throws(FormatError) in
            var done = 0
            while done < range.count {
                // The buffer stays inside the span, which lives through the call.
                let count = unsafe target.withUnsafeMutableBytes { buffer in
                    unsafe pread(descriptor, buffer.baseAddress! + done, range.count - done, off_t(range.lowerBound + done))
                }
                if count > 0 { done += count; continue }
                if count < 0 && errno == EINTR { continue }
                throw FormatError(.system(call: "read", errno: count < 0 ? errno : EIO), path: path)
            }
        })
    }

    /// Waits until everything written so far is on the disk, so that a record elsewhere may say so.
    public func synchronize() throws(FormatError) {
        while fsync(descriptor) != 0 {
            if errno != EINTR { throw FormatError(.system(call: "fsync", errno: errno), path: path) }
        }
    }

    /// Makes the file complete: waits for the disk, renames the part, and makes the name durable too.
    public func finish() throws(FormatError) {
        precondition(!isFinished.load(ordering: .acquiring), "finished twice")
        try synchronize()
        guard unsafe rename(partPath, path) == 0 else {
            throw FormatError(.system(call: "rename", errno: errno), path: path)
        }
        isFinished.store(true, ordering: .releasing)
        let (folder, _) = folderAndName(of: path)
        let folderDescriptor = try openFile(folder.isEmpty ? "." : folder, O_RDONLY | O_CLOEXEC)
        defer { close(folderDescriptor) }
        // Some file systems cannot sync a folder and say EINVAL; their renames need no sync.
        if fsync(folderDescriptor) != 0 && errno != EINVAL && errno != EINTR {
            throw FormatError(.system(call: "fsync", errno: errno), path: path)
        }
    }

    /// Makes a finished file a part again, so that a run which was interrupted right after the rename can go on with it.
    ///
    /// Does nothing when there is a part, or no file of `byteCount` bytes.
    public static func takeNameBack(path: String, byteCount: Int) throws(FormatError) {
        let (folder, name) = folderAndName(of: path)
        let partPath = folder + "." + name + ".part"
        guard pathStatus(partPath) == nil, let found = pathStatus(path), found.kind == S_IFREG, found.byteCount == byteCount else { return }
        // Both paths are copied for the call.
        guard unsafe rename(path, partPath) == 0 else { throw FormatError(.system(call: "rename", errno: errno), path: path) }
    }

    /// Writes a small file in one go: `init`, `write`, `finish`.
    public static func write(_ bytes: RawSpan, to path: String, inputs: [FileIdentity] = []) throws(FormatError) {
        let file = try OutputFile(path: path, byteCount: bytes.byteCount, inputs: inputs)
        try file.write(bytes, at: 0)
        try file.finish()
    }

    /// Lets the disk begin early, so that the sync at the end is short.
    private func startWriteback(_ byteCount: Int) {
        let step = 32 << 20
        let (before, after) = unsyncedByteCount.add(byteCount, ordering: .relaxed)
        if before / step != after / step { resq_start_writeback(descriptor, 0, 0) }
    }
}

/// The folder of a path, with its slash (empty for a bare name), and the name after it.
private func folderAndName(of path: String) -> (folder: String, name: String) {
    guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return ("", path) }
    let start = path.utf8.index(after: slash)
    return (String(path[..<start]), String(path[start...]))
}

/// Opens and locks a part, and makes sure that the locked file is the one that still has the name.
private func lockedPart(_ partPath: String, target: String) throws(FormatError) -> Int32 {
    while true {
        // O_NONBLOCK for a FIFO of that name, O_NOFOLLOW for a link planted there.
        let flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK
        let descriptor = try openFile(partPath, flags, mode: 0o666)
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let number = errno
            close(descriptor)
            if number == EINTR { continue }
            guard number == EWOULDBLOCK else { throw FormatError(.system(call: "flock", errno: number), path: partPath) }
            let reason = FormatError.Reason.invalid(
                field: "the output", found: "being written by another process", expected: "one writer at a time")
            throw FormatError(reason, path: target)
        }
        // Between open and flock another writer may have finished and renamed this very file to its target.
        guard let locked = try? fileStatus(descriptor, path: partPath), let named = pathStatus(partPath),
            locked.identity == named.identity
        else {
            close(descriptor)
            continue
        }
        guard locked.kind == S_IFREG else {
            close(descriptor)
            throw notARegularFile(locked.kind, path: partPath)
        }
        return descriptor
    }
}

/// Writes all of some bytes at an offset: interrupted and short writes go on.
package func writeAll(_ descriptor: Int32, _ bytes: RawSpan, at offset: Int, path: String) throws(FormatError) {
    precondition(offset >= 0, "negative file offset")
    var done = 0
    while done < bytes.byteCount {
        let remaining = bytes.byteCount - done
        // The buffer stays inside the span, which lives through the call.
        let count = unsafe bytes.withUnsafeBytes { buffer in
            unsafe pwrite(descriptor, buffer.baseAddress! + done, remaining, off_t(offset + done))
        }
        if count > 0 { done += count; continue }
        if count < 0 && errno == EINTR { continue }
        guard count < 0 && errno != ENOSPC else {
            throw FormatError(.diskFull(needed: UInt64(remaining), available: freeByteCount(descriptor)), path: path)
        }
        throw FormatError(.system(call: "write", errno: errno), path: path, byteOffset: UInt64(offset + done))
    }
}

private func setLength(_ descriptor: Int32, _ byteCount: Int, path: String) throws(FormatError) {
    while ftruncate(descriptor, off_t(byteCount)) != 0 {
        if errno != EINTR { throw FormatError(.system(call: "ftruncate", errno: errno), path: path) }
    }
}

private func reserve(_ descriptor: Int32, _ byteCount: Int, path: String) throws(FormatError) {
    try setLength(descriptor, byteCount, path: path)
    guard byteCount > 0 else { return }
    switch resq_reserve(descriptor, Int64(byteCount)) {
    case ENOSPC:
        throw FormatError(.diskFull(needed: UInt64(byteCount), available: freeByteCount(descriptor)), path: path)
    default: break  // no support: the blocks come with the writes
    }
}

/// Bytes that an unprivileged user may still write to the file system of an open file.
private func freeByteCount(_ descriptor: Int32) -> UInt64 {
    var status = statvfs()
    guard unsafe fstatvfs(descriptor, &status) == 0 else { return 0 }
    return UInt64(status.f_bavail).multipliedReportingOverflow(by: UInt64(status.f_frsize)).partialValue
}

func checkDisk(_ descriptor: Int32, needed: Int, path: String) throws(FormatError) {
    let available = freeByteCount(descriptor)
    guard needed <= 0 || UInt64(needed) <= available else {
        throw FormatError(.diskFull(needed: UInt64(needed), available: available), path: path)
    }
}
