import Formats
import LinearAlgebra
import Models
import ResQ

/// A low-rank residual that is kept beside each rounded weight: `W ≈ Ŵ + B A / r`, both factors stored in one type.
///
/// Base and residual are refined in alternation (`refinedBaseAndResidual`), the base by GPTQ, and A as well: with B's
/// columns nearly orthonormal, its rows count one by one, under the moments of the same input. B is rounded to nearest.
/// In the file B is multiplied by r, since whoever adds the residual divides by it.
struct ResidualRounding: Sendable {
    /// The largest r.
    let rank: Int
    /// The type of A and B: `Encoding.plain(.f16)`, or a block type of 32 that gptq can round to.
    let encoding: Encoding
    /// How often base and residual are made anew.
    let rounds: Int

    /// The types that factors can have, as recipes call them.
    static let types = ["f16", "q8_0", "q5_0", "q4_0", "iq4_nl"]

    /// One phrase that says what is kept.
    var summary: String { "in \(encoding.name), \(rounds) \(rounds == 1 ? "round" : "rounds")" }

    /// What the factors of a weight are called in files of the work folder.
    static func right(of weight: String) -> String { weight + ".lora_a" }
    static func left(of weight: String) -> String { weight + ".lora_b" }

    /// What a recipe may ask for: the rank must fill whole blocks, in which B's rows are stored.
    static func isValid(rank: Int, type: String) -> Bool { type == "f16" || rank % rankStep == 0 }

    /// By how much ranks grow where they are chosen: the columns of a block.
    static let rankStep = 32

    /// Whether a weight of this shape can have a residual of some rank: above half its smaller side nothing would be saved.
    func fits(_ shape: [Int], rank: Int) -> Bool {
        guard shape.count == 2, rank <= self.rank else { return false }
        return shape.min()! >= 2 * rank && (encoding == .plain(.f16) || shape[1] % 32 == 0)
    }

    /// Bytes of both factors in an adapter, with what its header says of them.
    func byteCount(_ shape: [Int], rank: Int, name: String) -> Int {
        let header = 2 * (name.utf8.count + 56)  // lengths, dimensions, type and place beside ".lora_a"
        guard let type = encoding.ggmlType else { return header }
        return header + TypeBudget.byteCount([rank, shape[1]], type) + TypeBudget.byteCount([shape[0], rank], type)
    }

    /// What base and residual take beside one rounding of the base: iterations for the residual, about eight, the error that
    /// remains, and in further rounds the base again.
    func work(_ shape: [Int], rank: Int) -> WorkEstimate {
        var work = WorkEstimate()
        let (rows, columns) = (Double(shape[0]), Double(shape[1]))
        let (rounds, width) = (Double(rounds), Double(rank + 16))
        work[.rotation] = rounds * (2 * rows * columns * columns + 8 * 2 * width * (2 * rows * columns + columns * columns))
        work[.rounding] = (rounds - 1) * rows * columns
        work[.compensation] = (rounds - 1) * rows * columns * columns
        return work
    }

    /// The factors that an analysis will give for a weight.
    func addition(to weight: TensorInfo, rank: Int, _ analysis: Analysis<RoundedWeights>) throws(FormatError) -> LowRankAddition {
        func factor(_ name: String, _ shape: [Int]) throws(FormatError) -> LazyTensor {
            let info = try TensorInfo(name: name, encoding: encoding, shape: shape)
            return LazyTensor(
                info: info, operation: RoundedRows(name: name, input: nil, rounding: analysis), history: ["residual of rank \(rank) \(summary)"])
        }
        return LowRankAddition(
            weight: weight.name, right: try factor(Self.right(of: weight.name), [rank, weight.columnCount]),
            left: try factor(Self.left(of: weight.name), [weight.rowCount, rank]))
    }

    /// The factors of one weight as they are stored.
    struct Factors {
        /// A, `[r, columns]`.
        var right: TensorBytes
        /// r B, `[rows, r]`.
        var left: TensorBytes
    }

    /// Rounds a weight and finds its residual.
    /// - Parameters:
    ///   - moments: of the weight's input.
    ///   - factor: of the same moments.
    ///   - base: rounds the weight, or what the residual leaves of it.
    /// - Returns: base and factors, and the numbers they stand for together.
    func round(
        _ weight: Matrix<Float>, rank: Int, moments: Matrix<Double>, factor: HessianFactor, threadCount: Int,
        base: (Matrix<Float>) throws(ResQError) -> QuantizedMatrix
    ) throws(ResQError) -> (base: QuantizedMatrix, factors: Factors, values: Matrix<Float>) {
        let nearest = HessianFactor(roundingToNearest: Array(repeating: 1, count: rank))
        let refined = try refinedBaseAndResidual(
            weights: weight, moments: moments, rank: rank, rounds: rounds,
            storage: FactorStorage<TensorBytes>(
                left: { left throws(ResQError) in try stored(left, scale: Double(rank), nearest, threadCount) },
                right: { right throws(ResQError) in try stored(right, scale: 1, factor, threadCount) })
        ) { target throws(ResQError) in
            let rounded = try base(target)
            return (rounded, rounded.dequantized())
        }
        var values = Matrix.product(refined.left, refined.right).converted(to: Float.self)
        let rounded = refined.base.dequantized()
        for index in values.elements.indices { values.elements[index] += rounded.elements[index] }
        return (refined.base, Factors(right: refined.storedRight, left: refined.storedLeft), values)
    }

    /// A factor in its type, and what it then is, without the scale it is stored with.
    private func stored(
        _ matrix: Matrix<Double>, scale: Double, _ factor: HessianFactor, _ threadCount: Int
    ) throws(ResQError) -> (stored: TensorBytes, values: Matrix<Double>) {
        var floats = Matrix(rowCount: matrix.rowCount, columnCount: matrix.columnCount, elements: matrix.elements.map { Float($0 * scale) })
        let bytes: TensorBytes
        if case .block(let type) = encoding, let grid = BlockGrid(type) {
            let rounded = try ResQ.round(
                floats, to: [GridPart(columns: 0..<floats.columnCount, grid: grid)], factor: factor,
                // Blocks of a file hold neighbouring columns: in another order their scales are fixed at the start.
                dynamicGroups: factor.order == Array(0..<floats.columnCount),
                threadCount: threadCount)
            bytes = rounded.blocks(of: type, threadCount: threadCount)
            floats = rounded.dequantized()
        } else {
            bytes = roundedToHalf(&floats)
        }
        return (bytes, Matrix(rowCount: floats.rowCount, columnCount: floats.columnCount, elements: floats.elements.map { Double($0) / scale }))
    }

    /// F16 bytes, and the numbers in place as these have them.
    private func roundedToHalf(_ matrix: inout Matrix<Float>) -> TensorBytes {
        let source = matrix.elements
        let bytes = TensorBytes(
            ArrayStorage(byteCount: 2 * source.count) { target in
                do throws(FormatError) {
                    try Codec.encode(source.span, as: .plain(.f16), columnCount: max(1, source.count), importance: nil, into: &target)
                } catch { preconditionFailure("F16 can be encoded") }
            })
        var floats = matrix.elements.mutableSpan
        do throws(FormatError) { try Codec.decode(.plain(.f16), bytes.bytes, into: &floats) } catch { preconditionFailure("F16 can be decoded") }
        return bytes
    }
}
