import CLinux
import Foundation
import Formats
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// A child process whose three standard streams are pipes of ours.
///
/// One thread may write to its input while another reads its outputs.
// @unchecked: `Process` and `FileHandle` are only asked for what is safe from any thread: descriptors, and whether the
// process still runs.
final class ChildProcess: @unchecked Sendable {
    private let process = Process()
    private let inputPipe = Pipe()
    private let outputPipe = Pipe()
    private let errorPipe = Pipe()
    private let isErrorOpen = Atomic(true)

    /// Starts a program.
    /// - Throws: Foundation's error when it cannot be started.
    init(_ executable: String, _ arguments: [String]) throws {
        process.executableURL = URL(fileURLWithPath: executable)
        process.arguments = arguments
        process.standardInput = inputPipe
        process.standardOutput = outputPipe
        process.standardError = errorPipe
        try process.run()
        #if os(Linux)
        // Larger than what the system gives, so that fewer calls carry a tensor. Where it is refused, it stays small.
        let (setPipeSize, pipeByteCount) = (Int32(RESQ_F_SETPIPE_SZ), Int32(1 << 20))
        _ = fcntl(inputPipe.fileHandleForWriting.fileDescriptor, setPipeSize, pipeByteCount)
        _ = fcntl(outputPipe.fileHandleForReading.fileDescriptor, setPipeSize, pipeByteCount)
        #endif
    }

    var isRunning: Bool { process.isRunning }

    /// How a process that no longer runs has ended.
    var ending: String {
        switch process.terminationReason {
        case .uncaughtSignal: "was ended by signal \(process.terminationStatus)"
        default: "exited with code \(process.terminationStatus)"
        }
    }

    /// Bytes of memory of its own that the process takes now; `nil` where that cannot be told.
    var memoryByteCount: Int? {
        guard let status = try? String(contentsOfFile: "/proc/\(process.processIdentifier)/status", encoding: .utf8) else { return nil }
        let line = status.split(separator: "\n").first { $0.hasPrefix("RssAnon:") }
        return line?.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap { Int($0) }.map { $0 << 10 }
    }

    /// Ends the process, and what it started in its process group, at once.
    func kill() {
        let identifier = process.processIdentifier
        guard identifier > 1, process.isRunning else { return }
        // Where the child leads no group there is none of that number.
        _ = killSignal(-identifier)
        _ = killSignal(identifier)
    }

    private func killSignal(_ target: pid_t) -> Int32 {
        #if canImport(Glibc)
        Glibc.kill(target, SIGKILL)
        #elseif canImport(Musl)
        Musl.kill(target, SIGKILL)
        #else
        Darwin.kill(target, SIGKILL)
        #endif
    }

    /// Keeps the calling thread from being sent `SIGPIPE`, which would end this process, when the child no longer reads.
    static func blockBrokenPipeSignal() {
        var signals = sigset_t()
        // The set lives across the calls, which only read and write it.
        unsafe sigemptyset(&signals)
        unsafe sigaddset(&signals, SIGPIPE)
        _ = unsafe pthread_sigmask(SIG_BLOCK, &signals, nil)
    }

    /// Writes all of some bytes to the child's input, waiting as long as that takes.
    /// - Returns: whether the child took them.
    func write(_ bytes: RawSpan) -> Bool {
        let descriptor = inputPipe.fileHandleForWriting.fileDescriptor
        // The buffer is read during the call only, inside its bounds.
        return unsafe bytes.withUnsafeBytes { buffer in
            var start = 0
            while start < buffer.count {
                let rest = unsafe UnsafeRawBufferPointer(rebasing: buffer[start...])
                let count = unsafe writeBytes(descriptor, rest.baseAddress, rest.count)
                if count > 0 {
                    start += count
                } else if errno != EINTR {
                    return false
                }
            }
            return true
        }
    }

    /// Tells the child that nothing more comes.
    func closeInput() { try? inputPipe.fileHandleForWriting.close() }

    /// Waits until one of the outputs has something or ends.
    func wait(milliseconds: Int32) -> (output: Bool, errors: Bool) {
        let errors = isErrorOpen.load(ordering: .relaxed) ? errorPipe.fileHandleForReading.fileDescriptor : -1
        var descriptors = [
            pollfd(fd: outputPipe.fileHandleForReading.fileDescriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: errors, events: Int16(POLLIN), revents: 0),
        ]
        // The array holds as many as the call is told.
        let count = unsafe poll(&descriptors, 2, milliseconds)
        guard count > 0 else { return (false, false) }
        return (descriptors[0].revents != 0, descriptors[1].revents != 0)
    }

    /// Reads what there is of the child's output into the end of a buffer.
    /// - Returns: bytes read; 0 when the output has ended.
    func readOutput(into target: inout MutableRawSpan, from start: Int) -> Int {
        let descriptor = outputPipe.fileHandleForReading.fileDescriptor
        // Writes inside the buffer only, during the call.
        return unsafe target.withUnsafeMutableBytes { buffer in
            while true {
                let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[start...])
                let count = unsafe read(descriptor, rest.baseAddress, rest.count)
                if count >= 0 { return count }
                if errno != EINTR { return 0 }
            }
        }
    }

    /// Reads what there is of the child's standard error.
    func readErrors() -> [UInt8] {
        let descriptor = errorPipe.fileHandleForReading.fileDescriptor
        let capacity = 1 << 16
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
            // The buffer has this capacity.
            count = max(0, unsafe read(descriptor, buffer.baseAddress, capacity))
        }
        if bytes.isEmpty { isErrorOpen.store(false, ordering: .relaxed) }
        return bytes
    }
}
