import Formats
import Threads

/// Logits in 16 bits each, for keeping a reference's.
///
///     d = top - logit,   code = round(8192 · e(1 + d)),   e(2^k (1 + m)) = k + m  for whole k and 0 ≤ m < 1
///
/// `top` is the row's largest logit, kept as it is. e is the logarithm to base 2 made of straight pieces; its code is the upper bits of the
/// float 1 + d, less those of 1. The error of d is at most (1 + d) / 16384, so small where a token is likely; d above 254 becomes 254 or
/// so, whose probability is below 1e-110. Only logits equal to the top have code 0, so that the first of them stays the first.
///
/// Rows are kept in runs: the upper bytes of all codes of a run, row after row, then the lower bytes, which do not compress.
package enum LogitCode {
    /// Some rows, coded.
    package struct Run: Sendable {
        /// `[2, rows, vocabulary]`: upper bytes, lower bytes.
        package var codes: [UInt8]
        /// The largest logit of each row.
        package var tops: [Float]
    }

    private static let one: UInt32 = 0x3F80_0000
    private static let shift: UInt32 = 10

    /// Rows of a run: about 4 MiB.
    static func rowsPerRun(vocabulary: Int) -> Int { max(1, (2 << 20) / max(1, vocabulary)) }

    /// The most rows up to a limit that are whole runs; one run when the limit is less.
    static func wholeRuns(atMost limit: Int, vocabulary: Int) -> Int {
        let run = rowsPerRun(vocabulary: vocabulary)
        return max(run, limit / run * run)
    }

    /// Codes rows of logits.
    /// - Parameter logits: at least `[rowCount, vocabulary]`, finite.
    static func runs(_ logits: [Float], rowCount: Int, vocabulary: Int, threadCount: Int) -> [Run] {
        let run = rowsPerRun(vocabulary: vocabulary)
        return ordered(count: (rowCount + run - 1) / run, threadCount: threadCount) { index in
            let rows = index * run..<min(rowCount, (index + 1) * run)
            return encoded(logits.span.extracting(rows.lowerBound * vocabulary..<rows.upperBound * vocabulary), rowCount: rows.count)
        }
    }

    package static func encoded(_ logits: Span<Float>, rowCount: Int) -> Run {
        let vocabulary = logits.count / rowCount
        var tops: [Float] = []
        let codes = unsafe [UInt8](unsafeUninitializedCapacity: 2 * logits.count) { bytes, count in
            for row in 0..<rowCount {
                let values = logits.extracting(row * vocabulary..<(row + 1) * vocabulary)
                let top = LogitSummary(values).largest
                tops.append(top)
                let high = row * vocabulary, low = (rowCount + row) * vocabulary
                for column in 0..<vocabulary {
                    // `column` is below the span's count; both places are below 2 · logits.count.
                    let distance = unsafe top - values[unchecked: column]
                    let steps = ((1 + distance).bitPattern &- one &+ (1 << (shift - 1))) >> shift
                    let code = min(max(steps, distance > 0 ? 1 : 0), 0xFFFF)
                    unsafe bytes[high + column] = UInt8(truncatingIfNeeded: code >> 8)
                    unsafe bytes[low + column] = UInt8(truncatingIfNeeded: code)
                }
            }
            count = 2 * logits.count
        }
        return Run(codes: codes, tops: tops)
    }

    /// Logits of one row of a run.
    /// - Parameters:
    ///   - codes: the whole run, of `rowCount` rows.
    ///   - logits: gets the row; as long as the vocabulary.
    package static func decode(_ codes: RawSpan, row: Int, of rowCount: Int, top: Float, into logits: inout MutableSpan<Float>) {
        let vocabulary = logits.count
        precondition(codes.byteCount == 2 * rowCount * vocabulary && (0..<rowCount).contains(row), "a run of rows")
        let bytes = Span<UInt8>(_bytes: codes)
        let high = row * vocabulary, low = (rowCount + row) * vocabulary
        for column in 0..<vocabulary {
            // Both places are below 2 · rowCount · vocabulary.
            let code = unsafe UInt32(bytes[unchecked: high + column]) << 8 | UInt32(bytes[unchecked: low + column])
            unsafe logits[unchecked: column] = top - (Float(bitPattern: code << shift &+ one) - 1)
        }
    }
}
