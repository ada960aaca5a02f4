import Formats
import TestSupport
import Testing

/// Files of llama.cpp's tool (see scripts/fixtures/make-importance), and files that are wrong.
@Suite struct ImportanceMatrixTests {
    @Test func theReferenceIsRead() throws {
        let matrix = try ImportanceMatrix(path: fixturePath("importance.gguf"))
        #expect(matrix.names.count == 7)
        #expect(matrix.datasets == ["text.txt"])
        #expect(matrix.chunkCount == 2 && matrix.chunkSize == 256)
        let down = try #require(matrix["blk.0.ffn_down.weight"])
        #expect(down.sums.count == 1024 && down.counts == [512])
        #expect(down.importance[7] == down.sums[7] / 512)
        #expect(matrix["blk.1.ffn_down.weight"] == nil)
    }

    @Test func theReferenceIsWrittenTheSame() throws {
        let path = fixturePath("importance.gguf")
        #expect(try ImportanceMatrix(path: path).encoded() == MappedFile(path: path).bytes.array)
    }

    /// The older form stores mean squares times the number of chunks.
    @Test func theOlderFormSaysTheSame() throws {
        let new = try ImportanceMatrix(path: fixturePath("importance.gguf"))
        let old = try ImportanceMatrix(path: fixturePath("importance.dat"))
        #expect(old.names == new.names.sorted() && old.datasets == new.datasets && old.chunkCount == new.chunkCount)
        for name in new.names {
            let (expected, found) = (try #require(new[name]).importance, try #require(old[name]).importance)
            #expect(expected.count == found.count)
            // Two roundings more.
            #expect(zip(expected, found).allSatisfy { abs($0 - $1) <= $0 * 0x1p-22 })
        }
    }

    @Test func whatIsWrittenIsRead() throws {
        let folder = try TemporaryFolder()
        var matrix = ImportanceMatrix(datasets: ["a", "ü"], chunkCount: 3, chunkSize: 512)
        try matrix.add("b.weight", ImportanceMatrix.Entry(sums: [1, 0, 3, 4, 5, 6], counts: [3, 0, 7]))
        try matrix.add("a.weight", ImportanceMatrix.Entry(sums: [2, 2.5], counts: [1536]))
        try matrix.write(to: folder.path("m.gguf"))
        let read = try ImportanceMatrix(path: folder.path("m.gguf"))
        #expect(read.names == ["a.weight", "b.weight"] && read.datasets == ["a", "ü"] && read.chunkSize == 512)
        #expect(read["a.weight"] == matrix["a.weight"] && read["b.weight"] == matrix["b.weight"])
        // An expert that saw nothing counts the same in all columns.
        let expected: [Float] = [1 / 3, 0, 1, 1, 5 / 7, 6 / 7]
        #expect(read["b.weight"]?.importance == expected)
    }

    @Test func entriesAreChecked() throws {
        for (sums, counts) in [
            ([1, .nan], [1]), ([.infinity], [1]), ([-1], [1]), ([], [1]), ([1], []), ([1, 2, 3], [1, 1]), ([1], [-1]),
        ] as [([Float], [Int])] {
            #expect(throws: FormatError.self) { try ImportanceMatrix.Entry(sums: sums, counts: counts) }
        }
        var matrix = ImportanceMatrix()
        try matrix.add("a", ImportanceMatrix.Entry(sums: [1], counts: [1]))
        #expect(throws: FormatError(.duplicate(field: "importance of the weight", name: "a"))) {
            try matrix.add("a", ImportanceMatrix.Entry(sums: [1], counts: [1]))
        }
    }

    private func open(_ bytes: [UInt8]) throws(FormatError) -> ImportanceMatrix {
        try ImportanceMatrix(TensorBytes(bytes), path: "m")
    }

    /// Every prefix of both forms gives an error that names the file, but where the padding of the last tensor is cut, and in
    /// the two places where an old file may end.
    @Test(arguments: ["importance.gguf", "importance.dat"]) func cutFilesAreErrors(_ name: String) throws {
        let whole = try MappedFile(path: fixturePath(name)).bytes.array
        let mayEnd = name.hasSuffix("dat") ? [whole.count - 16, whole.count - 12] : Array(whole.count - 28..<whole.count)
        for count in (0..<whole.count).filter({ $0 < 600 || $0 > whole.count - 100 || $0 % 97 == 0 }) where !mayEnd.contains(count) {
            do {
                _ = try open(Array(whole[..<count]))
                Issue.record("\(count) of \(whole.count) bytes are read")
            } catch {
                #expect(error.path == "m")
            }
        }
        for count in mayEnd { #expect(try open(Array(whole[..<count])).names.count == 7) }
    }

    private func oldForm(_ entries: [(name: String, calls: Int32, values: [Float])], count: Int32? = nil) -> [UInt8] {
        var bytes: [UInt8] = []
        func append(_ number: UInt32) { for shift: UInt32 in [0, 8, 16, 24] { bytes.append(UInt8(truncatingIfNeeded: number >> shift)) } }
        append(UInt32(bitPattern: count ?? Int32(entries.count)))
        for entry in entries {
            append(UInt32(entry.name.utf8.count))
            bytes += Array(entry.name.utf8)
            append(UInt32(bitPattern: entry.calls))
            append(UInt32(entry.values.count))
            for value in entry.values { append(value.bitPattern) }
        }
        return bytes
    }

    @Test func oldFilesThatAreWrong() throws {
        #expect(try open(oldForm([("a", 2, [2, 4])]))["a"]?.importance == [1, 2])
        #expect(try open(oldForm([("a", 0, [2, 4])]))["a"]?.importance == [2, 4])
        #expect(throws: FormatError(.duplicate(field: "importance of the weight", name: "a"), path: "m", tensor: "a")) {
            try open(oldForm([("a", 1, [1]), ("a", 1, [1])]))
        }
        for bad in [
            oldForm([]), oldForm([("a", 1, [1])], count: -1), oldForm([("a", 1, [1])], count: .max), oldForm([("a", 1, [])]),
            oldForm([("", 1, [1])]), oldForm([("a\0b", 1, [1])]), oldForm([("a", 1, [.nan])]), oldForm([("a", 1, [-1])]),
            oldForm([("a", 1, [1])]) + [1, 0, 0, 0, 255, 255, 255, 255], oldForm([("a", 1, [1])]) + [1, 0, 0, 0, 2, 0, 0, 0, 0xff, 0xff],
        ] {
            #expect(throws: FormatError.self) { try open(bad) }
        }
    }

    /// GGUF files that are sound, and no importance matrices.
    @Test func otherFilesAreRefused() throws {
        func file(_ tensors: [(String, DType, [Int])], _ change: (inout GGUFMetadata) -> Void = { _ in }) throws -> [UInt8] {
            var metadata = GGUFMetadata()
            metadata["general.type"] = .string("imatrix")
            metadata["imatrix.datasets"] = .array(GGUFArray(strings: ["t"]))
            metadata["imatrix.chunk_count"] = .u32(1)
            metadata["imatrix.chunk_size"] = .u32(1)
            change(&metadata)
            let infos = try tensors.map { try TensorInfo(name: $0.0, encoding: .plain($0.1), shape: $0.2) }
            return try GGUF.layout(tensors: infos, metadata: metadata).files[0]
                .assembled { [UInt8](repeating: 0, count: infos[$0].byteCount) }
        }
        let good: [(String, DType, [Int])] = [("a.in_sum2", .f32, [2, 4]), ("a.counts", .f32, [2, 1])]
        #expect(try open(file(good + [("a.in_sum", .f16, [4])]))["a"]?.counts == [0, 0])
        #expect(throws: FormatError(.missing(field: "importance matrix", name: "an entry"), path: "m")) { try open(file([])) }
        #expect(throws: FormatError(.missing(field: "tensor", name: "a.counts"), path: "m")) { try open(file([good[0]])) }
        #expect(throws: FormatError(.missing(field: "tensor", name: "a.in_sum2"), path: "m")) { try open(file([good[1]])) }
        #expect(throws: FormatError.self) { try open(file([("a.in_sum2", .f16, [2, 4]), good[1]])) }
        #expect(throws: FormatError.self) { try open(file([("a.in_sum2", .f32, [3]), good[1]])) }
        for key in ["imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size"] {
            #expect(throws: FormatError(.missing(field: "key", name: key), path: "m")) { try open(file(good) { $0[key] = nil }) }
            #expect(throws: FormatError.self) { try open(file(good) { $0[key] = .f32(1) }) }
        }
        #expect(throws: FormatError(.invalid(field: "general.type", found: "model", expected: "imatrix"), path: "m")) {
            try open(file(good) { $0["general.type"] = .string("model") })
        }
    }
}
