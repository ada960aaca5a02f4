import CKernels
import Formats
import Threads

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

// Row operations of the forward pass over spans. Pointers live only inside the calls, whose sizes are checked here.

/// Rows that one task takes: some tens of microseconds of work.
private func rowsPerTask(_ columnCount: Int) -> Int { max(1, (1 << 15) / max(1, columnCount)) }

/// Calls `body` with runs of rows, in parallel.
private func overRows(_ rowCount: Int, columnCount: Int, threadCount: Int, _ body: @Sendable (Range<Int>) -> Void) {
    let run = rowsPerTask(columnCount)
    inParallel(count: (rowCount + run - 1) / run, threadCount: threadCount) { index in
        body(index * run..<min(rowCount, (index + 1) * run))
    }
}

/// Root-mean-square normalisation of each row.
///
///     out = x / sqrt(mean(x²) + epsilon) · gain
func normalize(
    _ x: Span<Float>, gain: Span<Float>, epsilon: Float, into out: inout MutableSpan<Float>, threadCount: Int
) {
    let width = gain.count
    precondition(x.count == out.count && width > 0 && x.count % width == 0, "whole rows, one gain per column")
    guard !x.isEmpty else { return }
    unsafe x.withUnsafeBufferPointer { x in
        unsafe gain.withUnsafeBufferPointer { gain in
            unsafe out.withUnsafeMutableBufferPointer { out in
                let memory = unsafe (source: Shared(x.baseAddress!), gain: Shared(gain.baseAddress!), target: SharedMutable(out.baseAddress!))
                overRows(x.count / width, columnCount: width, threadCount: threadCount) { rows in
                    for row in rows {
                        // Row `row` of both, `width` long; the gain is as long.
                        unsafe resq_rms_norm(
                            memory.source.pointer + row * width, memory.gain.pointer, epsilon, memory.target.pointer + row * width, width)
                    }
                }
            }
        }
    }
}

/// Normalises each head of each row in place.
func normalizeHeads(_ x: inout MutableSpan<Float>, gain: Span<Float>, epsilon: Float, threadCount: Int) {
    let width = gain.count
    precondition(width > 0 && x.count % width == 0, "whole heads, one gain per dimension")
    guard !x.isEmpty else { return }
    unsafe gain.withUnsafeBufferPointer { gain in
        unsafe x.withUnsafeMutableBufferPointer { x in
            let memory = unsafe (gain: Shared(gain.baseAddress!), target: SharedMutable(x.baseAddress!))
            overRows(x.count / width, columnCount: width, threadCount: threadCount) { heads in
                for head in heads {
                    let start = unsafe memory.target.pointer + head * width
                    // The kernel reads each vector before it writes it.
                    unsafe resq_rms_norm(start, memory.gain.pointer, epsilon, start, width)
                }
            }
        }
    }
}

/// gate ← activation(gate) · up, elementwise.
func activate(
    _ gate: inout MutableSpan<Float>, up: Span<Float>, _ activation: ForwardRules.Activation, rowCount: Int, threadCount: Int
) {
    guard rowCount > 0, !gate.isEmpty else { return }
    precondition(gate.count == up.count && gate.count % rowCount == 0, "two equal matrices")
    let width = gate.count / rowCount
    unsafe up.withUnsafeBufferPointer { up in
        unsafe gate.withUnsafeMutableBufferPointer { gate in
            let memory = unsafe (up: Shared(up.baseAddress!), gate: SharedMutable(gate.baseAddress!))
            overRows(rowCount, columnCount: width, threadCount: threadCount) { rows in
                // Whole rows of both matrices.
                let (start, count) = (rows.lowerBound * width, rows.count * width)
                switch activation {
                case .silu: unsafe resq_silu_times(memory.gate.pointer + start, memory.up.pointer + start, count)
                case .geluTanh: unsafe resq_gelu_times(memory.gate.pointer + start, memory.up.pointer + start, count)
                }
            }
        }
    }
}

/// Rotates the pairs of every head of each row by its position's angles.
///
/// - Parameters:
///   - x: `[positions.count, headCount · headDimension]`.
///   - positions: one per row, each below the table's count.
func rotate(
    _ x: inout MutableSpan<Float>, positions: [Int], headCount: Int, headDimension: Int, table: RotaryTable, threadCount: Int
) {
    let width = headCount * headDimension
    precondition(x.count == positions.count * width && 2 * table.pairCount <= headDimension, "whole heads")
    guard !positions.isEmpty else { return }
    precondition(positions.allSatisfy { (0..<table.positionCount).contains($0) }, "the table reaches every position")
    unsafe x.withUnsafeMutableBufferPointer { x in
        let memory = unsafe SharedMutable(x.baseAddress!)
        overRows(positions.count, columnCount: width, threadCount: threadCount) { rows in
            for row in rows {
                let angles = positions[row] * table.pairCount
                unsafe table.cosines.withUnsafeBufferPointer { cosines in
                    unsafe table.sines.withUnsafeBufferPointer { sines in
                        // The tables have `pairCount` entries for each position below `positionCount`.
                        unsafe resq_rotate_pairs(
                            memory.pointer + row * width, headCount, headDimension, table.pairCount, cosines.baseAddress! + angles,
                            sines.baseAddress! + angles)
                    }
                }
            }
        }
    }
}

/// x ← cap · tanh(x / cap)
func softCap(_ x: inout MutableSpan<Float>, cap: Float, rowCount: Int, threadCount: Int) {
    guard rowCount > 0, !x.isEmpty else { return }
    let width = x.count / rowCount
    unsafe x.withUnsafeMutableBufferPointer { x in
        let memory = unsafe SharedMutable(x.baseAddress!)
        overRows(rowCount, columnCount: width, threadCount: threadCount) { rows in
            unsafe resq_soft_cap(memory.pointer + rows.lowerBound * width, rows.count * width, cap)
        }
    }
}

/// Adds a vector to every row.
func addBias(_ bias: Span<Float>, to x: inout MutableSpan<Float>) {
    let width = bias.count
    precondition(width > 0 && x.count % width == 0, "whole rows, one bias per column")
    var start = 0
    while start < x.count {
        for column in 0..<width { unsafe x[unchecked: start + column] += bias[unchecked: column] }
        start += width
    }
}

/// x ← x + y
func add(_ y: Span<Float>, to x: inout MutableSpan<Float>, threadCount: Int) {
    precondition(x.count == y.count, "equal counts")
    guard !y.isEmpty else { return }
    unsafe y.withUnsafeBufferPointer { y in
        unsafe x.withUnsafeMutableBufferPointer { x in
            // Tasks take runs of 1024 elements of both.
            let (source, target, count) = unsafe (Shared(y.baseAddress!), SharedMutable(x.baseAddress!), y.count)
            overRows((count + 1023) / 1024, columnCount: 1024, threadCount: threadCount) { runs in
                for index in runs.lowerBound * 1024..<min(count, runs.upperBound * 1024) {
                    unsafe target.pointer[index] += source.pointer[index]
                }
            }
        }
    }
}

/// What one row of logits says: the largest, its first index, and log Σ exp.
public struct LogitSummary: Sendable, Equatable {
    public var largest: Float
    public var index: Int
    public var logSum: Double

    public init(_ logits: Span<Float>) {
        precondition(!logits.isEmpty, "a row of logits")
        var (largest, index, logSum): (Float, Int, Double) = (0, 0, 0)
        unsafe logits.withUnsafeBufferPointer { logits in
            // `count` floats are readable.
            unsafe resq_log_sum_exp(logits.baseAddress!, logits.count, &largest, &index, &logSum)
        }
        (self.largest, self.index, self.logSum) = (largest, index, logSum)
    }

    /// The log-probability of a token.
    public func logProbability(of token: Int, in logits: Span<Float>) -> Double { Double(logits[token]) - logSum }

    /// The probability of a token.
    public func probability(of token: Int, in logits: Span<Float>) -> Double { exp(logProbability(of: token, in: logits)) }
}

/// Kullback-Leibler divergence of q from p for one row of logits each, and the sum of squared differences.
///
///     D = Σ p (log p - log q)
public func divergence(
    _ p: Span<Float>, _ q: Span<Float>, _ summaryP: LogitSummary, _ summaryQ: LogitSummary
) -> (divergence: Double, squareDifference: Double) {
    precondition(p.count == q.count, "rows of one vocabulary")
    var (sum, squares): (Double, Double) = (0, 0)
    unsafe p.withUnsafeBufferPointer { p in
        unsafe q.withUnsafeBufferPointer { q in
            // Both have `count` floats.
            unsafe resq_divergence(p.baseAddress!, q.baseAddress!, p.count, summaryP.logSum, summaryQ.logSum, &sum, &squares)
        }
    }
    return (sum, squares)
}
