import Formats
import Passes
import Testing

@Suite struct RowOperationTests {
    private func matrix(rows: Int, columns: Int) throws -> MemorySource {
        try MemorySource([("w", .plain(.f32), [rows, columns], bytes((0..<rows * columns).map(Float.init)))])
    }

    @Test func interleavingFollowsTheDefinition() throws {
        // Two heads of four rows: 0 1 | 2 3 become 0 2 1 3 inside each head.
        let source = try matrix(rows: 8, columns: 1)
        let tensor = source.tensor(0).reordered(RowOrder(rowsPerHead: 4, direction: .toInterleaved))
        #expect(floats(try tensor.rows(0..<8)) == [0, 2, 1, 3, 4, 6, 5, 7])
        #expect(floats(try tensor.rows(3..<6)) == [3, 4, 6])
    }

    @Test(arguments: [2, 4, 6, 16]) func reorderingBackGivesTheOriginalTensorItself(rowsPerHead: Int) throws {
        let source = try matrix(rows: rowsPerHead * 3, columns: 2)
        let there = source.tensor(0).reordered(RowOrder(rowsPerHead: rowsPerHead, direction: .toInterleaved))
        let back = there.reordered(RowOrder(rowsPerHead: rowsPerHead, direction: .toHalfSplit))
        #expect(back.operation is SourceSlice)
        // The order itself inverts too, not only the shortcut.
        let order = RowOrder(rowsPerHead: rowsPerHead, direction: .toInterleaved)
        let inverse = RowOrder(rowsPerHead: rowsPerHead, direction: .toHalfSplit)
        for row in 0..<rowsPerHead * 3 { #expect(inverse.source(of: order.source(of: row)) == row) }
    }

    @Test func reorderingAVectorMovesItsElements() throws {
        let source = try MemorySource([("b", .plain(.f32), [8], bytes((0..<8).map(Float.init)))])
        let tensor = source.tensor(0).reordered(RowOrder(rowsPerHead: 4, direction: .toInterleaved))
        #expect(floats(try tensor.rows(0..<1)) == [0, 2, 1, 3, 4, 6, 5, 7])
    }

    @Test func reorderingAnEncodedTensorReordersWhatIsEncoded() throws {
        let source = try matrix(rows: 8, columns: 32)
        let order = RowOrder(rowsPerHead: 4, direction: .toInterleaved)
        let encodedFirst = try source.tensor(0).encoded(as: .plain(.f16)).reordered(order)
        let reorderedFirst = try source.tensor(0).reordered(order).encoded(as: .plain(.f16))
        #expect(try encodedFirst.rows(0..<8).array == reorderedFirst.rows(0..<8).array)
        // And an earlier reordering under the encoding is undone for good.
        let undone = try source.tensor(0).reordered(order).encoded(as: .plain(.f16))
            .reordered(RowOrder(rowsPerHead: 4, direction: .toHalfSplit))
        #expect(undone.operation.inputs.first?.operation is SourceSlice)
    }

    @Test func stackingAndSlicingAreInverse() throws {
        let source = try MemorySource([
            ("e", .plain(.f32), [3, 2, 2], bytes((0..<12).map(Float.init)))
        ])
        let slices = try (0..<3).map { try source.tensor(0).outerSlice($0, name: "e.\($0)") }
        #expect(floats(try slices[1].rows(0..<2)) == [4, 5, 6, 7])
        let whole = try LazyTensor.stacked(slices, name: "e")
        #expect(whole.operation is SourceSlice)
        let swapped = try LazyTensor.stacked([slices[1], slices[0]], name: "e")
        #expect(swapped.info.shape == [2, 2, 2])
        #expect(floats(try swapped.rows(1..<3)) == [6, 7, 0, 1])
    }

    @Test func addingAndSubtractingGivesTheOriginalTensorItself() throws {
        let source = try matrix(rows: 1, columns: 4)
        let there = try source.tensor(0).adding(1)
        #expect(floats(try there.rows(0..<1)) == [1, 2, 3, 4])
        #expect(try there.adding(-1).operation is SourceSlice)
    }
}

@Suite struct EncodingTests {
    @Test func rowsEncodedInPartsEqualRowsEncodedAtOnce() throws {
        var generator = SplitMix64(seed: 1)
        let values = (0..<64 * 96).map { _ in Float.random(in: -1...1, using: &generator) }
        let source = try MemorySource([("w", .plain(.f32), [64, 96], bytes(values))])
        let tensor = try source.tensor(0).encoded(as: .block(.q8_0))
        let whole = try tensor.rows(0..<64).array
        let parts = try [0..<1, 1..<17, 17..<64].flatMap { try tensor.rows($0).array }
        #expect(whole == parts)
    }

    @Test func aNaNStopsEncodingAndIsNamed() throws {
        var values = [Float](repeating: 1, count: 64)
        values[37] = .nan
        let source = try MemorySource([("w", .plain(.f32), [2, 32], bytes(values))])
        #expect(throws: PipelineError.notFinite(tensor: "w", index: 37)) {
            try source.tensor(0).encoded(as: .block(.q4_0)).rows(0..<2)
        }
    }

    @Test func aValueTooLargeForF16StopsEncodingAndIsNamed() throws {
        let source = try MemorySource([("w", .plain(.f32), [1, 3], bytes([1, 65504, 65520]))])
        #expect(throws: PipelineError.overflows(tensor: "w", index: 2, type: "F16")) {
            try source.tensor(0).encoded(as: .plain(.f16)).rows(0..<1)
        }
    }

    struct Liar: TensorOperation {
        var summary: String { "lie" }
        var inputs: [LazyTensor] { [] }
        func rows(_ range: Range<Int>, of info: TensorInfo) -> TensorBytes { TensorBytes([1, 2, 3]) }
    }

    @Test func anOperationThatBreaksItsPromiseIsNamed() throws {
        let tensor = LazyTensor(info: try TensorInfo(name: "w", encoding: .plain(.f32), shape: [2]), operation: Liar())
        #expect(throws: PipelineError.brokenPromise(tensor: "w", operation: "lie", promised: 8, delivered: 3)) {
            try tensor.rows(0..<1)
        }
    }
}
