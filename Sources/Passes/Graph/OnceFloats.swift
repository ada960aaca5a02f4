import Formats
import Synchronization

/// A small tensor that many rows need whole (a norm's gain, a LoRA factor): decoded at first use, then shared.
final class OnceFloats: Sendable {
    let tensor: LazyTensor
    private let offset: Float
    private let decoded = Mutex<[Float]?>(nil)

    /// - Parameter offset: added to every element, e.g. 1 for norms that store their gain minus one.
    init(_ tensor: LazyTensor, offset: Float = 0) {
        self.tensor = tensor
        self.offset = offset
    }

    func values() throws -> [Float] {
        try decoded.withLock { decoded in
            if let decoded { return decoded }
            let values = try floats(of: tensor).map { $0 + offset }
            decoded = values
            return values
        }
    }
}
