import Formats
import TestSupport

extension FileLayout {
    /// The file's bytes, each tensor filled with what `data` gives for its place in the list the layout was made from.
    func rendered(_ data: (Int) -> [UInt8]) -> [UInt8] {
        var bytes = header.array + [UInt8](repeating: 0, count: byteCount - header.count)
        for tensor in tensors {
            bytes.replaceSubrange(tensor.byteOffset..<tensor.byteOffset + tensor.info.byteCount, with: data(tensor.index))
        }
        return bytes
    }
}

extension SeededRandom {
    /// Tensors of every plain type, of rank 0 to 4, some empty, with odd and long names, all different.
    mutating func plainTensors(_ count: Int) throws -> [TensorInfo] {
        var tensors: [TensorInfo] = []
        while tensors.count < count {
            let dtype = DType.allCases[next(below: DType.allCases.count)]
            let shape = (0..<next(below: 5)).map { _ in next(below: 12) == 0 ? 0 : 1 + next(below: 5) }
            let name = text().replacing("\0", with: "") + (next(below: 8) == 0 ? String(repeating: "層", count: 300) : "") + "\(tensors.count)"
            // Sub-byte shapes that do not fill whole bytes are not tensors; draw again.
            if let info = try? TensorInfo(name: name, encoding: .plain(dtype), shape: shape) { tensors.append(info) }
        }
        return tensors
    }
}
