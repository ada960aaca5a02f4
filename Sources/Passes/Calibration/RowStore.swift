import Formats

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Rows of floats for every token of a calibration: in memory, or past a budget in a file.
///
/// The file holds little-endian floats, row after row, and nothing else.
final class RowStore {
    let rowCount: Int
    let width: Int
    private var memory: [Float] = []
    private let file: Int32
    private let path: String

    /// Rows in a file of that name.
    /// - Parameter isFilled: whether the file is there with all its rows; else it is created anew.
    /// - Throws: for a filled file of another size, too, which was cut short or is of another run.
    convenience init(rowCount: Int, width: Int, path: String, isFilled: Bool) throws(FormatError) {
        // The path is copied for the call.
        let file = unsafe open(path, isFilled ? O_RDWR | O_CLOEXEC : O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
        guard file >= 0 else { throw FormatError(.system(call: "open", errno: errno), path: path) }
        if isFilled {
            let size = lseek(file, 0, SEEK_END)
            guard size == off_t(rowCount * width * 4) else {
                close(file)
                throw FormatError(
                    .invalid(field: "size", found: "\(size) bytes", expected: "\(rowCount * width * 4): the file was cut short; remove it"), path: path)
            }
        }
        try self.init(rowCount: rowCount, width: width, file: file, path: path)
    }

    /// Rows in memory, or in a file without a name when they take more bytes than that.
    convenience init(rowCount: Int, width: Int, spillsPast budget: Int) throws(FormatError) {
        guard rowCount * width * 4 > budget else {
            try self.init(rowCount: rowCount, width: width, file: -1, path: "")
            return
        }
        let temporary = try TemporaryFile()
        try temporary.checkRoom(for: rowCount * width * 4)
        try self.init(rowCount: rowCount, width: width, file: try temporary.duplicated(), path: temporary.path)
    }

    private init(rowCount: Int, width: Int, file: Int32, path: String) throws(FormatError) {
        self.rowCount = rowCount
        self.width = width
        self.file = file
        self.path = path
        if file < 0 {
            memory = [Float](repeating: 0, count: rowCount * width)
        } else if ftruncate(file, off_t(rowCount * width * 4)) != 0 {
            throw FormatError(.system(call: "ftruncate", errno: errno), path: path)
        }
    }

    deinit { if file >= 0 { close(file) } }

    /// Some rows.
    func read(_ rows: Range<Int>) throws(FormatError) -> [Float] {
        guard file >= 0 else { return Array(memory[rows.lowerBound * width..<rows.upperBound * width]) }
        var result = [Float](repeating: 0, count: rows.count * width)
        var done = 0
        let total = rows.count * width * 4
        while done < total {
            let count = unsafe result.withUnsafeMutableBytes { buffer in
                // `total` bytes are writable from the start.
                unsafe pread(file, buffer.baseAddress! + done, total - done, off_t(rows.lowerBound * width * 4 + done))
            }
            if count > 0 { done += count; continue }
            if count < 0, errno == EINTR { continue }
            throw FormatError(.system(call: "pread", errno: count == 0 ? EIO : errno), path: path)
        }
        return result
    }

    /// Replaces rows, from the first of `rows`.
    func write(_ values: Span<Float>, from row: Int) throws(FormatError) {
        precondition(values.count % width == 0 && row * width + values.count <= rowCount * width, "whole rows of the store")
        guard file >= 0 else {
            guard !values.isEmpty else { return }
            unsafe memory.withUnsafeMutableBufferPointer { memory in
                unsafe values.withUnsafeBufferPointer { values in
                    // They were just seen to fit.
                    unsafe (memory.baseAddress! + row * width).update(from: values.baseAddress!, count: values.count)
                }
            }
            return
        }
        // Floats have no padding, so every byte is initialized.
        try writeAll(file, unsafe values.bytes, at: row * width * 4, path: path)
    }

    /// Hands everything written to the disk.
    func synchronize() throws(FormatError) {
        guard file >= 0 else { return }
        guard fsync(file) == 0 else { throw FormatError(.system(call: "fsync", errno: errno), path: path) }
    }
}
