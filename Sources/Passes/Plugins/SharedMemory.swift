import CLinux
import Formats
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

#if os(Linux)

/// Memory that a plugin's process sees too, so that tensors need not go through a pipe. Its size is sealed: nobody can shorten it
/// under the other.
// @unchecked: one holder at a time writes, before the plugin is asked or never; `SharedMemoryPool` hands it on when it is let go.
@safe final class SharedMemory: @unchecked Sendable {
    /// Where the plugin finds it. The number that tells it from any other of this run.
    let path: String
    let number: Int
    let byteCount: Int
    private let descriptor: Int32
    private let memory: UnsafeMutableRawPointer

    /// - Returns: `nil` where the system gives none.
    init?(byteCount: Int, number: Int) {
        // The name is copied for the call and only shown in lists of what is mapped.
        descriptor = unsafe memfd_create("resq", UInt32(RESQ_MFD_CLOEXEC | RESQ_MFD_ALLOW_SEALING))
        guard descriptor >= 0 else { return nil }
        let isSized = ftruncate(descriptor, off_t(byteCount)) == 0
            && fcntl(descriptor, Int32(RESQ_F_ADD_SEALS), Int32(RESQ_F_SEAL_SEAL | RESQ_F_SEAL_SHRINK | RESQ_F_SEAL_GROW)) == 0
        let mapped = unsafe isSized ? mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0) : MAP_FAILED
        guard let mapped = unsafe mapped, unsafe mapped != MAP_FAILED else {
            close(descriptor)
            return nil
        }
        unsafe memory = unsafe mapped
        self.byteCount = byteCount
        self.number = number
        path = "/proc/\(getpid())/fd/\(descriptor)"
    }

    deinit {
        unsafe munmap(memory, byteCount)
        close(descriptor)
    }

    /// Copies bytes to a place.
    func put(_ bytes: RawSpan, at offset: Int) {
        precondition(offset >= 0 && bytes.byteCount <= byteCount - offset, "bytes past the end of shared memory")
        unsafe bytes.withUnsafeBytes { source in
            // The precondition keeps the copy inside the memory.
            if let start = source.baseAddress { unsafe (memory + offset).copyMemory(from: start, byteCount: source.count) }
        }
    }

    /// Where the memory starts; valid as long as the object lives.
    fileprivate var start: UnsafeRawPointer { unsafe UnsafeRawPointer(memory) }
}

/// Shared memory of one plugin, used again when nobody looks at it any more.
final class SharedMemoryPool: Sendable {
    private struct State {
        var free: [SharedMemory] = []
        var number = 0
        /// Numbers of memory that was let go and of which the plugin has not been told.
        var gone: [Int] = []
    }

    private let state = Mutex(State())

    /// Memory of at least so many bytes, which may hold anything; `nil` where the system gives none.
    func take(_ byteCount: Int) -> SharedMemory? {
        state.withLock { state in
            if let place = state.free.firstIndex(where: { $0.byteCount >= byteCount }) { return state.free.remove(at: place) }
            // What is too small now will be too small again: most steps of a model are alike.
            if !state.free.isEmpty { state.gone.append(state.free.removeFirst().number) }
            state.number += 1
            return SharedMemory(byteCount: ((byteCount + (1 << 20) - 1) >> 20) << 20, number: state.number)
        }
    }

    /// The numbers of memory that was let go since the last call.
    func takeGone() -> [Int] {
        state.withLock { state in
            defer { state.gone = [] }
            return state.gone
        }
    }

    fileprivate func give(back memory: SharedMemory) { state.withLock { $0.free.append(memory) } }

    /// Holds memory for as long as somebody looks at the bytes in it.
    // @unchecked: the memory is not written while this lives.
    @safe final class Lease: ByteStorage, @unchecked Sendable {
        let memory: SharedMemory
        private let pool: SharedMemoryPool

        init(_ memory: SharedMemory, of pool: SharedMemoryPool) { (self.memory, self.pool) = (memory, pool) }

        deinit { pool.give(back: memory) }

        var byteCount: Int { memory.byteCount }
        var baseAddress: UnsafeRawPointer? { unsafe memory.start }
    }
}

#endif
