/// Whether and how hard to compress a tensor, judged by a sample of it.
///
/// Weights are close to noise: a higher level rarely gains what it costs, and some types do not shrink at all.
public struct CompressionChoice: Sendable, Hashable {
    /// The zstd level to use.
    public let level: Int
    /// Compressed bytes of the sample divided by its bytes, at that level.
    public let sampledRatio: Double

    /// zstd's fastest level: it looks for long repeats only and stores the rest as it is.
    public static let storing = -131072
    /// What a level must save to be worth its time, of the sample's bytes.
    private static let worthwhileSaving = 0.01
    private static let sampleCount = 4

    /// Whether the tensor is stored rather than compressed.
    public var isStored: Bool { level == Self.storing }

    /// Tries level 1, and the requested one when it is higher, on a sample: a 32nd of the tensor, 32 to 128 KiB.
    ///
    /// Below a saving of 1 % the tensor is stored; the requested level is taken over level 1 when it saves 1 % more.
    /// The choice depends on the bytes and the level only.
    public init(sampling bytes: TensorBytes, requestedLevel: Int) throws(FormatError) {
        let ranges = Self.sampleRanges(byteCount: bytes.count)
        var sample: [UInt8] = []
        for range in ranges { sample += bytes[range].array }
        guard !sample.isEmpty else {
            (level, sampledRatio) = (Self.storing, 1)
            return
        }
        func ratio(_ level: Int) throws(FormatError) -> Double {
            let count = try compressors.use(make: ZstdCompressor.init) { compressor throws(FormatError) in
                try compressor.compress(sample.rawBytes, level: level).count
            }
            return Double(count) / Double(sample.count)
        }
        let low = min(requestedLevel, 1)
        var best = (level: low, ratio: try ratio(low))
        if requestedLevel > low {
            let high = try ratio(requestedLevel)
            if high <= best.ratio - Self.worthwhileSaving { best = (requestedLevel, high) }
        }
        if best.ratio > 1 - Self.worthwhileSaving { best = (Self.storing, 1) }
        (level, sampledRatio) = best
    }

    /// The parts of a tensor that are looked at: all of a small one, else four parts spread over it. A sample is compressed
    /// twice, so it must stay small beside the tensor.
    public static func sampleRanges(byteCount: Int) -> [Range<Int>] {
        let partByteCount = min(max(byteCount / 32, 32 << 10), 128 << 10) / sampleCount
        guard byteCount > partByteCount * sampleCount else { return byteCount > 0 ? [0..<byteCount] : [] }
        let stride = (byteCount - partByteCount) / (sampleCount - 1)
        return (0..<sampleCount).map { $0 * stride..<$0 * stride + partByteCount }
    }
}

/// Models have many small tensors, for which making a context would cost more than the samples.
private let compressors = ContextPool<ZstdCompressor>()
