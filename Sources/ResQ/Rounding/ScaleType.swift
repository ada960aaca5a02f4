/// The number format in which scales are stored. Grids fix their scales as numbers of that format, so that what GPTQ rounds
/// against is what a reader of the file computes.
public enum ScaleType: String, Sendable, CaseIterable {
    case float32, float16, bfloat16

    /// The nearest finite number of the format, halves to even.
    public func rounded(_ value: Float) -> Float {
        switch self {
        case .float32: value
        case .bfloat16: Self.rounded(value, droppedBits: 16)
        case .float16:
            // Below 2^-14 all numbers of the format are multiples of 2^-24.
            if abs(value) < 0x1p-14 {
                (value * 0x1p24).rounded(.toNearestOrEven) * 0x1p-24
            } else {
                min(max(Self.rounded(value, droppedBits: 13), -65504), 65504)
            }
        }
    }

    private static func rounded(_ value: Float, droppedBits: UInt32) -> Float {
        let bits = value.bitPattern
        let half = (1 << (droppedBits - 1)) as UInt32 - 1
        let rounded = (bits &+ half &+ (bits >> droppedBits & 1)) & ~((1 << droppedBits) - 1)
        let result = Float(bitPattern: rounded)
        return result.isFinite ? result : Float(bitPattern: bits & ~((1 << droppedBits) - 1))
    }
}
