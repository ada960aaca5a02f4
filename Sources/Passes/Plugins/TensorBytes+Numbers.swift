import Formats

extension TensorBytes {
    /// Numbers as they stand in memory.
    init(floats: [Float]) { self.init(copying: unsafe floats.span.bytes) }
    init(doubles: [Double]) { self.init(copying: unsafe doubles.span.bytes) }

    /// The numbers that the bytes are.
    var doubles: [Double] {
        let span = bytes
        var numbers: [Double] = []
        for offset in stride(from: 0, to: count, by: 8) { numbers.append(Double(bitPattern: span.littleEndian(UInt64.self, at: offset))) }
        return numbers
    }

    init(copying bytes: RawSpan) {
        self.init(ArrayStorage(byteCount: bytes.byteCount) { target in copy(bytes, into: &target, at: 0) })
    }
}
