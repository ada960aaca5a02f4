import Synchronization

/// The results of `body` for every index below `count`, in order, computed on at most `threadCount` threads.
///
/// Runs of indices are handed out, so that cheap bodies are worth a thread.
package func ordered<T: Sendable>(count: Int, threadCount: Int, _ body: @Sendable (Int) -> T) -> [T] {
    let run = max(1, count / (8 * max(1, threadCount)))
    let parts = Mutex([Int: [T]]())
    inParallel(count: (count + run - 1) / run, threadCount: threadCount) { index in
        let results = (index * run..<min(count, (index + 1) * run)).map(body)
        parts.withLock { $0[index] = results }
    }
    return parts.withLock { parts in parts.keys.sorted().flatMap { parts[$0] ?? [] } }
}
