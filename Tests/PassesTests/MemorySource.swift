import Formats
import Passes
import Synchronization

/// Tensors in memory that count how often each of their rows is asked for.
final class MemorySource: TensorSource {
    let manifest: Manifest
    let files: [SourceFile] = []
    private let data: [TensorBytes]
    private let requests: Mutex<[[Range<Int>]]>

    init(_ tensors: [(name: String, encoding: Encoding, shape: [Int], bytes: [UInt8])], metadata: ContainerMetadata = .safetensors([:])) throws {
        let infos = try tensors.map { try TensorInfo(name: $0.name, encoding: $0.encoding, shape: $0.shape) }
        manifest = Manifest(format: .safetensors, tensors: infos, metadata: metadata, byteOffsets: infos.map { _ in 0 })
        data = tensors.map { TensorBytes($0.bytes) }
        requests = Mutex(Array(repeating: [], count: tensors.count))
        for (info, bytes) in zip(infos, data) { precondition(info.byteCount == bytes.count, "bytes of \(info.name)") }
    }

    func bytes(ofTensorAt index: Int) throws(FormatError) -> TensorBytes {
        try bytes(ofTensorAt: index, in: 0..<data[index].count)
    }

    func bytes(ofTensorAt index: Int, in range: Range<Int>) throws(FormatError) -> TensorBytes {
        requests.withLock { $0[index].append(range) }
        return data[index][range]
    }

    /// Bytes asked for so far, by tensor.
    var requestedByteCounts: [Int] { requests.withLock { $0.map { $0.reduce(0) { $0 + $1.count } } } }

    /// The tensor as a graph has it.
    func tensor(_ index: Int) -> LazyTensor {
        LazyTensor(info: manifest.tensors[index], operation: SourceSlice(source: self, index: index))
    }
}

/// Little-endian bytes of floats.
func bytes(_ values: [Float]) -> [UInt8] {
    values.flatMap { value in (0..<4).map { UInt8(truncatingIfNeeded: value.bitPattern >> (8 * UInt32($0))) } }
}

/// Floats from little-endian bytes.
func floats(_ bytes: TensorBytes) -> [Float] {
    let array = bytes.array
    return stride(from: 0, to: array.count, by: 4).map { start in
        Float(bitPattern: (0..<4).reduce(UInt32(0)) { $0 | UInt32(array[start + $1]) << (8 * UInt32($1)) })
    }
}

/// A small generator with a seed, so that a failing case can be made again.
struct SplitMix64: RandomNumberGenerator {
    var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
