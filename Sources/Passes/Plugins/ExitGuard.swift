import Foundation
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Tells who ended the program when a shared object calls `exit`: nobody else could, and the status would be the object's own.
enum ExitGuard {
    /// What each thread that is inside a plugin would be reported with.
    private static let inside = Mutex<[ObjectIdentifier: PluginError]>([:])
    private static let registered: Void = { _ = atexit { ExitGuard.report() } }()

    /// The calling thread goes into a plugin.
    static func enter(_ error: PluginError) {
        _ = registered
        inside.withLock { $0[ObjectIdentifier(Thread.current)] = error }
    }

    /// The calling thread has come back.
    static func leave() { _ = inside.withLock { $0.removeValue(forKey: ObjectIdentifier(Thread.current)) } }

    /// Runs on the thread that called `exit`; that of another which ends the program has come back.
    private static func report() {
        guard let error = inside.withLock({ $0[ObjectIdentifier(Thread.current)] }) else { return }
        let line = Array("error: \(error)\n".utf8)
        // The array is this long.
        _ = unsafe line.withUnsafeBytes { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
        _exit(65)
    }
}
