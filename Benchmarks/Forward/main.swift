import Formats
import Foundation
import Models
import Passes

// The forward pass alone: windows of a text through all layers, without the head, and nothing kept. The windows are those that
// `resq calibrate` draws with its default seed.
//
//     forward MODEL TEXT WINDOWS CONTEXT THREADS

let arguments = CommandLine.arguments
guard arguments.count == 6, let count = Int(arguments[3]), let context = Int(arguments[4]), let threads = Int(arguments[5]),
    count > 0, context > 0, threads > 0
else {
    print("usage: forward MODEL TEXT WINDOWS CONTEXT THREADS")
    exit(64)
}
let graph = try TensorGraph(try openTensorSource(at: arguments[1]), architectures: .builtIn)
let network = try graph.network(weightBudget: .max, threadCount: threads)
let text = try Tokenizer(path: arguments[1]).tokens(ofFile: arguments[2])
let windows = try CalibrationWindows(drawnFrom: text, count: count, context: context, seed: 0).windows
let tables = network.rotaryTables(contextLength: context)

let begin = (clock(), ContinuousClock.now)
let atOnce = max(1, 4096 / context)
for first in stride(from: 0, to: count, by: atOnce) {
    var batch = try network.embed(Array(windows[first..<min(count, first + atOnce)]))
    var caches: [KeyValueCache]?
    try network.runLayers(on: &batch, caches: &caches, tables: tables)
}
let seconds = Double(clock() - begin.0) / Double(CLOCKS_PER_SEC)
let rate = Double(count * context) / ((ContinuousClock.now - begin.1) / .seconds(1))
print("\(count) windows of \(context) tokens: \(seconds) CPU-s, \(rate) tokens/s")
