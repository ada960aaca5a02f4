import Formats
import Foundation

/// Token ids from a file: a NumPy array (`.npy`) of integers, or the one integer tensor of a safetensors file.
///
/// `.npy`: bytes 93 "NUMPY", version (two bytes), header length (u16, from version 2 on u32), a Python dictionary with
/// `descr` ('<i4', '<i8', '<u2', '<u4', '<u8'), `fortran_order` and `shape`, then the numbers.
public enum TokenFile {
    /// All ids in order, whatever the array's shape.
    /// - Throws: `FormatError` naming the file for anything that is not such an array.
    public static func read(_ path: String) throws(FormatError) -> [Int] {
        if path.hasSuffix(".npy") { return try readNumPy(path) }
        let source = try openTensorSource(at: path)
        let candidates = source.manifest.tensors.indices.filter { isInteger(source.manifest.tensors[$0].encoding) }
        guard candidates.count == 1, let index = candidates.first else {
            throw FormatError(
                .invalid(field: "tensors", found: "\(candidates.count) tensors of integers", expected: "one"), path: path)
        }
        let info = source.manifest.tensors[index]
        let bytes = try source.bytes(ofTensorAt: index)
        guard case .plain(let dtype) = info.encoding, let width = Width(dtype) else { return [] }
        return try integers(bytes.bytes, width, path: path)
    }

    private enum Width: String {
        case i2 = "<i2", i4 = "<i4", i8 = "<i8", u2 = "<u2", u4 = "<u4", u8 = "<u8"

        init?(_ dtype: DType) {
            switch dtype {
            case .i16: self = .i2
            case .i32: self = .i4
            case .i64: self = .i8
            case .u16: self = .u2
            case .u32: self = .u4
            case .u64: self = .u8
            default: return nil
            }
        }

        var byteCount: Int {
            switch self {
            case .i2, .u2: 2
            case .i4, .u4: 4
            case .i8, .u8: 8
            }
        }
    }

    private static func isInteger(_ encoding: Encoding) -> Bool {
        if case .plain(let dtype) = encoding { Width(dtype) != nil } else { false }
    }

    private static func integers(_ bytes: RawSpan, _ width: Width, path: String) throws(FormatError) -> [Int] {
        let count = bytes.byteCount / width.byteCount
        var ids: [Int] = []
        ids.reserveCapacity(count)
        for index in 0..<count {
            let offset = index * width.byteCount
            let id: Int =
                switch width {
                case .i2: Int(bytes.littleEndian(Int16.self, at: offset))
                case .i4: Int(bytes.littleEndian(Int32.self, at: offset))
                case .i8: Int(bytes.littleEndian(Int64.self, at: offset))
                case .u2: Int(bytes.littleEndian(UInt16.self, at: offset))
                case .u4: Int(bytes.littleEndian(UInt32.self, at: offset))
                case .u8: Int(truncatingIfNeeded: bytes.littleEndian(UInt64.self, at: offset))
                }
            guard id >= 0 else {
                throw FormatError(.invalid(field: "token \(index)", found: "\(id)", expected: "an id, not below zero"), path: path)
            }
            ids.append(id)
        }
        return ids
    }

    /// The product of the sizes in `'shape': (3, 512)`.
    private static func elementCount(_ header: String) -> Int? {
        guard let word = header.range(of: "'shape':"), let open = header[word.upperBound...].firstIndex(of: "("),
            let close = header[open...].firstIndex(of: ")")
        else { return nil }
        var count = 1
        for field in header[header.index(after: open)..<close].split(separator: ",") {
            guard let size = Int(field.trimmingCharacters(in: .whitespaces)), size >= 0 else { return nil }
            let (product, overflows) = count.multipliedReportingOverflow(by: size)
            guard !overflows else { return nil }
            count = product
        }
        return count
    }

    private static func readNumPy(_ path: String) throws(FormatError) -> [Int] {
        let file = TensorBytes(try MappedFile(path: path))
        let bytes = file.bytes
        func invalid(_ field: String, _ found: String, _ expected: String) -> FormatError {
            FormatError(.invalid(field: field, found: found, expected: expected), path: path)
        }
        let magic: [UInt8] = [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59]
        guard bytes.byteCount >= 12, (0..<6).allSatisfy({ bytes.littleEndian(UInt8.self, at: $0) == magic[$0] }) else {
            throw invalid("magic", "other bytes", "a NumPy array")
        }
        let isFirstVersion = bytes.littleEndian(UInt8.self, at: 6) == 1
        let length = isFirstVersion ? Int(bytes.littleEndian(UInt16.self, at: 8)) : Int(bytes.littleEndian(UInt32.self, at: 8))
        let start = isFirstVersion ? 10 : 12
        guard length <= bytes.byteCount - start, length <= 1 << 16 else { throw invalid("header length", "\(length)", "what the file holds") }
        let header = String(decoding: (start..<start + length).map { bytes.littleEndian(UInt8.self, at: $0) }, as: UTF8.self)
        // {'descr': '<i4', ...}: what stands between the next two quotes after the word.
        let words = header.split(separator: "'", omittingEmptySubsequences: false)
        guard let place = words.firstIndex(of: "descr"), place + 2 < words.count, let width = Width(rawValue: String(words[place + 2]))
        else { throw invalid("descr", printable(header.trimmingCharacters(in: .whitespacesAndNewlines)), "integers of 2, 4 or 8 bytes, little-endian") }
        guard header.contains("'fortran_order': False") else { throw invalid("fortran_order", "True, or nothing", "False: rows one after another") }
        let rest = bytes.byteCount - start - length
        guard let count = elementCount(header) else { throw invalid("shape", printable(header.trimmingCharacters(in: .whitespacesAndNewlines)), "sizes in brackets") }
        let (needed, overflows) = count.multipliedReportingOverflow(by: width.byteCount)
        guard !overflows, rest == needed else { throw invalid("data", "\(rest) bytes", "\(count) integers of \(width.byteCount) bytes") }
        return try integers(bytes.extracting(start + length..<bytes.byteCount), width, path: path)
    }
}
