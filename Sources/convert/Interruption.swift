import Dispatch
import Passes

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Turns Ctrl-C and a polite kill into an orderly end of a run, which takes its unfinished files away.
///
/// A second Ctrl-C ends the process at once.
final class Interruption {
    private let sources: [any DispatchSourceSignal]

    init(stopping progress: Progress) {
        sources = [SIGINT, SIGTERM].map { number in
            // The default action would end the process before the source sees the signal.
            _ = signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler {
                progress.cancel()
                _ = signal(number, SIG_DFL)
            }
            source.resume()
            return source
        }
    }

    /// Gives the signals their usual meaning back.
    func end() {
        for source in sources { source.cancel() }
        for number in [SIGINT, SIGTERM] { _ = signal(number, SIG_DFL) }
    }
}
