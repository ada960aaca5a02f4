import Formats
import Testing

@Suite struct TensorInfoTests {
    @Test func overflowIsNotHiddenByAZeroDimension() {
        #expect(throws: FormatError.self) {
            try TensorInfo(name: "t", encoding: .plain(.f32), shape: [0, .max, 2])
        }
    }

    @Test func countsBytesOfBlocksRowsAndScalars() throws {
        #expect(try TensorInfo(name: "t", encoding: .block(.q4_K), shape: [3, 512]).byteCount == 3 * 2 * 144)
        #expect(try TensorInfo(name: "t", encoding: .plain(.bf16), shape: []).byteCount == 2)
        #expect(try TensorInfo(name: "t", encoding: .plain(.f32), shape: [4, 0]).byteCount == 0)
        #expect(try TensorInfo(name: "t", encoding: .block(.q4_K), shape: [3, 0]).byteCount == 0)
        #expect(try TensorInfo(name: "t", encoding: .plain(.f4), shape: [3, 0]).byteCount == 0)
        #expect(try TensorInfo(name: "t", encoding: .plain(.f4), shape: [3, 2]).byteCount == 3)
        #expect(try TensorInfo(name: "t", encoding: .plain(.f4), shape: [3, 0]).byteCount == 0)
    }

    @Test func refusesRowsThatAreNotWholeBlocks() {
        #expect(throws: FormatError.self) { try TensorInfo(name: "t", encoding: .block(.q4_0), shape: [32, 33]) }
    }
}
