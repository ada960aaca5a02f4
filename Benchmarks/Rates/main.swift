// Measures the rates that `resq plan` expects times from: the table in Sources/Passes/Cost/OperationKind.swift. One thread;
// each rate is the best of three, in units of that table for a second of processor time. Run by scripts/benchmarks/rates.

import Foundation
import Formats
import LinearAlgebra
import Models
import Passes
import ResQ

func draw(_ count: Int) -> [Float] {
    var generator = SeededGenerator(seed: UInt64(count))
    return (0..<count).map { _ in Float(generator.nextGaussian()) }
}

/// Seconds of processor time (POSIX counts it in millionths), the best of three.
func seconds(_ body: () throws -> Void) rethrows -> Double {
    var best = Double.infinity
    for _ in 0..<3 {
        let start = clock()
        try body()
        best = min(best, Double(clock() - start) / 1e6)
    }
    return best
}

func gram(order: Int) -> GramAccumulator {
    var gram = GramAccumulator(dimension: order)
    let rows = draw(512 * order)
    for _ in 0..<4 { gram.add(rows.span, rowCount: 512, stride: order, threadCount: 1) }
    return gram
}

func productRate(rows: Int) -> Double {
    let (inputs, outputs) = (2048, 4096)
    let (x, weight) = (draw(rows * inputs), draw(inputs * outputs))
    var y = [Float](repeating: 0, count: rows * outputs)
    return 2 * Double(rows * inputs * outputs) / seconds {
        var target = y.mutableSpan
        applyLinear(
            x.span, xStride: inputs, rowCount: rows, weight: weight.span, inputCount: inputs, outputCount: outputs, into: &target,
            yStride: outputs, threadCount: 1)
    }
}

func attentionRate() -> Double {
    let (heads, keyValueHeads, dimension, context) = (32, 8, 128, 2048)
    let queries = draw(context * heads * dimension)
    let (keys, values) = (draw(context * keyValueHeads * dimension), draw(context * keyValueHeads * dimension))
    var out = queries
    let shape = AttentionShape(
        heads: heads, keyValueHeads: keyValueHeads, dimension: dimension, scale: 1 / Float(dimension).squareRoot(), cap: 0, window: nil)
    // A token sees half of the context on average, for scores and again for values.
    return 2 * Double(context * context * heads * dimension) / seconds {
        attend(
            queries, keys: keys, values: values, sequences: [AttentionSequence(row: 0, count: context, start: 0, keyRow: 0)], shape: shape,
            into: &out, threadCount: 1)
    }
}

func momentsRate() -> Double {
    let (rows, order) = (2048, 2048)
    let x = draw(rows * order)
    var gram = GramAccumulator(dimension: order)
    return Double(rows * order * order) / seconds { gram.add(x.span, rowCount: rows, stride: order, threadCount: 1) }
}

func eigenvectorsRate() throws -> Double {
    let order = 1536
    let moments = gram(order: order).mean
    return Double(order * order * order) / (try seconds { _ = try principalBasis(of: moments) })
}

func factorsRate() throws -> Double {
    let order = 3072
    let moments = gram(order: order)
    return Double(order * order * order) / (try seconds { _ = try HessianFactor(moments.mean) })
}

/// The rates of compensation and of rounding, from two widths: t = r n² / compensation + r n / rounding.
func roundingRates() throws -> (compensation: Double, rounding: Double) {
    let rows = 256
    func time(_ columns: Int) throws -> Double {
        let weights = Matrix<Float>(rowCount: rows, columnCount: columns, elements: draw(rows * columns))
        let factor = try HessianFactor(gram(order: columns).mean)
        let high = columns - columns / 8
        let parts = try [(0..<high, 4), (high..<columns, 8)].map { columns, bits in
            GridPart(columns: columns, grid: try IntegerGrid(bits: bits, isSymmetric: true, scaleType: .float16))
        }
        return try seconds { _ = try ResQ.round(weights, to: parts, factor: factor, dynamicGroups: false, threadCount: 1) }
    }
    let (narrow, wide) = (512.0, 4096.0)
    let (a, b) = (try time(Int(narrow)), try time(Int(wide)))
    let perProduct = (b - a * wide / narrow) / (Double(rows) * (wide * wide - wide * narrow))
    let perWeight = (a - perProduct * Double(rows) * narrow * narrow) / (Double(rows) * narrow)
    return (1 / perProduct, 1 / perWeight)
}

func rotationRate() throws -> Double {
    let (order, rows) = (2048, 512)
    var generator = SeededGenerator(seed: 1)
    let rotation = BlockRotation(blocks: [try randomOrthogonal(order: order, from: &generator)])
    var weights = draw(rows * order)
    return 2 * Double(rows * order * order) / seconds {
        var span = weights.mutableSpan
        rotation.rotateColumns(of: &span, threadCount: 1)
    }
}

/// Reading, hashing, rounding, writing and reading back of a model of one tensor.
func storingRate() throws -> Double {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("resq-rates-\(ProcessInfo.processInfo.processIdentifier)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let (rows, columns) = (4096, 4096)
    let info = try TensorInfo(name: "weight", encoding: .plain(.bf16), shape: [rows, columns])
    var contents = Data(Array(try Safetensors.layout(tensors: [info], fileName: "").files[0].header.array))
    contents.append(Data(draw(rows * columns).flatMap { [UInt8($0.bitPattern >> 16 & 255), UInt8($0.bitPattern >> 24)] }))
    let input = folder.appendingPathComponent("model.safetensors").path
    try contents.write(to: URL(fileURLWithPath: input))
    let recipe = try Recipe.parse("{recipe: 1, name: rates, passes: [{use: cast, with: {to: f16}}]}", file: "rates")
    let output = folder.appendingPathComponent("out.safetensors").path
    return Double(rows * columns) / (try seconds {
        _ = try Conversion(
            input: input, passes: try recipe.passes.map { try Registry.builtIn.pass(for: $0) },
            output: Output(path: output, format: .safetensors), onFallback: .error, provenance: ("rates", "rates"), architectures: .builtIn
        ).run(threadCount: 1)
    })
}

let (compensation, rounding) = try roundingRates()
let measured: [OperationKind: Double] = [
    .products: productRate(rows: 1024), .narrowProducts: productRate(rows: 16), .attention: attentionRate(), .moments: momentsRate(), .eigenvectors: try eigenvectorsRate(),
    .factors: try factorsRate(), .compensation: compensation, .rounding: rounding, .rotation: try rotationRate(),
    .storing: try storingRate(),
]
print("| operation | units in a CPU-second | in the table |\n|---|---|---|")
for kind in OperationKind.allCases {
    print("| \(kind.rawValue) | \(String(format: "%.2g", measured[kind] ?? .nan)) | \(String(format: "%.2g", kind.rate)) |")
}
