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

/// The most memory of its own that this process was seen to use; mapped model files, which the system can drop, do not count.
final class MemoryGauge: Sendable {
    private let largest = Atomic<Int>(0)

    var peakByteCount: Int { largest.load(ordering: .relaxed) }

    /// Looks now.
    func sample() {
        _ = largest.max(MemoryGauge.currentByteCount(), ordering: .relaxed)
    }

    #if os(Linux)
    /// `RssAnon` of /proc/self/status, which gives kB.
    private static func currentByteCount() -> Int {
        guard let text = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
            let line = text.split(separator: "\n").first(where: { $0.hasPrefix("RssAnon:") }),
            let number = line.split(whereSeparator: { !$0.isNumber }).first.flatMap({ Int($0) })
        else { return 0 }
        return number * 1024
    }
    #else
    /// The largest resident size so far; mapped files count here.
    private static func currentByteCount() -> Int {
        var usage = rusage()
        return unsafe getrusage(RUSAGE_SELF, &usage) == 0 ? Int(usage.ru_maxrss) : 0
    }
    #endif
}
