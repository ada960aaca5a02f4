/// Token ids below 256 as a NumPy file of 32-bit integers.
public func numPyBytes(_ ids: [Int]) -> [UInt8] {
    let header = "{'descr': '<i4', 'fortran_order': False, 'shape': (\(ids.count),), }"
    var bytes: [UInt8] = [0x93]
    bytes += Array("NUMPY".utf8)
    bytes += [1, 0, UInt8(header.utf8.count), 0]
    bytes += Array(header.utf8)
    for id in ids { bytes += [UInt8(id), 0, 0, 0] }
    return bytes
}
