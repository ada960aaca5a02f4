/// What goes into one zstd frame of a `.gguf.zst`: a part of the header, or of one tensor.
public struct FramePiece: Sendable, Hashable {
    /// The tensor's place in `FileLayout.tensors`; `nil` for the header.
    public var tensor: Int?
    /// Bytes of the tensor's data, or of the header.
    public var range: Range<Int>
    /// Zeros after them, up to where the next tensor starts.
    public var paddingByteCount: Int

    public init(tensor: Int?, range: Range<Int>, paddingByteCount: Int = 0) {
        self.tensor = tensor
        self.range = range
        self.paddingByteCount = paddingByteCount
    }

    /// Bytes of the frame's content.
    public var byteCount: Int { range.count + paddingByteCount }
}

extension FileLayout {
    /// The bytes a frame holds unless another size is asked for.
    public static let defaultFrameByteCount = 4 << 20

    /// Cuts the file into frames that start and end with tensors; large tensors are cut into several, between rows.
    /// - Parameter frameByteCount: bytes of a frame, 1 to 128 MiB; a row that is larger is not kept whole.
    public func framePieces(frameByteCount: Int = defaultFrameByteCount) -> [FramePiece] {
        let limit = min(max(frameByteCount, 1), ZstdCompressor.maxFrameByteCount)
        var pieces: [FramePiece] = []
        func cut(_ byteCount: Int, tensor: Int?, step: Int, padding: Int) {
            for start in stride(from: 0, to: byteCount, by: step) {
                pieces.append(FramePiece(tensor: tensor, range: start..<min(start + step, byteCount)))
            }
            if byteCount > 0 { pieces[pieces.count - 1].paddingByteCount = padding }
        }
        cut(header.count, tensor: nil, step: limit, padding: (tensors.first?.byteOffset ?? byteCount) - header.count)
        for (index, tensor) in tensors.enumerated() {
            let end = index + 1 < tensors.count ? tensors[index + 1].byteOffset : byteCount
            let row = tensor.info.rowByteCount ?? 1
            let step = row > 0 && row <= limit ? limit / row * row : limit
            cut(tensor.info.byteCount, tensor: index, step: step, padding: end - tensor.byteOffset - tensor.info.byteCount)
        }
        return pieces
    }
}
