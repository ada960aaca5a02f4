import Synchronization

/// The frames that were unpacked last, for readers that take a tensor in runs smaller than a frame.
///
/// Two threads that want the same frame unpack it once: the second waits for the first.
package final class FrameCache: Sendable {
    private final class Slot: Sendable {
        let index: Int
        let content = Mutex<TensorBytes?>(nil)

        init(_ index: Int) { self.index = index }
    }

    /// The most recently used first.
    private let slots = Mutex<[Slot]>([])
    private let capacity: Int

    /// - Parameter capacity: frames to keep; what readers still hold lives on without the cache.
    package init(capacity: Int) { self.capacity = capacity }

    /// The content of a frame, from memory or from `unpack`.
    package func content(of index: Int, unpack: () throws(FormatError) -> TensorBytes) throws(FormatError) -> TensorBytes {
        let slot = slots.withLock { slots in
            let slot: Slot
            if let place = slots.firstIndex(where: { $0.index == index }) {
                slot = slots.remove(at: place)
            } else {
                slot = Slot(index)
                if slots.count >= capacity { slots.removeLast() }
            }
            slots.insert(slot, at: 0)
            return slot
        }
        return try slot.content.withLock { content throws(FormatError) in
            if let content { return content }
            let unpacked = try unpack()
            content = unpacked
            return unpacked
        }
    }
}
