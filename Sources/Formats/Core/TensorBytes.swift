/// A shared, read-only run of bytes: a slice of a mapped file or of a buffer of our own.
///
/// Copying a `TensorBytes` copies a reference; the memory lives as long as any slice of it.
public struct TensorBytes: Sendable {
    private let storage: any ByteStorage
    private let range: Range<Int>

    /// Bytes in this slice.
    public var count: Int { range.count }

    /// All of a storage's bytes.
    public init(_ storage: any ByteStorage) {
        self.storage = storage
        self.range = 0..<storage.byteCount
    }

    /// Bytes copied from an array.
    public init(_ bytes: [UInt8]) {
        self.init(ArrayStorage(bytes))
    }

    private init(storage: any ByteStorage, range: Range<Int>) {
        self.storage = storage
        self.range = range
    }

    /// A part of these bytes, sharing their memory. The range counts from this slice's start.
    public subscript(_ part: Range<Int>) -> TensorBytes {
        precondition(part.lowerBound >= 0 && part.upperBound <= count, "slice outside the tensor's bytes")
        return TensorBytes(storage: storage, range: range.lowerBound + part.lowerBound..<range.lowerBound + part.upperBound)
    }

    /// The bytes, valid while `self` is.
    public var bytes: RawSpan {
        @_lifetime(borrow self)
        get { storage.bytes(in: range, borrowedFrom: self) }
    }

    /// The bytes, copied into an array.
    public var array: [UInt8] {
        let span = bytes
        return unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            // The buffer holds `count` bytes, as does the span.
            unsafe span.withUnsafeBytes { source in
                unsafe UnsafeMutableRawBufferPointer(buffer).copyMemory(from: source)
            }
            initialized = span.byteCount
        }
    }

    /// Whether the bytes start at a multiple of `alignment` in memory, so that they can be looked at as numbers that long.
    package func isAligned(to alignment: Int) -> Bool {
        let start = unsafe storage.baseAddress.map { Int(bitPattern: $0) } ?? 0
        return (start + range.lowerBound) % alignment == 0
    }

    /// Tells the storage that this slice will not be read again soon, so that mapped pages can be dropped.
    public func discard() { storage.discard(range) }
}

/// Memory that `TensorBytes` can point into: it never moves and never changes while anyone holds it.
public protocol ByteStorage: AnyObject, Sendable {
    var byteCount: Int { get }
    /// The start of the memory; valid as long as the object lives. `nil` only when there are no bytes.
    var baseAddress: UnsafeRawPointer? { get }
    /// A hint that a range will not be read again soon.
    func discard(_ range: Range<Int>)
}

extension ByteStorage {
    public func discard(_ range: Range<Int>) {}

    @_lifetime(borrow owner)
    fileprivate func bytes(in range: Range<Int>, borrowedFrom owner: borrowing TensorBytes) -> RawSpan {
        // `owner` holds a strong reference to this storage, whose memory neither moves nor changes.
        let buffer = unsafe UnsafeRawBufferPointer(start: baseAddress.map { unsafe $0 + range.lowerBound }, count: range.count)
        return unsafe _overrideLifetime(buffer.bytes, borrowing: owner)
    }
}

/// Heap memory, filled once and then shared.
// @unchecked: the memory is written only inside `init`, before anyone else holds the object.
@safe public final class ArrayStorage: ByteStorage, @unchecked Sendable {
    private let memory: UnsafeMutableRawBufferPointer
    public var byteCount: Int { unsafe memory.count }
    public var baseAddress: UnsafeRawPointer? { unsafe UnsafeRawPointer(memory.baseAddress) }

    /// Allocates `byteCount` bytes, 64-byte aligned, and lets `fill` write them (they start as zeros).
    public init<E: Error>(byteCount: Int, fill: (inout MutableRawSpan) throws(E) -> Void) throws(E) {
        let allocation = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCount, alignment: 64)
        unsafe allocation.initializeMemory(as: UInt8.self, repeating: 0)
        unsafe memory = allocation
        // Nobody else can see the memory yet.
        var span = unsafe allocation.mutableBytes
        try fill(&span)
    }

    public convenience init(_ bytes: [UInt8]) {
        self.init(byteCount: bytes.count) { span in
            for index in bytes.indices { span.storeBytes(of: bytes[index], toByteOffset: index, as: UInt8.self) }
        }
    }

    deinit { unsafe memory.deallocate() }
}
