import CZstd
import Synchronization

// The only file that calls libzstd. Pointers are passed for the length of one call, with the counts of the spans they
// come from; contexts are made in `init` and freed in `deinit`.

/// Turns bytes into one zstd frame at a time. For one thread at a time.
// @unchecked: `ContextPool` hands a context to one thread and takes it back when that thread is done.
@safe final class ZstdCompressor: @unchecked Sendable {
    /// Frames up to this size need no larger window than every decoder allows.
    static let maxFrameByteCount = 1 << 27
    private let context: OpaquePointer

    init() throws(FormatError) {
        guard let context = unsafe ZSTD_createCCtx() else { throw FormatError(.system(call: "ZSTD_createCCtx", errno: 12)) }
        unsafe self.context = context
    }

    deinit { unsafe ZSTD_freeCCtx(context) }

    /// One frame with its content size and checksum. Equal input and level give equal bytes.
    func compress(_ source: RawSpan, level: Int) throws(FormatError) -> [UInt8] {
        precondition(source.byteCount > 0 && source.byteCount <= Self.maxFrameByteCount, "frame size out of range")
        // A window as large as the content gives a frame without window descriptor, whose every header bit is checkable.
        let windowLog = max(10, Int.bitWidth - (source.byteCount - 1).leadingZeroBitCount)
        try set(ZSTD_c_compressionLevel, max(level, Int(ZSTD_minCLevel())))
        try set(ZSTD_c_windowLog, windowLog)
        try set(ZSTD_c_checksumFlag, 1)
        let bound = ZSTD_compressBound(source.byteCount)
        var result = 0
        let frame = unsafe [UInt8](unsafeUninitializedCapacity: bound) { buffer, count in
            result = unsafe source.withUnsafeBytes { input in
                unsafe ZSTD_compress2(context, buffer.baseAddress, bound, input.baseAddress, input.count)
            }
            count = ZSTD_isError(result) == 0 ? result : 0
        }
        try check(result, "compressing")
        return frame
    }

    private func set(_ parameter: ZSTD_cParameter, _ value: Int) throws(FormatError) {
        try check(unsafe ZSTD_CCtx_setParameter(context, parameter, Int32(clamping: value)), "setting up the compressor")
    }
}

/// Turns zstd frames back into bytes. For one thread at a time.
// @unchecked: as `ZstdCompressor`.
@safe final class ZstdDecompressor: @unchecked Sendable {
    private let context: OpaquePointer
    // Memory of our own, filled with zeros when it is made, used again for frame after frame.
    private var scratch = unsafe UnsafeMutableRawBufferPointer(start: nil, count: 0)

    init() throws(FormatError) {
        guard let context = unsafe ZSTD_createDCtx() else { throw FormatError(.system(call: "ZSTD_createDCtx", errno: 12)) }
        unsafe self.context = context
    }

    deinit {
        unsafe ZSTD_freeDCtx(context)
        unsafe scratch.deallocate()
    }

    private func makeScratch(byteCount: Int) {
        guard unsafe scratch.count < byteCount else { return }
        unsafe scratch.deallocate()
        unsafe scratch = .allocate(byteCount: byteCount, alignment: 64)
        unsafe scratch.initializeMemory(as: UInt8.self, repeating: 0)
    }

    /// Unpacks one whole frame that must fill `target` exactly. The frame's checksum is verified.
    func decompress(_ frame: RawSpan, into target: inout MutableRawSpan) throws(FormatError) {
        let expected = target.byteCount
        let result = unsafe target.withUnsafeMutableBytes { output in
            unsafe frame.withUnsafeBytes { input in
                unsafe ZSTD_decompressDCtx(context, output.baseAddress, output.count, input.baseAddress, input.count)
            }
        }
        try check(result, "a zstd frame")
        guard result == expected else {
            throw FormatError(.corrupt(what: "the size of a zstd frame's content", expected: "\(expected)", found: "\(result)"))
        }
    }

    /// Unpacks one whole frame of `byteCount` bytes into memory that is used again for the next.
    func withDecompressed<E: Error>(
        _ frame: RawSpan, byteCount: Int, _ body: (RawSpan) throws(E) -> Void
    ) throws(FormatError) -> Result<Void, E> {
        makeScratch(byteCount: byteCount)
        var target = unsafe UnsafeMutableRawBufferPointer(rebasing: scratch[0..<byteCount]).mutableBytes
        try decompress(frame, into: &target)
        do throws(E) {
            return .success(try body(target.bytes))
        } catch {
            return .failure(error)
        }
    }

    /// Unpacks frames piece by piece, for content whose size is not known beforehand.
    /// - Parameter body: gets the content in order, some at a time, and says whether it wants more.
    /// - Returns: what `body` said last.
    func stream(_ frame: RawSpan, _ body: (RawSpan) throws(FormatError) -> Bool) throws(FormatError) -> Bool {
        unsafe ZSTD_DCtx_reset(context, ZSTD_reset_session_only)
        let chunkByteCount = ZSTD_DStreamOutSize()
        makeScratch(byteCount: chunkByteCount)
        var consumed = 0
        var hint = 1
        while hint != 0 {
            var produced = 0
            let start = consumed
            hint = unsafe frame.withUnsafeBytes { source in
                var outBuffer = unsafe ZSTD_outBuffer(dst: scratch.baseAddress, size: scratch.count, pos: 0)
                var inBuffer = unsafe ZSTD_inBuffer(src: source.baseAddress, size: source.count, pos: start)
                let result = unsafe ZSTD_decompressStream(context, &outBuffer, &inBuffer)
                unsafe (produced, consumed) = (outBuffer.pos, inBuffer.pos)
                return result
            }
            try check(hint, "a zstd frame")
            guard try body(unsafe UnsafeRawBufferPointer(rebasing: scratch[0..<produced]).bytes) else { return false }
            guard hint == 0 || produced > 0 || consumed > start else {
                throw FormatError(.corrupt(what: "a zstd frame", expected: "a whole frame", found: "its beginning"))
            }
        }
        return true
    }
}

/// Keeps contexts between uses: making one takes longer than unpacking a small frame.
final class ContextPool<Context: Sendable>: Sendable {
    private let idle = Mutex<[Context]>([])

    func use<T, E: Error>(
        make: () throws(E) -> Context, _ body: (Context) throws(E) -> T
    ) throws(E) -> T {
        let context = if let ready = idle.withLock({ $0.popLast() }) { ready } else { try make() }
        defer { idle.withLock { $0.append(context) } }
        return try body(context)
    }
}

/// What the first bytes of a zstd frame say, and how long the frame is.
struct ZstdFrame {
    static let magic: UInt32 = 0xFD2F_B528
    /// Bytes of the frame, checksum included.
    let byteCount: Int
    /// Bytes of its content; `nil` when the frame does not say.
    let contentByteCount: Int?
    /// The low half of the content's XXH64, as stored at the frame's end.
    let checksum: UInt32

    /// Reads the frame at the start of `bytes`, which may go on after it, and follows its blocks without unpacking them.
    /// - Throws: `.corrupt` for bytes that are no frame, a frame that is cut short, or one without checksum.
    init(_ bytes: RawSpan) throws(FormatError) {
        guard bytes.byteCount >= 9, bytes.littleEndian(UInt32.self, at: 0) == Self.magic else {
            throw FormatError(.corrupt(what: "the start of a zstd frame", expected: "28 b5 2f fd", found: "something else"))
        }
        // Bits 0-1: dictionary; 2: checksum; 3: reserved; 4: unused, ignored by decoders, so that a flip would go unseen.
        let descriptor = bytes.littleEndian(UInt8.self, at: 4)
        guard descriptor & 0b11011 == 0 else {
            throw FormatError(.corrupt(what: "a zstd frame's descriptor", expected: "no dictionary, no reserved bits", found: "\(descriptor)"))
        }
        guard descriptor & 0b100 != 0 else { throw FormatError(.unsupported(what: "a zstd frame without checksum")) }
        let (length, content) = unsafe bytes.withUnsafeBytes { buffer in
            unsafe (
                ZSTD_findFrameCompressedSize(buffer.baseAddress, buffer.count),
                ZSTD_getFrameContentSize(buffer.baseAddress, buffer.count)
            )
        }
        try check(length, "a zstd frame")
        byteCount = length
        contentByteCount = Int(exactly: content)  // the two highest values mean "unknown" and "error"
        checksum = bytes.littleEndian(at: length - 4)
    }
}

/// Bytes that a frame of this much content takes at most.
func zstdBound(_ byteCount: Int) -> Int { ZSTD_compressBound(byteCount) }

private func check(_ result: Int, _ what: String) throws(FormatError) {
    guard ZSTD_isError(result) != 0 else { return }
    // libzstd's error names are string constants.
    let name = unsafe ZSTD_getErrorName(result).map { unsafe String(cString: $0) } ?? "error"
    throw FormatError(.corrupt(what: what, expected: "valid data", found: name))
}
