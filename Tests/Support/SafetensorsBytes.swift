/// The bytes of a safetensors file with that header text and that many bytes of data, counting 0, 1, 2, ...
public func safetensorsBytes(_ header: String, dataByteCount: Int = 0) -> [UInt8] {
    safetensorsBytes(Array(header.utf8), dataByteCount: dataByteCount)
}

public func safetensorsBytes(_ header: [UInt8], dataByteCount: Int = 0) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) } + header + (0..<dataByteCount).map { UInt8(truncatingIfNeeded: $0) }
}
