/// XXH64 with seed 0: the hash whose low half zstd stores after each frame.
///
/// Four accumulators take 32 bytes a round: v = rotl(v + lane · P2, 31) · P1.
package func xxh64(_ bytes: RawSpan) -> UInt64 {
    var offset = 0
    var hash = prime5
    if bytes.byteCount >= 32 {
        var v1 = prime1 &+ prime2, v2 = prime2, v3: UInt64 = 0, v4 = 0 &- prime1
        while bytes.byteCount - offset >= 32 {
            v1 = round(v1, bytes.littleEndian(at: offset))
            v2 = round(v2, bytes.littleEndian(at: offset + 8))
            v3 = round(v3, bytes.littleEndian(at: offset + 16))
            v4 = round(v4, bytes.littleEndian(at: offset + 24))
            offset += 32
        }
        hash = rotated(v1, 1) &+ rotated(v2, 7) &+ rotated(v3, 12) &+ rotated(v4, 18)
        for v in [v1, v2, v3, v4] { hash = (hash ^ round(0, v)) &* prime1 &+ prime4 }
    }
    hash &+= UInt64(bytes.byteCount)
    while bytes.byteCount - offset >= 8 {
        hash = rotated(hash ^ round(0, bytes.littleEndian(at: offset)), 27) &* prime1 &+ prime4
        offset += 8
    }
    if bytes.byteCount - offset >= 4 {
        hash = rotated(hash ^ UInt64(bytes.littleEndian(UInt32.self, at: offset)) &* prime1, 23) &* prime2 &+ prime3
        offset += 4
    }
    while offset < bytes.byteCount {
        hash = rotated(hash ^ UInt64(bytes.littleEndian(UInt8.self, at: offset)) &* prime5, 11) &* prime1
        offset += 1
    }
    hash = (hash ^ hash >> 33) &* prime2
    hash = (hash ^ hash >> 29) &* prime3
    return hash ^ hash >> 32
}

private let prime1: UInt64 = 0x9E37_79B1_85EB_CA87
private let prime2: UInt64 = 0xC2B2_AE3D_27D4_EB4F
private let prime3: UInt64 = 0x1656_67B1_9E37_79F9
private let prime4: UInt64 = 0x85EB_CA77_C2B2_AE63
private let prime5: UInt64 = 0x27D4_EB2F_1656_67C5

@inline(__always) private func rotated(_ value: UInt64, _ count: UInt64) -> UInt64 { value << count | value >> (64 - count) }

@inline(__always) private func round(_ accumulator: UInt64, _ lane: UInt64) -> UInt64 {
    rotated(accumulator &+ lane &* prime2, 31) &* prime1
}
