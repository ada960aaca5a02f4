/// The key-value pairs of a GGUF file, in file order, each key once.
///
/// Unknown keys are kept as they are, types included, so that they survive a round trip.
public struct GGUFMetadata: Sendable {
    public private(set) var keys: [String] = []
    private var values: [ExactString: GGUFValue] = [:]

    public init() {}

    /// The value of a key. Setting a new key appends it; setting `nil` removes it.
    public subscript(key: String) -> GGUFValue? {
        get { values[ExactString(key)] }
        set {
            if let newValue {
                if values.updateValue(newValue, forKey: ExactString(key)) == nil { keys.append(key) }
            } else if values.removeValue(forKey: ExactString(key)) != nil {
                keys.removeAll { ExactString($0) == ExactString(key) }
            }
        }
    }

    public var count: Int { keys.count }
}

/// A typed GGUF value. The type is part of the value: runtimes refuse a `u32` where they want an `i32`.
public enum GGUFValue: Sendable, Equatable {
    case u8(UInt8), i8(Int8), u16(UInt16), i16(Int16), u32(UInt32), i32(Int32), u64(UInt64), i64(Int64)
    case f32(Float), f64(Double)
    case bool(Bool)
    case string(String)
    case array(GGUFArray)

    /// The number that GGUF gives the type.
    public var type: GGUFValueType {
        switch self {
        case .u8: .u8
        case .i8: .i8
        case .u16: .u16
        case .i16: .i16
        case .u32: .u32
        case .i32: .i32
        case .u64: .u64
        case .i64: .i64
        case .f32: .f32
        case .f64: .f64
        case .bool: .bool
        case .string: .string
        case .array: .array
        }
    }

    /// Any integer type, as an `Int`; `nil` for other types or when it does not fit.
    public var integer: Int? {
        switch self {
        case .u8(let v): Int(v)
        case .i8(let v): Int(v)
        case .u16(let v): Int(v)
        case .i16(let v): Int(v)
        case .u32(let v): Int(v)
        case .i32(let v): Int(v)
        case .u64(let v): Int(exactly: v)
        case .i64(let v): Int(v)
        default: nil
        }
    }

    /// Any number, as a `Double`.
    public var number: Double? {
        switch self {
        case .f32(let v): Double(v)
        case .f64(let v): v
        default: integer.map(Double.init)
        }
    }

    public var string: String? { if case .string(let v) = self { v } else { nil } }
    public var bool: Bool? { if case .bool(let v) = self { v } else { nil } }
    public var array: GGUFArray? { if case .array(let v) = self { v } else { nil } }
}

/// Value types by their number in the file.
public enum GGUFValueType: UInt32, Sendable, CaseIterable {
    case u8 = 0, i8 = 1, u16 = 2, i16 = 3, u32 = 4, i32 = 5, f32 = 6, bool = 7, string = 8, array = 9, u64 = 10, i64 = 11, f64 = 12

    /// Bytes of one value; `nil` for strings and arrays, whose values carry their own length.
    public var byteCount: Int? {
        switch self {
        case .u8, .i8, .bool: 1
        case .u16, .i16: 2
        case .u32, .i32, .f32: 4
        case .u64, .i64, .f64: 8
        case .string, .array: nil
        }
    }
}

/// An array of one type, kept as the bytes of the file until someone wants its elements.
///
/// A vocabulary of a quarter million strings thus costs nothing to open and to copy.
/// The bytes were validated when the file was opened: lengths fit and strings are UTF-8.
public struct GGUFArray: Sendable, Equatable {
    public let elementType: GGUFValueType
    public let count: Int
    /// The elements as they stand in the file (little-endian; a string is a u64 byte count, then its bytes).
    public let encoded: TensorBytes

    /// Wraps bytes that are known to hold `count` elements.
    package init(elementType: GGUFValueType, count: Int, encoded: TensorBytes) {
        self.elementType = elementType
        self.count = count
        self.encoded = encoded
    }

    public static func == (a: GGUFArray, b: GGUFArray) -> Bool {
        a.elementType == b.elementType && a.count == b.count && a.encoded.array == b.encoded.array
    }
}
