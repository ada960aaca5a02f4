/// A GGUF file put together by hand, field by field, so that it can be as wrong as a test wants.
public struct GGUFBytes: Sendable {
    public var bytes: [UInt8] = []

    public init(magic: String = "GGUF", version: UInt32 = 3, tensors: Int64 = 0, keys: Int64 = 0) {
        bytes += Array(magic.utf8)
        append(version)
        append(tensors)
        append(keys)
    }

    public mutating func append<T: FixedWidthInteger>(_ number: T) {
        var rest = number
        for _ in 0..<MemoryLayout<T>.size {
            bytes.append(UInt8(truncatingIfNeeded: rest))
            rest >>= T(8)
        }
    }

    public mutating func append(_ string: String) {
        append(UInt64(string.utf8.count))
        bytes += Array(string.utf8)
    }

    /// A key, its type and the bytes of its value.
    public mutating func key(_ key: String, type: UInt32, _ value: [UInt8]) {
        append(key)
        append(type)
        bytes += value
    }

    public mutating func alignment(_ alignment: UInt32) {
        append("general.alignment")
        append(UInt32(4))
        append(alignment)
    }

    /// A tensor info; dimensions in the order of the file, fastest first.
    public mutating func tensor(_ name: String, dimensions: [Int64], type: UInt32 = 0, offset: UInt64 = 0) {
        append(name)
        append(UInt32(dimensions.count))
        for dimension in dimensions { append(dimension) }
        append(type)
        append(offset)
    }

    public mutating func pad(to alignment: Int) {
        while bytes.count % alignment != 0 { bytes.append(0) }
    }
}
