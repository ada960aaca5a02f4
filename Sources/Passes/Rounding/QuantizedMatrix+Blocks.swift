import Formats
import Models
import ResQ
import Threads

extension QuantizedMatrix {
    /// The matrix as blocks of a ggml type, row after row.
    /// - Precondition: one part, of the type's grid, without scattered groups.
    func blocks(of type: GGMLType, threadCount: Int) -> TensorBytes {
        precondition(parts.count == 1 && parts[0].scatteredGroups == nil, "blocks of neighbouring columns")
        let rowByteCount = columnCount / type.blockSize * type.typeSize
        return TensorBytes(
            ArrayStorage(byteCount: rowCount * rowByteCount) { target in
                unsafe target.withUnsafeMutableBytes { target in
                    // Rows are disjoint parts of the memory, which is as long as all of them together.
                    guard let start = unsafe target.bindMemory(to: UInt8.self).baseAddress else { return }
                    let bytes = unsafe SharedMutable(start)
                    inParallel(count: rowCount, threadCount: threadCount) { row in
                        var span = unsafe bytes.span(row * rowByteCount..<(row + 1) * rowByteCount)
                        assembleRow(row, as: type, into: &span)
                    }
                }
            })
    }

    private func assembleRow(_ row: Int, as type: GGMLType, into bytes: inout MutableSpan<UInt8>) {
        let part = parts[0]
        let groups = part.groupsPerBlock
        let hasGroups = type.blockSize == 256
        let hasGroupMinimums = type == .q2_K || type == .q4_K || type == .q5_K
        for block in 0..<columnCount / type.blockSize {
            let firstGroup = row * part.groupCount + block * groups
            let place = row * part.blockCount + block
            let start = row * columnCount + block * type.blockSize
            let superOffset = part.superOffsets[place]
            let numbers = BlockNumbers(
                scale: part.superScales[place], minimum: hasGroupMinimums ? superOffset : -superOffset,
                groupScales: hasGroups ? (0..<groups).map { Int(part.subScales[firstGroup + $0]) } : [],
                groupMinimums: hasGroupMinimums ? (0..<groups).map { Int(part.subOffsets[firstGroup + $0]) } : [],
                levels: (0..<type.blockSize).map { Int(levels[start + $0]) })
            var target = bytes.part(block * type.typeSize..<(block + 1) * type.typeSize)
            for index in 0..<type.typeSize { target[index] = 0 }
            numbers.assemble(type, into: &target)
        }
    }
}

extension Weight {
    /// The numbers that stored bytes stand for, shaped like another weight.
    init(decoding bytes: TensorBytes, as encoding: Encoding, like weight: Weight) throws {
        var floats = [Float](repeating: 0, count: weight.rowCount * weight.columnCount)
        var target = floats.mutableSpan
        try Codec.decode(encoding, bytes.bytes, into: &target)
        self.init(name: weight.name, rowCount: weight.rowCount, columnCount: weight.columnCount, floats: floats.span)
    }
}
