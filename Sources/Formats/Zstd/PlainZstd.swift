import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// A GGUF file that was compressed without a seek table, as stock `zstd` does it.
///
/// Opening unpacks no further than the GGUF header and compares what that declares with what the frames promise. The
/// tensors are unpacked when the first of them is asked for, into a temporary file without a name, and never past the
/// declared size: a small file that promises a large one costs nothing until somebody wants what it promises.
final class PlainZstd: Sendable {
    let header: GGUFHeader
    private let file: TensorBytes
    private let path: String
    private let frames: [PlainFrame]
    private let unpacked = Mutex<TensorBytes?>(nil)

    /// A header that is not complete within this many bytes is none; the largest known vocabularies take about 30 MB.
    private static let maxHeaderByteCount = 128 << 20
    /// Files up to this size are unpacked, and so checked to the end, when they are opened.
    private static let eagerByteCount = 64 << 20

    /// - Throws: `FormatError` naming the file when the frames are damaged, the header is, or the two disagree.
    init(_ file: TensorBytes, path: String) throws(FormatError) {
        self.file = file
        self.path = path
        do throws(FormatError) {
            frames = try plainFrames(file)
            header = try Self.header(of: frames, in: file)
            if let stated = frames.statedByteCount { try Self.check(stated, against: header) }
        } catch {
            throw error.at(path: path)
        }
        if header.paddedEndOffset <= Self.eagerByteCount { _ = try bytes() }
    }

    /// The whole GGUF file, unpacked at the first call.
    func bytes() throws(FormatError) -> TensorBytes {
        try unpacked.withLock { (known: inout TensorBytes?) throws(FormatError) in
            if let known { return known }
            do throws(FormatError) {
                let made = try unpack()
                known = made
                return made
            } catch {
                throw error.at(path: path)
            }
        }
    }

    private func unpack() throws(FormatError) -> TensorBytes {
        let output = try TemporaryFile()
        try output.checkRoom(for: frames.statedByteCount ?? header.paddedEndOffset)
        var written = 0
        try frames.stream(file) { chunk throws(FormatError) in
            guard chunk.byteCount <= header.paddedEndOffset - written else {
                throw Self.tooLarge("more than \(written) bytes", header)
            }
            try output.write(chunk, at: written)
            written += chunk.byteCount
            return true
        }
        let bytes = try output.mapped(as: path).bytes
        // Names the tensor that a file which ends early cuts off.
        _ = try GGUFHeader(bytes, fileByteCount: written)
        return bytes
    }

    /// Unpacks from the start until the header is complete.
    private static func header(of frames: [PlainFrame], in file: TensorBytes) throws(FormatError) -> GGUFHeader {
        let output = try TemporaryFile()
        // Without a stated size the data need not be there yet, so the file counts as endless.
        let fileByteCount = frames.statedByteCount ?? .max
        var header: GGUFHeader?
        var written = 0
        var nextTry = 64 << 10
        try frames.stream(file) { chunk throws(FormatError) in
            try output.write(chunk, at: written)
            written += chunk.byteCount
            guard written >= nextTry else { return true }
            nextTry = written * 2
            do throws(FormatError) {
                header = try GGUFHeader(try output.mapped(as: "").bytes, fileByteCount: fileByteCount)
                return false
            } catch {
                guard case .truncated(let field, let needed, _) = error.reason, field != GGUFHeader.dataField,
                    needed <= UInt64(fileByteCount)
                else { throw FormatError(error.reason, tensor: error.tensor, byteOffset: error.byteOffset) }
                guard written <= maxHeaderByteCount, needed <= UInt64(maxHeaderByteCount) else {
                    let expected = "at most \(maxHeaderByteCount) bytes"
                    throw FormatError(.invalid(field: "the GGUF header inside", found: "longer, in its \(field)", expected: expected))
                }
                return true
            }
        }
        if let header { return header }
        return try GGUFHeader(written == 0 ? TensorBytes([]) : try output.mapped(as: "").bytes, fileByteCount: written)
    }

    private static func check(_ stated: Int, against header: GGUFHeader) throws(FormatError) {
        guard stated <= header.paddedEndOffset else { throw tooLarge("\(stated) bytes", header) }
    }

    private static func tooLarge(_ found: String, _ header: GGUFHeader) -> FormatError {
        FormatError(
            .invalid(field: "the GGUF file inside", found: found, expected: "\(header.paddedEndOffset) bytes, as its header declares"))
    }
}

/// Where one frame with content stands, and how much content it says it has.
private struct PlainFrame {
    let range: Range<Int>
    let contentByteCount: Int?
}

extension [PlainFrame] {
    /// The content of all frames together; `nil` when one of them does not say.
    fileprivate var statedByteCount: Int? {
        var sum = 0
        for frame in self {
            guard let count = frame.contentByteCount else { return nil }
            let (next, overflow) = sum.addingReportingOverflow(count)
            if overflow { return .max }
            sum = next
        }
        return sum
    }

    /// Unpacks frame after frame, some bytes at a time, until `body` returns `false`.
    fileprivate func stream(_ file: TensorBytes, _ body: (RawSpan) throws(FormatError) -> Bool) throws(FormatError) {
        let decompressor = try ZstdDecompressor()
        for frame in self {
            let wantsMore = try decompressor.stream(file[frame.range].bytes, body)
            file[frame.range].discard()
            guard wantsMore else { return }
        }
    }
}

/// Follows the frames of a whole file; skippable ones are left out.
private func plainFrames(_ file: TensorBytes) throws(FormatError) -> [PlainFrame] {
    var frames: [PlainFrame] = []
    var offset = 0
    while offset < file.count {
        let rest = file[offset..<file.count]
        do throws(FormatError) {
            let magic = rest.count >= 8 ? rest.bytes.littleEndian(UInt32.self, at: 0) : 0
            if SeekTable.skippableMagics.contains(magic) {
                guard magic != SeekTable.magic && magic != SeekTable.hashesMagic else {
                    throw FormatError(.corrupt(what: "the end of the seek table", expected: "0x8f92eab1", found: "something else"))
                }
                let byteCount = 8 + Int(rest.bytes.littleEndian(UInt32.self, at: 4))
                guard byteCount <= rest.count else {
                    throw FormatError(
                        .truncated(field: "a skippable frame", needed: UInt64(byteCount), available: UInt64(rest.count)))
                }
                offset += byteCount
            } else {
                let frame = try ZstdFrame(rest.bytes)
                frames.append(PlainFrame(range: offset..<offset + frame.byteCount, contentByteCount: frame.contentByteCount))
                offset += frame.byteCount
            }
        } catch {
            var located = error
            located.byteOffset = UInt64(offset)
            throw located
        }
    }
    return frames
}

/// Processors that are online.
func processorCount() -> Int { max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))) }
