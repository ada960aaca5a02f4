/// Reads the tensor infos.
/// - Returns: the tensors with outermost dimensions first, and their offsets counted from the start of the data.
///   The last offset plus the last padded size does not overflow.
@_lifetime(reader: copy reader)
func readTensorInfos(
    _ reader: inout ByteReader, count: Int, alignment: Int
) throws(FormatError) -> (tensors: [TensorInfo], offsets: [Int]) {
    var tensors: [TensorInfo] = []
    var offsets: [Int] = []
    var names: Set<ExactString> = []
    // The count was compared with the file; these bytes may be only its beginning.
    let room = min(count, reader.remaining / GGUFHeader.minTensorInfoByteCount)
    tensors.reserveCapacity(room)
    offsets.reserveCapacity(room)
    var expectedOffset = 0
    for index in 0..<count {
        let start = UInt64(reader.offset)
        let name = try readTensorName(&reader, index: index)
        guard names.insert(ExactString(name)).inserted else {
            throw FormatError(.duplicate(field: "tensor name", name: name), byteOffset: start)
        }
        let shape: [Int]
        let type: GGMLType
        let offset: UInt64
        let offsetPosition: Int
        do throws(FormatError) {
            shape = try readShape(&reader)
            type = try readTensorType(&reader)
            offsetPosition = reader.offset
            offset = try reader.integer(UInt64.self, "tensor offset")
        } catch {
            var named = error
            named.tensor = name
            throw named
        }
        let info = try tensorInfo(name, type, shape, at: start)
        guard offset == UInt64(expectedOffset) else {
            throw FormatError(
                .invalid(field: "offset", found: "\(offset)", expected: "\(expectedOffset), the end of the tensor before it"),
                tensor: name, byteOffset: UInt64(offsetPosition))
        }
        guard let paddedByteCount = padded(info.byteCount, to: alignment),
            case let (next, overflow) = expectedOffset.addingReportingOverflow(paddedByteCount), !overflow
        else {
            throw FormatError(
                .invalidShape(shape: shape, encoding: type.name, why: "the byte count overflows"), tensor: name, byteOffset: start)
        }
        tensors.append(info)
        offsets.append(expectedOffset)
        expectedOffset = next
    }
    return (tensors, offsets)
}

private func tensorInfo(_ name: String, _ type: GGMLType, _ shape: [Int], at offset: UInt64) throws(FormatError) -> TensorInfo {
    do throws(FormatError) {
        return try TensorInfo(name: name, encoding: Encoding(type), shape: shape)
    } catch {
        var located = error
        located.byteOffset = offset
        throw located
    }
}

@_lifetime(reader: copy reader)
private func readTensorName(_ reader: inout ByteReader, index: Int) throws(FormatError) -> String {
    let start = UInt64(reader.offset)
    let byteCount = try reader.integer(UInt64.self, "name length of tensor \(index)")
    guard byteCount <= UInt64(GGUFHeader.maxTensorNameByteCount) else {
        throw FormatError(
            .invalid(
                field: "name length of tensor \(index)", found: "\(byteCount)",
                expected: "at most \(GGUFHeader.maxTensorNameByteCount)"), byteOffset: start)
    }
    return try readText(&reader, byteCount: byteCount, "name of tensor \(index)", allowsNUL: false)
}

/// Reads the dimensions and turns them round: the file has the fastest first.
@_lifetime(reader: copy reader)
private func readShape(_ reader: inout ByteReader) throws(FormatError) -> [Int] {
    let start = UInt64(reader.offset)
    let rank = try reader.integer(UInt32.self, "n_dims")
    guard rank <= UInt32(GGUFHeader.maxRank) else {
        throw FormatError(.invalid(field: "n_dims", found: "\(rank)", expected: "at most \(GGUFHeader.maxRank)"), byteOffset: start)
    }
    var shape: [Int] = []
    for axis in 0..<rank {
        let position = UInt64(reader.offset)
        let dimension = try reader.integer(Int64.self, "dimension \(axis)")
        guard dimension >= 0 else {
            throw FormatError(.invalid(field: "dimension \(axis)", found: "\(dimension)", expected: "at least 0"), byteOffset: position)
        }
        shape.append(Int(dimension))
    }
    return shape.reversed()
}

@_lifetime(reader: copy reader)
private func readTensorType(_ reader: inout ByteReader) throws(FormatError) -> GGMLType {
    let start = UInt64(reader.offset)
    let number = try reader.integer(UInt32.self, "tensor type")
    guard let type = GGMLType(rawValue: number) else {
        throw FormatError(
            .invalid(field: "tensor type", found: "\(number)", expected: "a ggml type in use"), byteOffset: start)
    }
    return type
}
