import Formats
import Testing
import TestSupport

/// A file that must be refused, and what must be said of it.
struct MalformedGGUF: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let bytes: [UInt8]
    let error: FormatError

    init(
        _ description: String, _ reason: FormatError.Reason, tensor: String? = nil, at byteOffset: UInt64? = nil,
        _ build: (inout GGUFBytes) -> Void
    ) {
        var file = GGUFBytes()
        build(&file)
        testDescription = description
        bytes = file.bytes
        error = FormatError(reason, path: "m.gguf", tensor: tensor, byteOffset: byteOffset)
    }
}

@Suite struct GGUFMalformedTests {
    @Test(arguments: headers + keys + values + tensorInfos + layouts) func isRefused(_ file: MalformedGGUF) {
        #expect(throws: file.error) { try openGGUF(file.bytes) }
    }

    static let headers = [
        MalformedGGUF("an empty file", .truncated(field: "magic", needed: 4, available: 0), at: 0) { $0.bytes = [] },
        MalformedGGUF("a file of four bytes", .truncated(field: "version", needed: 4, available: 0), at: 4) {
            $0.bytes = Array("GGUF".utf8)
        },
        MalformedGGUF("another magic", .invalid(field: "magic", found: "0x46554747", expected: "GGUF"), at: 0) {
            $0 = GGUFBytes(magic: "FUGG")
        },
        MalformedGGUF("version 0", .invalid(field: "version", found: "0", expected: "2 or 3"), at: 4) { $0 = GGUFBytes(version: 0) },
        MalformedGGUF("version 1", .invalid(field: "version", found: "1", expected: "2 or 3"), at: 4) { $0 = GGUFBytes(version: 1) },
        MalformedGGUF("version 4", .invalid(field: "version", found: "4", expected: "2 or 3"), at: 4) { $0 = GGUFBytes(version: 4) },
        MalformedGGUF("a big-endian file", .unsupported(what: "a big-endian GGUF file (version 3)"), at: 4) {
            $0 = GGUFBytes(version: UInt32(3).byteSwapped)
        },
        MalformedGGUF("-1 tensors", count("n_tensors", -1, limit: 0), at: 8) { $0 = GGUFBytes(tensors: -1) },
        MalformedGGUF("more tensors than there is room for", count("n_tensors", 2, limit: 1), at: 8) {
            $0 = GGUFBytes(tensors: 2)
            $0.bytes += [UInt8](repeating: 0, count: 20)
        },
        MalformedGGUF("2^63 - 1 tensors", count("n_tensors", .max, limit: 0), at: 8) { $0 = GGUFBytes(tensors: .max) },
        MalformedGGUF("-1 keys", count("n_kv", -1, limit: 0), at: 16) { $0 = GGUFBytes(keys: -1) },
        MalformedGGUF("2^63 - 1 keys", count("n_kv", .max, limit: 0), at: 16) { $0 = GGUFBytes(keys: .max) },
    ]

    static let keys = [
        MalformedGGUF("a key of 2^64 - 1 bytes", keyLength(.max), at: 24) {
            $0 = GGUFBytes(keys: 1)
            $0.append(UInt64.max)
            $0.bytes += [UInt8](repeating: 0, count: 20)
        },
        MalformedGGUF("a key of 65536 bytes", keyLength(65536), at: 24) {
            $0 = GGUFBytes(keys: 1)
            $0.key(String(repeating: "k", count: 65536), type: 0, [1])
        },
        MalformedGGUF("a key longer than the file", .truncated(field: "key", needed: 30, available: 12), at: 32) {
            $0 = GGUFBytes(keys: 1)
            $0.append(UInt64(30))
            $0.bytes += [UInt8](repeating: 65, count: 12)
        },
        MalformedGGUF("an empty key", keyLength(0), at: 24) {
            $0 = GGUFBytes(keys: 1)
            $0.key("", type: 4, [0, 0, 0, 0])
        },
        MalformedGGUF("a key with a NUL", .invalid(field: "key", found: "a\0b", expected: "no NUL"), at: 32) {
            $0 = GGUFBytes(keys: 1)
            $0.key("a\0b", type: 0, [1])
        },
        MalformedGGUF("a key that is not UTF-8", .invalid(field: "key", found: "not UTF-8", expected: "UTF-8"), at: 32) {
            $0 = GGUFBytes(keys: 1)
            $0.append(UInt64(2))
            $0.bytes += [0xC3, 0x28, 0, 0, 0, 0, 1]
        },
        MalformedGGUF("a duplicate key", .duplicate(field: "key", name: "k"), at: 38) {
            $0 = GGUFBytes(keys: 2)
            $0.key("k", type: 0, [1])
            $0.key("k", type: 4, [1, 0, 0, 0])
        },
        MalformedGGUF("a value type of 13", .invalid(field: "type of key 'k'", found: "13", expected: "0 to 12"), at: 33) {
            $0 = GGUFBytes(keys: 1)
            $0.key("k", type: 13, [1])
        },
        MalformedGGUF("an alignment of 13", alignment("13"), at: nil) {
            $0 = GGUFBytes(keys: 1)
            $0.alignment(13)
        },
        MalformedGGUF("an alignment of 0", alignment("0"), at: nil) {
            $0 = GGUFBytes(keys: 1)
            $0.alignment(0)
        },
        MalformedGGUF("an alignment of 2 MiB", alignment("2097152"), at: nil) {
            $0 = GGUFBytes(keys: 1)
            $0.alignment(1 << 21)
        },
        MalformedGGUF("an i32 alignment", .invalid(field: "general.alignment", found: "of type i32", expected: "a u32")) {
            $0 = GGUFBytes(keys: 1)
            $0.key("general.alignment", type: 5, [32, 0, 0, 0])
        },
    ]

    static let values = [
        MalformedGGUF("a number cut short", .truncated(field: "value of key 'k'", needed: 8, available: 4), at: 37) {
            $0 = GGUFBytes(keys: 1)
            $0.key("k", type: 10, [0, 0, 0, 0])
        },
        MalformedGGUF("a string past the end", .truncated(field: "value of key 'k'", needed: 3, available: 2), at: 45) {
            $0 = GGUFBytes(keys: 1)
            $0.key("k", type: 8, [3, 0, 0, 0, 0, 0, 0, 0, 65, 65])
        },
        MalformedGGUF("a string of 2^64 - 1 bytes", stringLength("value of key 'k'", .max), at: 37) {
            $0 = GGUFBytes(keys: 1)
            $0.key("k", type: 8, [UInt8](repeating: 0xFF, count: 8))
        },
        MalformedGGUF(
            "a string that is not UTF-8", .invalid(field: "value of key 'k'", found: "not UTF-8", expected: "UTF-8"), at: 45
        ) {
            $0 = GGUFBytes(keys: 1)
            $0.key("k", type: 8, [1, 0, 0, 0, 0, 0, 0, 0, 0xFF])
        },
        MalformedGGUF("an array of arrays", .unsupported(what: "an array of arrays (key 'k')"), at: 37) {
            $0 = GGUFBytes(keys: 1)
            $0.key("k", type: 9, [9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        },
        MalformedGGUF(
            "an array of type 13", .invalid(field: "element type of key 'k'", found: "13", expected: "0 to 12"), at: 37
        ) {
            $0 = GGUFBytes(keys: 1)
            $0.key("k", type: 9, [13, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        },
        MalformedGGUF("an array of 2^64 - 1 numbers", arrayLength(.max), at: 37) {
            $0 = GGUFBytes(keys: 1)
            $0.key("k", type: 9, [10, 0, 0, 0] + [UInt8](repeating: 0xFF, count: 8))
        },
        MalformedGGUF("an array past the end", .truncated(field: "value of key 'k'", needed: 8, available: 7), at: 49) {
            $0 = GGUFBytes(keys: 1)
            $0.key("k", type: 9, [4, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0] + [UInt8](repeating: 0, count: 7))
        },
        MalformedGGUF(
            "2^30 strings in a small file", .truncated(field: "value of key 'k'", needed: 1 << 33, available: 8), at: 49
        ) {
            $0 = GGUFBytes(keys: 1)
            $0.key("k", type: 9, [8, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0] + [UInt8](repeating: 0, count: 8))
        },
        MalformedGGUF(
            "a string in an array past the end", .truncated(field: "value of key 'k'", needed: 9, available: 1), at: 57
        ) {
            $0 = GGUFBytes(keys: 1)
            $0.key("k", type: 9, [8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0] + [9, 0, 0, 0, 0, 0, 0, 0, 65])
        },
        MalformedGGUF(
            "a string in an array that is not UTF-8",
            .invalid(field: "value of key 'k'", found: "not UTF-8", expected: "UTF-8"), at: 57
        ) {
            $0 = GGUFBytes(keys: 1)
            $0.key("k", type: 9, [8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0] + [1, 0, 0, 0, 0, 0, 0, 0, 0x80])
        },
    ]

    static let tensorInfos = [
        MalformedGGUF("a name of 64 bytes", nameLength(64), at: 24) {
            $0 = GGUFBytes(tensors: 1)
            $0.tensor(String(repeating: "t", count: 64), dimensions: [1])
        },
        MalformedGGUF("a name of 2^64 - 1 bytes", nameLength(.max), at: 24) {
            $0 = GGUFBytes(tensors: 1)
            $0.append(UInt64.max)
            $0.bytes += [UInt8](repeating: 0, count: 16)
        },
        MalformedGGUF("a name with a NUL", .invalid(field: "name of tensor 0", found: "t\0", expected: "no NUL"), at: 32) {
            $0 = GGUFBytes(tensors: 1)
            $0.tensor("t\0", dimensions: [1])
        },
        MalformedGGUF("a duplicate name", .duplicate(field: "tensor name", name: "t"), at: 57) {
            $0 = GGUFBytes(tensors: 2)
            $0.tensor("t", dimensions: [1])
            $0.tensor("t", dimensions: [1], offset: 32)
        },
        MalformedGGUF("5 dimensions", .invalid(field: "n_dims", found: "5", expected: "at most 4"), tensor: "t", at: 33) {
            $0 = GGUFBytes(tensors: 1)
            $0.tensor("t", dimensions: [1, 1, 1, 1, 1])
        },
        MalformedGGUF(
            "a dimension of -1", .invalid(field: "dimension 1", found: "-1", expected: "at least 0"), tensor: "t", at: 45
        ) {
            $0 = GGUFBytes(tensors: 1)
            $0.tensor("t", dimensions: [1, -1])
        },
        MalformedGGUF(
            "an element count past 2^63", overflow([8_589_934_588, 8_589_934_588], "F32", "the element count overflows"),
            tensor: "t", at: 24
        ) {
            $0 = GGUFBytes(tensors: 1)
            $0.tensor("t", dimensions: [4 * 2_147_483_647, 4 * 2_147_483_647])
        },
        MalformedGGUF(
            "an element count that wraps to zero", overflow([1 << 32, 1 << 32], "F32", "the element count overflows"),
            tensor: "t", at: 24
        ) {
            $0 = GGUFBytes(tensors: 1)
            $0.tensor("t", dimensions: [1 << 32, 1 << 32])
        },
        MalformedGGUF(
            "an element count past 2^63 behind a zero", overflow([0, .max, 2], "F32", "the element count overflows"),
            tensor: "t", at: 24
        ) {
            $0 = GGUFBytes(tensors: 1)
            $0.tensor("t", dimensions: [2, .max, 0])
        },
        MalformedGGUF("a byte count past 2^63", overflow([.max], "I64", "the byte count overflows"), tensor: "t", at: 24) {
            $0 = GGUFBytes(tensors: 1)
            $0.tensor("t", dimensions: [.max], type: 27)
        },
        MalformedGGUF(
            "a byte count just below 2^64, which padding would wrap to zero",
            overflow([1_073_741_825, 1_073_741_823, 4], "F32", "the byte count overflows"), tensor: "t", at: 24
        ) {
            $0 = GGUFBytes(tensors: 1)
            $0.tensor("t", dimensions: [4, 1_073_741_823, 1_073_741_825])
        },
        MalformedGGUF("a type of 43", ggmlType(43), tensor: "t", at: 45) {
            $0 = GGUFBytes(tensors: 1)
            $0.tensor("t", dimensions: [32], type: 43)
        },
        MalformedGGUF("the retired type 4", ggmlType(4), tensor: "t", at: 45) {
            $0 = GGUFBytes(tensors: 1)
            $0.tensor("t", dimensions: [32], type: 4)
        },
        MalformedGGUF("the retired type 36", ggmlType(36), tensor: "t", at: 45) {
            $0 = GGUFBytes(tensors: 1)
            $0.tensor("t", dimensions: [32], type: 36)
        },
        MalformedGGUF(
            "a row that is not whole blocks",
            overflow([2, 33], "Q4_0", "a row of 33 is not a whole number of blocks of 32"), tensor: "t", at: 24
        ) {
            $0 = GGUFBytes(tensors: 1)
            $0.tensor("t", dimensions: [33, 2], type: 2)
        },
    ]

    static let layouts = [
        MalformedGGUF("an offset of 2^64 - 1", offset(.max, expected: 0), tensor: "t", at: 49) {
            $0 = GGUFBytes(tensors: 1)
            $0.tensor("t", dimensions: [4], offset: .max)
        },
        MalformedGGUF("a gap between tensors", offset(64, expected: 32), tensor: "u", at: 82) {
            $0 = GGUFBytes(tensors: 2)
            $0.tensor("t", dimensions: [4])
            $0.tensor("u", dimensions: [4], offset: 64)
        },
        MalformedGGUF("two tensors in one place", offset(0, expected: 32), tensor: "u", at: 82) {
            $0 = GGUFBytes(tensors: 2)
            $0.tensor("t", dimensions: [4])
            $0.tensor("u", dimensions: [4])
        },
        MalformedGGUF("offsets of another alignment", offset(16, expected: 32), tensor: "u", at: 82) {
            $0 = GGUFBytes(tensors: 2)
            $0.tensor("t", dimensions: [4])
            $0.tensor("u", dimensions: [4], offset: 16)
        },
        MalformedGGUF(
            "a byte count of almost 2^63", overflow([0x7FFF_FFFF_FFFF_FFC0], "I8", "the byte count overflows"),
            tensor: "t", at: 24
        ) {
            $0 = GGUFBytes(tensors: 2)
            $0.tensor("t", dimensions: [0x7FFF_FFFF_FFFF_FFC0], type: 24)
            $0.tensor("u", dimensions: [0x7FFF_FFFF_FFFF_FFC0], type: 24, offset: 0x7FFF_FFFF_FFFF_FFC0)
        },
        MalformedGGUF(
            "tensors whose sizes together pass 2^63", overflow([1 << 59], "I8", "the byte count overflows"),
            tensor: "p", at: 24 + 15 * 33
        ) {
            $0 = GGUFBytes(tensors: 16)
            for (index, name) in "abcdefghijklmnop".enumerated() {
                $0.tensor(String(name), dimensions: [1 << 59], type: 24, offset: UInt64(index) << 59)
            }
        },
        MalformedGGUF(
            "a file that ends before the data begin",
            .truncated(field: "padding before the data", needed: 7, available: 6), at: 57
        ) {
            $0 = GGUFBytes(tensors: 1)
            $0.tensor("t", dimensions: [0])
            $0.bytes += [UInt8](repeating: 0, count: 6)
        },
        MalformedGGUF(
            "one byte too few", .truncated(field: "tensor data", needed: 16, available: 15), tensor: "t", at: 64
        ) {
            $0 = GGUFBytes(tensors: 1)
            $0.tensor("t", dimensions: [4])
            $0.pad(to: 32)
            $0.bytes += [UInt8](repeating: 0, count: 15)
        },
        MalformedGGUF(
            "a tensor far past the end of the file", .truncated(field: "tensor data", needed: 1 << 59, available: 0),
            tensor: "t", at: 64
        ) {
            $0 = GGUFBytes(tensors: 1, keys: 0)
            $0.tensor("t", dimensions: [1 << 59], type: 24)
            $0.pad(to: 32)
        },
    ]

    static func count(_ field: String, _ found: Int64, limit: Int) -> FormatError.Reason {
        .invalid(field: field, found: "\(found)", expected: "0 to \(limit), which is all the file has room for")
    }
    static func keyLength(_ found: UInt64) -> FormatError.Reason {
        .invalid(field: "key length", found: "\(found)", expected: "1 to 65535")
    }
    static func stringLength(_ field: String, _ found: UInt64) -> FormatError.Reason {
        .invalid(field: "string length in \(field)", found: "\(found)", expected: "at most 1073741824")
    }
    static func arrayLength(_ found: UInt64) -> FormatError.Reason {
        .invalid(field: "array length of key 'k'", found: "\(found)", expected: "at most 1073741824")
    }
    static func alignment(_ found: String) -> FormatError.Reason {
        .invalid(field: "general.alignment", found: found, expected: "a power of two up to 1048576")
    }
    static func nameLength(_ found: UInt64) -> FormatError.Reason {
        .invalid(field: "name length of tensor 0", found: "\(found)", expected: "at most 63")
    }
    static func ggmlType(_ found: UInt32) -> FormatError.Reason {
        .invalid(field: "tensor type", found: "\(found)", expected: "a ggml type in use")
    }
    static func offset(_ found: UInt64, expected: Int) -> FormatError.Reason {
        .invalid(field: "offset", found: "\(found)", expected: "\(expected), the end of the tensor before it")
    }
    static func overflow(_ shape: [Int], _ encoding: String, _ why: String) -> FormatError.Reason {
        .invalidShape(shape: shape, encoding: encoding, why: why)
    }
}
