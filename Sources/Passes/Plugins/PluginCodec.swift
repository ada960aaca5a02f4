import Formats

/// A plugin's block type: *apply* with rows in F32 gives rows of blocks, and the other way round.
struct PluginCodec: CustomCodec {
    let call: PluginCall
    let blockSize: Int
    let typeSize: Int

    func decode(_ source: RawSpan, into target: inout MutableSpan<Float>) throws(FormatError) {
        let bytes = try converted(TensorBytes(copying: source), elementCount: target.count, isDecoding: true)
        let span = bytes.bytes
        for index in 0..<target.count { target[index] = Float(bitPattern: span.littleEndian(UInt32.self, at: 4 * index)) }
    }

    func encode(_ source: Span<Float>, columnCount: Int, into target: inout MutableRawSpan) throws(FormatError) {
        let bytes = try converted(TensorBytes(copying: unsafe source.bytes), elementCount: source.count, isDecoding: false)
        copy(bytes.bytes, into: &target, at: 0)
    }

    /// Blocks know nothing of rows: all of them go as rows of one block.
    private func converted(_ bytes: TensorBytes, elementCount: Int, isDecoding: Bool) throws(FormatError) -> TensorBytes {
        do {
            let blockCount = elementCount / blockSize
            let values = try TensorInfo(name: "blocks", encoding: .plain(.f32), shape: [blockCount, blockSize])
            let blocks: JSONValue = [
                "name": "blocks", "dtype": .string(call.identifier), "shape": [.integer(blockCount), .integer(blockSize)],
                "bytes": .integer(blockCount * typeSize),
            ]
            return try call.apply(
                inputs: [(isDecoding ? blocks : values.described(), bytes)],
                outputs: [isDecoding ? (values.described(), values.byteCount) : (blocks, blockCount * typeSize)], rows: nil, tensor: "blocks")[0]
        } catch let error as FormatError {
            throw error
        } catch {
            throw FormatError(.unsupported(what: "\(isDecoding ? "decoding" : "encoding") \(call.identifier) (\(error))"))
        }
    }
}
