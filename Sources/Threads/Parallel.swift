import Dispatch
import Synchronization

/// Calls `body` with every index below `count`, on at most `threadCount` threads, lower indices first.
///
/// After a failure no further index is started; of several failures the one with the lowest index is thrown, so that
/// the error does not depend on timing more than it must.
/// Threads take the next index when they are done with one, so uneven work is balanced; an index should be worth at
/// least some tens of microseconds.
package func inParallel<E: Error>(
    count: Int, threadCount: Int, _ body: @Sendable (Int) throws(E) -> Void
) throws(E) {
    let next = Atomic<Int>(0)
    let failure = Mutex<(index: Int, error: E)?>(nil)
    @Sendable func work() {
        while true {
            let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
            guard index < count else { return }
            do throws(E) {
                try body(index)
            } catch {
                failure.withLock { first in
                    if first.map({ index < $0.index }) ?? true { first = (index, error) }
                }
                next.store(count, ordering: .relaxed)
            }
        }
    }
    let threads = max(1, min(threadCount, count))
    if threads == 1 {
        work()
    } else {
        DispatchQueue.concurrentPerform(iterations: threads) { _ in work() }
    }
    if let (_, error) = failure.withLock({ $0 }) { throw error }
}
