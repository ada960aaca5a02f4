import Formats

/// Many short strings in one buffer, by index.
///
/// A vocabulary of a quarter million tokens is two allocations, and reading it from a GGUF array is one pass.
public struct StringTable: Sendable {
    /// All strings, one after another; each is valid UTF-8.
    private(set) var utf8: [UInt8] = []
    /// Where each string ends in `utf8`.
    private(set) var ends: [Int] = []

    public init() {}

    public init(_ strings: some Sequence<String>) {
        for string in strings { append(string) }
    }

    public var count: Int { ends.count }
    public var indices: Range<Int> { 0..<count }

    /// The string at an index.
    public subscript(index: Int) -> String {
        get {
            let range = range(at: index)
            // The buffer is only read inside the closure.
            return unsafe utf8.span.extracting(range).withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
        }
        set {
            let old = range(at: index)
            utf8.replaceSubrange(old, with: newValue.utf8)
            let shift = newValue.utf8.count - old.count
            if shift != 0 { for later in index..<count { ends[later] += shift } }
        }
    }

    public mutating func append(_ string: String) {
        utf8.append(contentsOf: string.utf8)
        ends.append(utf8.count)
    }

    /// Appends bytes that need not be UTF-8, for tables that are only searched.
    mutating func append(bytes: [UInt8]) {
        utf8 += bytes
        ends.append(utf8.count)
    }

    /// Where the string at an index stands in `utf8`.
    func range(at index: Int) -> Range<Int> { (index == 0 ? 0 : ends[index - 1])..<ends[index] }

    /// Whether two strings have the same bytes (Swift's `==` would take different spellings of "é" for equal).
    func isEqual(at index: Int, to string: String) -> Bool {
        let range = range(at: index)
        return range.count == string.utf8.count && string.utf8.elementsEqual(utf8[range])
    }
}

extension StringTable: Equatable {
    public static func == (a: StringTable, b: StringTable) -> Bool { a.ends == b.ends && a.utf8 == b.utf8 }
}

extension StringTable {
    /// Reads a GGUF array of strings.
    /// - Throws: `.invalidKey` when it holds something else or bytes that are not UTF-8.
    init(_ array: GGUFArray, key: String) throws(ModelError) {
        guard array.elementType == .string else {
            throw ModelError(.invalidKey(key: key, found: "an array of \(array.elementType)", expected: "an array of strings"))
        }
        let bytes = array.encoded.bytes
        utf8.reserveCapacity(max(0, bytes.byteCount - 8 * array.count))
        ends.reserveCapacity(min(array.count, bytes.byteCount / 8))
        var reader = ByteReader(bytes)
        for index in 0..<array.count {
            do {
                let length = try reader.integer(UInt64.self, "length of string \(index)")
                let range = try reader.take(length, "string \(index)")
                append(bytes, range)
            } catch {
                throw ModelError(.invalidKey(key: key, found: error.description, expected: "\(array.count) strings"))
            }
            let text = Span<UInt8>(_bytes: bytes).extracting(reader.offset - range(at: index).count..<reader.offset)
            guard (try? UTF8Span(validating: text)) != nil else {
                throw ModelError(
                    .invalidKey(key: "\(key)[\(index)]", found: "bytes that are not UTF-8", expected: "a UTF-8 string"))
            }
        }
    }

    private mutating func append(_ bytes: RawSpan, _ range: Range<Int>) {
        // The buffer is only read inside the closure.
        unsafe bytes.extracting(range).withUnsafeBytes { unsafe utf8.append(contentsOf: $0) }
        ends.append(utf8.count)
    }
}

/// Finds strings of a `StringTable` by their bytes, and parts of strings without making them.
struct StringIndex: Sendable {
    private let utf8: [UInt8]
    private let ends: [Int]
    /// Open addressing: the index of a string plus one, or zero.
    private var slots: [Int32]
    private let mask: Int

    /// Indexes all strings. `duplicate` is told of each string that stood earlier already, which keeps its first index.
    init(_ table: StringTable, duplicate: (_ first: Int, _ second: Int) -> Void = { _, _ in }) {
        utf8 = table.utf8
        ends = table.ends
        var capacity = 16
        while capacity < table.count * 2 { capacity *= 2 }
        mask = capacity - 1
        slots = [Int32](repeating: 0, count: capacity)
        for index in table.indices {
            let range = table.range(at: index)
            var slot = Int(truncatingIfNeeded: Self.hash(of: utf8.span.extracting(range))) & mask
            while slots[slot] != 0 {
                let other = Int(slots[slot]) - 1
                if isEqual(other, utf8.span.extracting(range)) {
                    duplicate(other, index)
                    break
                }
                slot = (slot + 1) & mask
            }
            if slots[slot] == 0 { slots[slot] = Int32(index + 1) }
        }
    }

    /// The index of the string with these bytes.
    func find(_ bytes: Span<UInt8>) -> Int? { find(bytes, hash: Self.hash(of: bytes)) }

    /// The same, with the hash known.
    func find(_ bytes: Span<UInt8>, hash: UInt64) -> Int? {
        var slot = Int(truncatingIfNeeded: hash) & mask
        while slots[slot] != 0 {
            let index = Int(slots[slot]) - 1
            if isEqual(index, bytes) { return index }
            slot = (slot + 1) & mask
        }
        return nil
    }

    func find(_ string: String) -> Int? { find(string.utf8Span.span) }

    /// FNV-1a, its bits stirred so that the low ones depend on all.
    static func hash(of bytes: Span<UInt8>) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for index in bytes.indices { hash = (hash ^ UInt64(bytes[index])) &* 0x100_0000_01B3 }
        return hash ^ hash >> 32
    }

    private func isEqual(_ index: Int, _ bytes: Span<UInt8>) -> Bool {
        let start = index == 0 ? 0 : ends[index - 1]
        guard ends[index] - start == bytes.count else { return false }
        for offset in bytes.indices where utf8[start + offset] != bytes[offset] { return false }
        return true
    }
}
