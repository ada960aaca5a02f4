import Formats
import Synchronization
import Testing
import Threads

@Suite struct ParallelTests {
    struct Failed: Error { let index: Int }

    @Test(arguments: [1, 2, 7]) func visitsEveryIndexOnce(threadCount: Int) {
        let seen = Mutex([Int](repeating: 0, count: 1000))
        inParallel(count: 1000, threadCount: threadCount) { index in seen.withLock { $0[index] += 1 } }
        #expect(seen.withLock { $0 } == [Int](repeating: 1, count: 1000))
    }

    @Test func stopsAtAFailureAndThrowsIt() {
        let started = Atomic<Int>(0)
        #expect(throws: Failed.self) {
            try inParallel(count: 1_000_000, threadCount: 2) { index throws(Failed) in
                started.wrappingAdd(1, ordering: .relaxed)
                if index == 10 { throw Failed(index: index) }
            }
        }
        #expect(started.load(ordering: .relaxed) < 1_000_000)
    }
}
