#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Unpacks a GGUF file that was compressed without a seek table, into a temporary file without a name.
///
/// The output may not grow past what the GGUF header inside declares, nor past the disk.
func unpackPlainZstd(_ file: TensorBytes, path: String) throws(FormatError) -> TensorBytes {
    do throws(FormatError) {
        let frames = try plainFrames(file)
        let output = try TemporaryFile()
        let decompressor = try ZstdDecompressor()
        if let known = knownContentByteCount(frames) { try output.checkRoom(for: known) }
        var bound = HeaderBound()
        var written = 0
        for frame in frames {
            try decompressor.stream(file[frame.range].bytes) { bytes throws(FormatError) in
                try output.write(bytes, at: written)
                written += bytes.byteCount
                try bound.check(written) { () throws(FormatError) in try output.mapped(as: path).bytes }
            }
            file[frame.range].discard()
        }
        return try output.mapped(as: path).bytes
    } catch {
        throw error.at(path: path)
    }
}

private func knownContentByteCount(_ frames: [(range: Range<Int>, contentByteCount: Int?)]) -> Int? {
    var sum = 0
    for frame in frames {
        guard let count = frame.contentByteCount else { return nil }
        let (next, overflow) = sum.addingReportingOverflow(count)
        if overflow { return .max }
        sum = next
    }
    return sum
}

/// Follows the frames of a whole file; skippable ones are left out.
private func plainFrames(_ file: TensorBytes) throws(FormatError) -> [(range: Range<Int>, contentByteCount: Int?)] {
    var frames: [(range: Range<Int>, contentByteCount: Int?)] = []
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
                frames.append((offset..<offset + frame.byteCount, frame.contentByteCount))
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

/// Stops an unpacking that grows past what its own GGUF header declares.
private struct HeaderBound {
    /// A header that is not complete within this many bytes is none.
    private static let maxHeaderByteCount = 512 << 20
    private var end: Int?
    private var nextTry = 1 << 20

    mutating func check(_ written: Int, _ content: () throws(FormatError) -> TensorBytes) throws(FormatError) {
        if end == nil, written >= nextTry {
            nextTry = written * 2
            do throws(FormatError) {
                // The data need not be there yet, so the file counts as endless.
                end = try GGUFHeader(try content(), fileByteCount: .max).endOffset
            } catch {
                guard case .truncated = error.reason, written <= Self.maxHeaderByteCount else { throw error }
            }
        }
        if let end, written > end {
            throw FormatError(.invalid(field: "the GGUF file inside", found: "more than \(written) bytes", expected: "\(end) bytes"))
        }
    }
}

/// Processors that are online.
func processorCount() -> Int { max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))) }
