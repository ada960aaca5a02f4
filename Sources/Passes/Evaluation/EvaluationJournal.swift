import Foundation
import Formats

/// What an evaluation has finished, kept in its work directory so that a killed run can go on.
///
///     resq-evaluation 1 KEY\n          KEY: SHA-256 of all that the results depend on, in hexadecimal
///     u32 unit | u32 n | n × f64 | u64 XXH64 of the record before it          for each finished unit
///
/// A unit is a window of a text or an item of a task. A record that is torn or damaged ends what is believed.
final class EvaluationJournal: Sendable {
    /// The numbers of each unit that an earlier run finished.
    let finished: [Int: [Double]]
    /// Whether an earlier run of the same evaluation was here.
    let isContinuation: Bool
    private let handle: FileHandle

    /// Opens `DIRECTORY/evaluation-KEY`, of which the first 16 digits are in the name.
    init(directory: String, key: Digest) throws {
        let path = directory + "/evaluation-" + "\(key)".prefix(16)
        let header = Array("resq-evaluation 1 \(key)\n".utf8)
        var end = header.count
        var units: [Int: [Double]] = [:]
        if let file = try? MappedFile(path: path) {
            let bytes = file.bytes
            isContinuation = bytes.count >= header.count && bytes[0..<header.count].array == header
            if isContinuation { end = Self.read(bytes.bytes, from: header.count, into: &units) }
        } else {
            isContinuation = false
        }
        if !isContinuation {
            guard FileManager.default.createFile(atPath: path, contents: Data(header)) else {
                throw PipelineError.cannotCreate(path: path, why: FormatError(.system(call: "open", errno: errno)).description)
            }
        }
        guard let handle = FileHandle(forUpdatingAtPath: path) else {
            throw FormatError(.system(call: "open", errno: errno), path: path)
        }
        try handle.truncate(atOffset: UInt64(end))
        try handle.seekToEnd()
        self.handle = handle
        finished = units
    }

    /// - Returns: where the records that are whole end.
    private static func read(_ bytes: RawSpan, from start: Int, into units: inout [Int: [Double]]) -> Int {
        var offset = start
        while bytes.byteCount - offset >= 16 {
            let count = Int(bytes.littleEndian(UInt32.self, at: offset + 4))
            let length = 8 + 8 * count
            guard length + 8 <= bytes.byteCount - offset,
                xxh64(bytes.extracting(offset..<offset + length)) == bytes.littleEndian(UInt64.self, at: offset + length)
            else { break }
            units[Int(bytes.littleEndian(UInt32.self, at: offset))] = (0..<count).map {
                Double(bitPattern: bytes.littleEndian(UInt64.self, at: offset + 8 + 8 * $0))
            }
            offset += length + 8
        }
        return offset
    }

    /// Appends units that were finished together.
    func record(_ units: [(unit: Int, numbers: [Double])]) throws {
        var data: [UInt8] = []
        for (unit, numbers) in units {
            var record: [UInt8] = []
            record.append(UInt32(unit))
            record.append(UInt32(numbers.count))
            for number in numbers { record.append(number.bitPattern) }
            record.append(xxh64(TensorBytes(record).bytes))
            data += record
        }
        try handle.write(contentsOf: Data(data))
    }
}

extension [UInt8] {
    /// Appends a number, little-endian.
    mutating func append(_ value: some FixedWidthInteger) {
        for shift in stride(from: 0, to: value.bitWidth, by: 8) { append(UInt8(truncatingIfNeeded: value >> shift)) }
    }
}
