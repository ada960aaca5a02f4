import Formats
import LinearAlgebra
import Models
import Passes
import ResQ
import TestSupport
import Testing

@Suite struct SplitCodecTests {
    private func encoded(_ values: [Float], _ layout: SplitLayout) throws -> TensorBytes {
        try TensorBytes(
            ArrayStorage(byteCount: values.count / layout.columnCount * layout.rowByteCount) { (target) throws in
                try Codec.encode(values.span, as: .split(layout), columnCount: layout.columnCount, importance: nil, into: &target)
            })
    }

    private func decoded(_ bytes: TensorBytes, _ layout: SplitLayout) throws -> [Float] {
        var values = [Float](repeating: 0, count: bytes.count / layout.rowByteCount * layout.columnCount)
        var span = values.mutableSpan
        try Codec.decode(.split(layout), bytes.bytes, into: &span)
        return values
    }

    /// The bytes of one row, made by hand: 1.5 · (code - 4) for codes 1, 4, 7, 3 of three bits, then 0.25 · (code - 1) for
    /// codes 0, 3 of two.
    @Test func aRowIsWhatTheDocumentSays() throws {
        let layout = try SplitLayout(parts: [.init(width: 2, bits: 3), .init(width: 1, bits: 2, isSymmetric: false)], groupCount: 2)
        #expect(layout.rowByteCount == 3 + 2 + 3 + 1)
        let row: [UInt8] = [0x00, 0x3e, 4, 0b1110_0001, 0b0000_0111, 0x00, 0x34, 1, 0b0000_1100]
        #expect(try decoded(TensorBytes(row), layout) == [-4.5, 0, -0.25, 4.5, -1.5, 0.5])
        // 3 levels above and 4 below the zero: 4.5 = 3 · 1.5.
        #expect(try encoded([-4.5, 0, -0.25, 4.5, -1.5, 0.5], layout).array == row)
    }

    /// Two columns with a scale, and one: 1.5 · (code - 4) for codes 1, 4 and 7 of three bits, 0.5 · (code - 4) for code 3.
    @Test func columnsMayHaveScalesOfTheirOwn() throws {
        let layout = try SplitLayout(parts: [.init(width: 3, bits: 3)], scaleWidth: 2)
        #expect(layout.rowByteCount == 4 + 4 && layout.name == "int3 / 2")
        let row: [UInt8] = [0x00, 0x3e, 4, 0b0010_0001, 0x00, 0x38, 4, 0b0000_0111]
        #expect(try decoded(TensorBytes(row), layout) == [-4.5, 0, 1.5])
        #expect(try encoded([-4.5, 0, 1.5], layout).array == row)
        let invalid = TensorBytes([0x00, 0x3e, 4, 0b0010_0001, 0x00, 0x7c, 4, 0b0000_0111])
        let place = Codec.firstInvalidBlock(.split(layout), invalid.bytes)
        #expect(place == 0)
    }

    @Test(arguments: 2...8) func roundingIsThatOfTheMethod(bits: Int) throws {
        var generator = SplitMix64(seed: UInt64(bits))
        let (rows, width) = (5, 37)
        let values = (0..<rows * 2 * width).map { _ in Float.random(in: -1...1, using: &generator) * Float.random(in: 0...1, using: &generator) }
        let layout = try SplitLayout(parts: [.init(width: width, bits: bits, isSymmetric: bits > 2), .init(width: width, bits: 8)])
        let grids = try [(0, bits), (width, 8)].map { start, bits in
            GridPart(
                columns: start..<start + width,
                grid: try IntegerGrid(bits: bits, isSymmetric: bits > 2, clipSearch: .none, scaleType: .float16))
        }
        let matrix = Matrix<Float>(rowCount: rows, columnCount: 2 * width, elements: values)
        let expected = try ResQ.round(
            matrix, to: grids, factor: HessianFactor(roundingToNearest: Array(repeating: 1, count: 2 * width)), dynamicGroups: false,
            threadCount: 1)
        #expect(try decoded(try encoded(values, layout), layout) == expected.dequantized().elements)
    }

    @Test func extremesStayFinite() throws {
        let layout = try SplitLayout(parts: [.init(width: 4, bits: 4)])
        #expect(try decoded(try encoded([0, 0, 0, 0], layout), layout) == [0, 0, 0, 0])
        let large = try decoded(try encoded([3e38, -3e38, 1, 0], layout), layout)
        #expect(large == [7 * 65504, -8 * 65504, 0, 0])
        #expect(try decoded(try encoded([1e-30, -1e-30, 0, 0], layout), layout) == [0, 0, 0, 0])
    }

    /// Two parts of three heads each, whose columns the method sees gathered.
    @Test(arguments: [1, 3, 8, 37, 100], [true, false]) func groupsAreRoundedAsTheMethodDoes(scaleWidth: Int, isSymmetric: Bool) throws {
        var generator = SplitMix64(seed: UInt64(scaleWidth))
        let (rows, widths, heads) = (3, [9, 4], 3)
        let layout = try SplitLayout(
            parts: zip(widths, [4, 7]).map { .init(width: $0, bits: $1, isSymmetric: isSymmetric) }, groupCount: heads, scaleWidth: scaleWidth)
        let values = (0..<rows * layout.columnCount).map { _ in Float.random(in: -0.5...1, using: &generator) }
        let order = layout.columns(ofPart: 0) + layout.columns(ofPart: 1)
        let gathered = (0..<rows).flatMap { row in order.map { values[row * layout.columnCount + $0] } }
        let parts = try [(0..<27, 4), (27..<39, 7)].map { columns, bits in
            GridPart(
                columns: columns,
                grid: try IntegerGrid(
                    bits: bits, isSymmetric: isSymmetric, granularity: .group(scaleWidth), clipSearch: .none, scaleType: .float16))
        }
        let expected = try ResQ.round(
            Matrix<Float>(rowCount: rows, columnCount: 39, elements: gathered), to: parts,
            factor: HessianFactor(roundingToNearest: Array(repeating: 1, count: 39)), dynamicGroups: true, threadCount: 1
        ).dequantized()
        let found = try decoded(try encoded(values, layout), layout)
        for row in 0..<rows {
            for (place, column) in order.enumerated() { #expect(found[row * 39 + column] == expected[row, place]) }
        }
    }

    /// A scale so small that rounding it to F16 moves the zero point past the last code.
    @Test func aZeroPointStaysAmongTheCodes() throws {
        let layout = try SplitLayout(parts: [.init(width: 4, bits: 8, isSymmetric: false)])
        let values: [Float] = [-0.001527, -0.0008, -0.0005, -0.0001]
        let found = try decoded(try encoded(values, layout), layout)
        for (value, other) in zip(values, found) { #expect(abs(value - other) < 1.1e-5) }
    }

    @Test(arguments: [0, -1, Int.max]) func scalesOfNoColumnsAreErrors(scaleWidth: Int) {
        #expect(throws: FormatError.self) { try SplitLayout(parts: [.init(width: 4, bits: 4)], scaleWidth: scaleWidth) }
    }

    @Test(arguments: [
        ([], 1), ([SplitLayout.Part(width: 0, bits: 4)], 1), ([.init(width: 4, bits: 1)], 1), ([.init(width: 4, bits: 9)], 1),
        ([.init(width: 4, bits: 4)], 0), ([.init(width: Int.max, bits: 4)], 1), ([.init(width: 4, bits: 4)], Int.max),
        (Array(repeating: .init(width: 4, bits: 4), count: 4), 1),
    ]) func layoutsOutOfRangeAreErrors(parts: [SplitLayout.Part], groupCount: Int) {
        #expect(throws: FormatError.self) { try SplitLayout(parts: parts, groupCount: groupCount) }
    }
}

@Suite struct SplitArtifactTests {
    private let folder: TemporaryFolder
    private let model: String
    private let ids = [[0, 3, 1, 6, 2, 2, 5, 4, 7, 1]]

    init() throws {
        folder = try TemporaryFolder()
        model = try SmallModel().write(to: folder)
    }

    private func convert(_ text: String, from input: String? = nil, to name: String, _ format: ContainerFormat) throws -> String {
        try folder.convert(text, from: input ?? model, to: name, format)
    }

    private func logits(_ graph: TensorGraph) throws -> [[[Float]]] {
        try graph.network(weightBudget: 1 << 30, threadCount: 2).logits(ids)
    }

    static let recipe = """
        {use: resq.rotate, with: {basis: random, low-fraction: 0.125}}, {use: resq.online},
        {use: quantize, with: {rules: [{match: {role: linear}, type: {split: {high: int8, middle: int4, low: int2, group: 24}}}]}}
        """

    @Test(arguments: [ContainerFormat.gguf, .ggufZst]) func aFileHoldsTheRoundedWeights(format: ContainerFormat) throws {
        let path = try convert(Self.recipe, to: "a.gguf" + (format == .ggufZst ? ".zst" : ""), format)
        var graph = try graph(at: model)
        for pass in try passes(Self.recipe) { try pass.rewrite(&graph, in: PassContext(onFallback: .error)) }
        let read = try self.graph(at: path)
        for tensor in graph.tensors {
            let other = try #require(read[tensor.info.name])
            guard case .split = tensor.info.encoding else { continue }
            #expect(other.info == tensor.info)
            #expect(try other.rows(0..<tensor.info.rowCount).array == tensor.rows(0..<tensor.info.rowCount).array)
        }
        #expect(try logits(read) == logits(graph))
        guard case .split(let layout) = read["model.layers.0.self_attn.o_proj.weight"]?.info.encoding else { Issue.record("not split"); return }
        // Four heads of 16: 2 low, 12 middle, 2 high dimensions each.
        #expect(layout.parts.map(\.width) == [2, 12, 2] && layout.parts.map(\.bits) == [2, 4, 8] && layout.groupCount == 4)
        // The input of down is spread evenly.
        #expect(read["model.layers.0.mlp.down_proj.weight"]?.info.encoding == .split(try SplitLayout(parts: [.init(width: 256, bits: 4)], scaleWidth: 24)))
    }

    private func graph(at path: String) throws -> TensorGraph { try TensorGraph(try openTensorSource(at: path), architectures: .builtIn) }

    /// A change of container alone changes no byte of the GGUF file.
    @Test func aCopyIsTheSameFile() throws {
        let path = try convert(Self.recipe, to: "a.gguf", .gguf)
        for (input, name, format) in [(path, "b.gguf.zst", ContainerFormat.ggufZst), (folder.path("b.gguf.zst"), "c.gguf", .gguf)] {
            _ = try Conversion(
                input: input, passes: [], output: Output(path: folder.path(name), format: format), onFallback: .error, provenance: nil,
                architectures: .builtIn
            ).run(threadCount: 1)
        }
        #expect(try folder.read("c.gguf") == folder.read("a.gguf"))
    }

    @Test func errorsBetweenAxesAreSpokenOf() throws {
        let artifact = try graph(at: convert(Self.recipe, to: "a.gguf", .gguf))
        #expect(try Comparison(try graph(at: model), artifact, threadCount: 1).isRotatedApart)
        #expect(try !Comparison(artifact, artifact, threadCount: 1).isRotatedApart)
    }

    @Test func weightsAloneLowerToStockFiles() throws {
        let int4 = "{use: quantize, with: {rules: [{match: {role: linear}, type: int4}]}}"
        let path = try convert(int4, to: "a.gguf", .gguf)
        let expected = try logits(try graph(at: path))
        let wide = try convert("{use: cast, with: {to: f32}}", from: path, to: "b.gguf", .gguf)
        guard case .gguf(let metadata) = try openTensorSource(at: wide).manifest.metadata else { Issue.record("no GGUF"); return }
        #expect(metadata["general.architecture"]?.string == "llama")
        #expect(try logits(try graph(at: wide)) == expected)
        #expect(try logits(try graph(at: try convert("", from: path, to: "c", .huggingFace))) == expected)
    }

    @Test func aLoweredModelIsAnOrdinaryOne() throws {
        let path = try convert(Self.recipe, to: "a.gguf", .gguf)
        var unrounded = try graph(at: path)
        unrounded.round(activations: 16, keyValues: 16)
        let expected = try logits(unrounded)
        for (name, format) in [("b.gguf", ContainerFormat.gguf), ("c", .huggingFace)] {
            let lowered = try graph(at: try convert("{use: resq.lower, with: {type: f32}}", from: path, to: name, format))
            #expect(lowered.online == nil)
            for (a, b) in zip(expected, try logits(lowered)) { #expect(largestDifference(a, b) < 5e-5) }
        }
        guard case .gguf(let metadata) = try openTensorSource(at: folder.path("b.gguf")).manifest.metadata else { Issue.record("no GGUF"); return }
        #expect(metadata["general.architecture"]?.string == "llama")
        #expect(metadata.keys.allSatisfy { !$0.hasPrefix("resq.online") && !$0.hasPrefix("resq.split") })
    }

    /// A recipe's limit holds for split tensors too, and for what was rotated before it was rounded.
    @Test(arguments: [ContainerFormat.gguf, .ggufZst]) func aLimitOfErrorsHolds(format: ContainerFormat) throws {
        let path = folder.path("a")
        func run(limit: Double) throws {
            _ = try Conversion(
                input: model, passes: try passes(Self.recipe), output: Output(path: path, format: format), onFallback: .error,
                provenance: ("recipe text", "t"), architectures: .builtIn, maximumRelativeError: limit
            ).run(threadCount: 2)
        }
        #expect {
            try run(limit: 0.01)
        } throws: { error in
            guard case PipelineError.tooInaccurate(let tensor, let error, 0.01) = error else { return false }
            return tensor.hasSuffix("weight") && (0.02...0.5).contains(error)
        }
        #expect(!folder.names.contains("a"))
        try run(limit: 0.5)
    }

    /// Scales of fewer columns, and then zero points, come closer to the weights.
    @Test func finerScalesComeCloser() throws {
        let source = try graph(at: model)
        func values(_ tensor: LazyTensor) throws -> [Float] {
            // In a variable: Swift 6.3 cannot compile a span of what a throwing call returned.
            let rows = try tensor.rows(0..<tensor.info.rowCount)
            var values = [Float](repeating: 0, count: tensor.info.elementCount)
            var span = values.mutableSpan
            try Codec.decode(tensor.info.encoding, rows.bytes, into: &span)
            return values
        }
        func distance(_ options: String) throws -> Double {
            let path = try convert(
                "{use: quantize, with: {rules: [{match: {role: down}, type: {split: {low: int4\(options)}}}]}}", to: "a.gguf", .gguf)
            let read = try graph(at: path)
            var sum = 0.0
            for tensor in source.tensors where tensor.info.name.contains("down_proj") {
                let other = try #require(read[tensor.info.name])
                for (before, after) in zip(try values(tensor), try values(other)) { sum += Double((before - after) * (before - after)) }
            }
            return sum
        }
        let (rows, groups, points) = (try distance(""), try distance(", group: 32"), try distance(", group: 32, zero-points: true"))
        #expect(rows > groups && groups > 1.1 * points, "\(rows) \(groups) \(points)")
    }

    @Test func partsThatNobodyMadeAreRefused() throws {
        let split = "{use: quantize, with: {rules: [{match: {role: linear}, type: {split: {high: int8, low: int4}}}]}}"
        #expect {
            _ = try convert(split, to: "a.gguf", .gguf)
        } throws: { "\($0)".contains("has no high part; 'resq.rotate' before makes one") }
        #expect {
            _ = try convert("{use: resq.rotate, with: {basis: random, low-fraction: 0.125}}, " + split, to: "a.gguf", .gguf)
        } throws: { "\($0)".contains("has a low part, for which the split type has no bits") }
    }

    /// One key, name or number changed, its length kept.
    @Test(arguments: [
        ("resq.split.groups", "resq.split.groupz", "'resq.split.groups' is missing"),
        ("resq.split.part_bits", "resq.split.part_bitz", "'resq.split.part_bits' is missing"),
        ("resq.split.scale_widths", "resq.split.scale_widthz", "I8 rows of"),
    ]) func aFileWithoutItsLayoutsIsRefused(what: String, by: String, message: String) throws {
        let path = try convert(Self.recipe, to: "a.gguf", .gguf)
        var contents = try folder.read("a.gguf")
        let (old, new) = (Array(what.utf8), Array(by.utf8))
        let place = try #require((0..<contents.count - old.count).first { contents[$0..<$0 + old.count].elementsEqual(old) })
        contents.replaceSubrange(place..<place + old.count, with: new)
        try folder.write(contents, to: "a.gguf")
        #expect {
            _ = try graph(at: path).network(weightBudget: 0, threadCount: 1)
        } throws: { "\($0)".contains(message) }
    }

    /// Any byte of the header may be wrong: an answer or an error, never a trap.
    @Test func anyByteOfTheHeaderMayBeWrong() throws {
        let path = try convert(Self.recipe, to: "a.gguf", .gguf)
        let contents = try folder.read("a.gguf")
        let first = try #require((0..<contents.count).first { contents[$0...].starts(with: Array("resq.online".utf8)) })
        let last = try #require((0..<contents.count).last { contents[$0...].starts(with: Array("resq.split.scale_widths".utf8)) })
        for place in stride(from: first, to: min(contents.count, last + 500), by: 7) {
            var changed = contents
            changed[place] ^= 0xff
            try folder.write(changed, to: "a.gguf")
            _ = try? graph(at: path).network(weightBudget: 0, threadCount: 1)
        }
    }
}
