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
    private struct State {
        /// What each thread that is inside a plugin would be reported with.
        var inside: [ObjectIdentifier: PluginError] = [:]
        var handlerCount = 0
    }

    private static let state = Mutex(State())
    private static let reporting = Mutex<Void>(())

    /// The calling thread goes into a plugin.
    static func enter(_ error: PluginError) {
        state.withLock { state in
            state.inside[ObjectIdentifier(Thread.current)] = error
            // Each thread that calls `exit` takes the next handler: without one for each, the second would end the program
            // with its own status while the first reports.
            guard state.handlerCount < state.inside.count, atexit({ ExitGuard.report() }) == 0 else { return }
            state.handlerCount += 1
        }
    }

    /// The calling thread has come back.
    static func leave() { _ = state.withLock { $0.inside.removeValue(forKey: ObjectIdentifier(Thread.current)) } }

    /// Runs on the thread that called `exit`; that of another which ends the program has come back.
    private static func report() {
        guard let error = state.withLock({ $0.inside[ObjectIdentifier(Thread.current)] }) else { return }
        let line = Array("error: \(error)\n".utf8)
        // Never left: whoever comes second waits for the end.
        reporting.withLock { _ in
            // The array is this long.
            _ = unsafe line.withUnsafeBytes { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
            _exit(65)
        }
    }
}
