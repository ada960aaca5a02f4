/// A Swift type that GGUF stores as array elements of a fixed size.
public protocol GGUFArrayElement: Sendable {
    static var elementType: GGUFValueType { get }
    /// The element's bits, in the low bytes.
    var encodedBits: UInt64 { get }
}

extension UInt8: GGUFArrayElement {
    public static var elementType: GGUFValueType { .u8 }
    public var encodedBits: UInt64 { UInt64(self) }
}
extension Int8: GGUFArrayElement {
    public static var elementType: GGUFValueType { .i8 }
    public var encodedBits: UInt64 { UInt64(truncatingIfNeeded: self) }
}
extension UInt16: GGUFArrayElement {
    public static var elementType: GGUFValueType { .u16 }
    public var encodedBits: UInt64 { UInt64(self) }
}
extension Int16: GGUFArrayElement {
    public static var elementType: GGUFValueType { .i16 }
    public var encodedBits: UInt64 { UInt64(truncatingIfNeeded: self) }
}
extension UInt32: GGUFArrayElement {
    public static var elementType: GGUFValueType { .u32 }
    public var encodedBits: UInt64 { UInt64(self) }
}
extension Int32: GGUFArrayElement {
    public static var elementType: GGUFValueType { .i32 }
    public var encodedBits: UInt64 { UInt64(truncatingIfNeeded: self) }
}
extension UInt64: GGUFArrayElement {
    public static var elementType: GGUFValueType { .u64 }
    public var encodedBits: UInt64 { self }
}
extension Int64: GGUFArrayElement {
    public static var elementType: GGUFValueType { .i64 }
    public var encodedBits: UInt64 { UInt64(bitPattern: self) }
}
extension Float: GGUFArrayElement {
    public static var elementType: GGUFValueType { .f32 }
    public var encodedBits: UInt64 { UInt64(bitPattern) }
}
extension Double: GGUFArrayElement {
    public static var elementType: GGUFValueType { .f64 }
    public var encodedBits: UInt64 { bitPattern }
}
extension Bool: GGUFArrayElement {
    public static var elementType: GGUFValueType { .bool }
    public var encodedBits: UInt64 { self ? 1 : 0 }
}

extension GGUFArray {
    /// An array of numbers or booleans; its GGUF type follows from the Swift type.
    public init<Element: GGUFArrayElement>(_ elements: [Element]) {
        let width = Element.elementType.byteCount ?? 0
        var encoded: [UInt8] = []
        encoded.reserveCapacity(elements.count * width)
        for element in elements { encoded.append(littleEndian: element.encodedBits, byteCount: width) }
        self.init(elementType: Element.elementType, count: elements.count, encoded: TensorBytes(encoded))
    }

    /// An array of strings.
    public init(strings: some Collection<String>) {
        var encoded: [UInt8] = []
        for string in strings { encoded.append(string: string) }
        self.init(elementType: .string, count: strings.count, encoded: TensorBytes(encoded))
    }

    /// Calls `body` with the UTF-8 bytes of each string in order, making no `String`. Does nothing for other types.
    public func forEachString<E: Error>(_ body: (RawSpan) throws(E) -> Void) throws(E) {
        guard elementType == .string else { return }
        let bytes = encoded.bytes
        var offset = 0
        for _ in 0..<count {
            // Lengths were checked when the array was made.
            let byteCount = Int(bytes.littleEndian(UInt64.self, at: offset))
            try body(bytes.extracting(offset + 8..<offset + 8 + byteCount))
            offset += 8 + byteCount
        }
    }

    /// The strings; `nil` for other types.
    public var strings: [String]? {
        guard elementType == .string else { return nil }
        var strings: [String] = []
        strings.reserveCapacity(count)
        forEachString { bytes in strings.append(bytes.string(in: 0..<bytes.byteCount) ?? "") }
        return strings
    }

    /// Integers of any width; `nil` for other types and when a u64 does not fit.
    public var integers: [Int]? {
        var integers: [Int] = []
        integers.reserveCapacity(count)
        for value in numericValues() {
            guard let integer = value.integer else { return nil }
            integers.append(integer)
        }
        return elementType == .string ? nil : integers
    }

    /// Numbers of any type as `Float` (f64 and wide integers are rounded); `nil` for strings and booleans.
    public var floats: [Float]? {
        var floats: [Float] = []
        floats.reserveCapacity(count)
        for value in numericValues() {
            if case .f32(let float) = value {
                floats.append(float)
            } else {
                guard let number = value.number else { return nil }
                floats.append(Float(number))
            }
        }
        return elementType == .string || elementType == .bool ? nil : floats
    }

    /// Booleans (any non-zero byte is true); `nil` for other types.
    public var bools: [Bool]? {
        elementType == .bool ? encoded.array.map { $0 != 0 } : nil
    }

    /// The first elements as values, for showing them.
    public func values(upTo limit: Int = .max) -> [GGUFValue] {
        guard elementType == .string else { return Array(numericValues().prefix(limit)) }
        var values: [GGUFValue] = []
        struct Enough: Error {}
        try? forEachString { bytes throws(Enough) in
            guard values.count < limit else { throw Enough() }
            values.append(.string(bytes.string(in: 0..<bytes.byteCount) ?? ""))
        }
        return values
    }

    /// Elements of a fixed size, one by one; none for strings.
    private func numericValues() -> some Sequence<GGUFValue> {
        let width = elementType.byteCount ?? 0
        return (0..<(width == 0 ? 0 : count)).lazy.map { index in
            let bytes = encoded.bytes
            let at = index * width
            return switch elementType {
            case .u8: .u8(bytes.littleEndian(at: at))
            case .i8: .i8(bytes.littleEndian(at: at))
            case .u16: .u16(bytes.littleEndian(at: at))
            case .i16: .i16(bytes.littleEndian(at: at))
            case .u32: .u32(bytes.littleEndian(at: at))
            case .i32: .i32(bytes.littleEndian(at: at))
            case .u64: .u64(bytes.littleEndian(at: at))
            case .i64: .i64(bytes.littleEndian(at: at))
            case .f32: .f32(Float(bitPattern: bytes.littleEndian(at: at)))
            case .f64: .f64(Double(bitPattern: bytes.littleEndian(at: at)))
            case .bool, .string, .array: .bool(bytes.littleEndian(UInt8.self, at: at) != 0)
            }
        }
    }
}

extension [UInt8] {
    /// Appends the low bytes of a number, lowest first.
    mutating func append(littleEndian bits: UInt64, byteCount: Int) {
        for index in 0..<byteCount { append(UInt8(truncatingIfNeeded: bits >> UInt64(8 * index))) }
    }

    mutating func append<T: FixedWidthInteger>(littleEndian number: T) {
        append(littleEndian: UInt64(truncatingIfNeeded: number), byteCount: MemoryLayout<T>.size)
    }

    /// Appends a GGUF string: its byte count as u64, then its UTF-8.
    mutating func append(string: String) {
        append(littleEndian: UInt64(string.utf8.count))
        append(contentsOf: string.utf8)
    }
}
