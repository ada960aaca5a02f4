import Formats
import Synchronization
import Threads

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// How two models differ, tensor by tensor.
public struct Comparison: Sendable {
    /// Names that only one side has, in its order.
    public var onlyInA: [String]
    public var onlyInB: [String]
    /// The tensors both sides have, in the order of the first.
    public var tensors: [TensorComparison]

    /// Whether the weights of one side, a ResQ artifact, went through rotations and those of the other did not.
    public var isRotatedApart: Bool

    /// Whether both sides have the same tensors with the same bytes.
    public var isIdentical: Bool { onlyInA.isEmpty && onlyInB.isEmpty && tensors.allSatisfy(\.isIdentical) }
}

/// How one tensor differs between two models.
public struct TensorComparison: Sendable, Equatable {
    public var name: String
    public var encodingA: Encoding
    public var encodingB: Encoding
    public var shapeA: [Int]
    public var shapeB: [Int]
    /// Whether encoding, shape and every byte agree.
    public var isIdentical: Bool
    /// The largest |a - b|, or `nil` when the shapes differ or a side cannot be decoded.
    public var maximumAbsoluteError: Double?
    /// √(Σ (a - b)² / Σ a²), the first model being the reference; infinite when only the reference is all zeros.
    public var relativeRootMeanSquareError: Double?
}

extension Comparison {
    /// Compares two graphs, a run of rows at a time; of two ResQ artifacts the rotations beside the weights too.
    ///
    /// Memory: two runs of rows as `Float` per thread.
    public init(_ a: TensorGraph, _ b: TensorGraph, threadCount: Int, progress: Progress = Progress()) throws {
        func byName(_ tensors: [LazyTensor]) -> [String: LazyTensor] {
            Dictionary(tensors.map { ($0.info.name, $0) }, uniquingKeysWith: { first, _ in first })
        }
        isRotatedApart = (a.online?.rotations ?? []).isEmpty != (b.online?.rotations ?? []).isEmpty
        var (inA, inB) = (a.tensors, b.tensors)
        if let onlineA = a.online, let onlineB = b.online {
            inA += onlineA.rotations
            inB += onlineB.rotations
        }
        let (namedA, namedB) = (byName(inA), byName(inB))
        onlyInA = inA.map(\.info.name).filter { namedB[$0] == nil }
        onlyInB = inB.map(\.info.name).filter { namedA[$0] == nil }
        let pairs = inA.compactMap { tensor in namedB[tensor.info.name].map { (tensor, $0) } }
        progress.begin(.comparing, total: pairs.reduce(0) { $0 + $1.0.info.byteCount })
        let results = Mutex([TensorComparison?](repeating: nil, count: pairs.count))
        try inParallel(count: pairs.count, threadCount: threadCount) { index throws(any Error) in
            let result = try TensorComparison(pairs[index].0, pairs[index].1)
            results.withLock { $0[index] = result }
            progress.advance(pairs[index].0.info.byteCount)
        }
        tensors = results.withLock { $0.compactMap(\.self) }
    }
}

extension TensorComparison {
    init(_ a: LazyTensor, _ b: LazyTensor) throws {
        self.init(
            name: a.info.name, encodingA: a.info.encoding, encodingB: b.info.encoding, shapeA: a.info.shape,
            shapeB: b.info.shape, isIdentical: false, maximumAbsoluteError: nil, relativeRootMeanSquareError: nil)
        guard a.info.shape == b.info.shape else { return }
        let sameEncoding = a.info.encoding == b.info.encoding
        let comparable = Codec.canDecode(a.info.encoding) && Codec.canDecode(b.info.encoding)
        var sameBytes = sameEncoding
        var sums = ErrorSums()
        for rows in a.info.rowRuns(ofElements: 1 << 18) {
            let (bytesA, bytesB) = (try a.rows(rows), try b.rows(rows))
            if sameBytes { sameBytes = bytesA.bytes.isEqual(to: bytesB.bytes) }
            guard comparable else { continue }
            let (floatsA, floatsB) = (try decoded(bytesA, rows, of: a.info), try decoded(bytesB, rows, of: b.info))
            sums.add(reference: floatsA.span, other: floatsB.span)
        }
        isIdentical = sameBytes
        guard comparable else { return }
        maximumAbsoluteError = sums.maximum
        relativeRootMeanSquareError = sums.relativeRootMeanSquare
    }
}

/// Running sums of an error and its reference, in `Double`.
struct ErrorSums: Sendable {
    var maximum = 0.0
    var squaredError = 0.0
    var squaredReference = 0.0

    mutating func add(reference: Span<Float>, other: Span<Float>) {
        for index in 0..<reference.count {
            let difference = Double(reference[index]) - Double(other[index])
            // Written so that a NaN on either side is never hidden.
            if !(abs(difference) <= maximum) { maximum = abs(difference) }
            squaredError += difference * difference
            squaredReference += Double(reference[index]) * Double(reference[index])
        }
    }

    mutating func merge(_ other: ErrorSums) {
        if !(other.maximum <= maximum) { maximum = other.maximum }
        squaredError += other.squaredError
        squaredReference += other.squaredReference
    }

    /// √(Σ error² / Σ reference²); 0 for no error at all.
    var relativeRootMeanSquare: Double { squaredError == 0 ? 0 : (squaredError / squaredReference).squareRoot() }
}

extension TensorInfo {
    /// The rows cut into runs of about `elementCount` elements; everything at once when rows are not whole bytes.
    func rowRuns(ofElements elementCount: Int) -> [Range<Int>] {
        guard byteCount > 0 else { return [] }
        let step = rowByteCount == nil ? rowCount : max(1, elementCount / max(1, columnCount))
        return stride(from: 0, to: rowCount, by: step).map { $0..<min(rowCount, $0 + step) }
    }
}

extension RawSpan {
    /// Whether two runs of bytes are equal.
    func isEqual(to other: RawSpan) -> Bool {
        // Both spans live through the call, and memcmp reads no further than their common length.
        guard byteCount == other.byteCount, byteCount > 0 else { return byteCount == other.byteCount }
        return unsafe withUnsafeBytes { a in
            unsafe other.withUnsafeBytes { b in unsafe memcmp(a.baseAddress!, b.baseAddress!, a.count) == 0 }
        }
    }
}
