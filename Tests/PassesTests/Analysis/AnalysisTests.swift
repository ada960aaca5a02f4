import Formats
import Foundation
import Models
import Passes
import Synchronization
import Testing

/// Replaces the first byte of every tensor's rows by a number that an analysis finds out.
private struct Marking: DeclaredPass {
    static let declaration = Declaration(identifier: "marking", summary: "Marks.", contract: "", options: [])
    let log: Log
    let failing: Bool
    let usesCalibration: Bool

    init(options: PassOptions) { self.init(Log()) }

    init(_ log: Log, failing: Bool = false, usesCalibration: Bool = false) {
        self.log = log
        self.failing = failing
        self.usesCalibration = usesCalibration
    }

    func rewrite(_ graph: inout TensorGraph, in context: PassContext) throws {
        if usesCalibration { _ = try context.calibrationSource(for: "marking") }
        let (log, failing) = (log, failing)
        let analysis = Analysis<UInt8>("count", peakMemoryByteCount: 1 << 40) { run in
            let folder = try run.folder(for: "mark", key: [Digest(of: "a")])
            log.add(folder)
            try Data([1]).write(to: URL(fileURLWithPath: folder + "/artifact"))
            run.report(.warning, "it was counted")
            if failing { throw PipelineError.cannotApply(pass: "marking", why: "it fails") }
            return 77
        }
        context.perform(analysis)
        try graph.mapTensors { [LazyTensor(info: $0.info, operation: Marked(input: $0, number: analysis))] }
    }
}

private struct Marked: TensorOperation {
    let input: LazyTensor
    let number: Analysis<UInt8>
    var summary: String { number.summary }
    var inputs: [LazyTensor] { [input] }

    func rows(_ range: Range<Int>, of info: TensorInfo) throws -> TensorBytes {
        var bytes = try input.rows(range).array
        bytes[0] = try number.result()
        return TensorBytes(bytes)
    }
}

private final class Log: Sendable {
    private let lines = Mutex<[String]>([])
    var all: [String] { lines.withLock { $0 } }
    func add(_ line: String) { lines.withLock { $0.append(line) } }
}

/// Work that a pass asks for before tensors are computed.
@Suite struct AnalysisTests {
    private func conversion(_ scratch: Scratch, _ pass: Marking, calibration: Calibration? = nil) throws -> Conversion {
        try Conversion(
            input: try scratch.model(count: 3), passes: [pass], output: Output(path: scratch.path + "/out", format: .safetensors),
            onFallback: .error, provenance: ("text", "t"), architectures: .builtIn, calibration: calibration)
    }

    @Test func runsOnceBeforeTheFirstTensor() throws {
        let (scratch, log) = (try Scratch(), Log())
        let report = try conversion(scratch, Marking(log)).run(threadCount: 2)
        #expect(log.all.count == 1 && log.all[0].hasPrefix(scratch.path + "/out.work/mark-"))
        #expect(report.diagnostics == [Diagnostic(.warning, "it was counted")])
        let source = try openTensorSource(at: scratch.path + "/out")
        for index in 0..<3 { #expect(try source.bytes(ofTensorAt: index).array[0] == 77) }
        #expect(scratch.names == ["in.safetensors", "out"])
    }

    @Test func planningPerformsNone() throws {
        let (scratch, log) = (try Scratch(), Log())
        let plan = try conversion(scratch, Marking(log)).plan(threadCount: 2)
        #expect(log.all.isEmpty && plan.tensors.count == 3 && plan.peakMemoryByteCount >= 1 << 40)
        #expect(scratch.names == ["in.safetensors"])
    }

    /// What an analysis leaves is kept for later runs where there is a work directory, and only there.
    @Test func aWorkDirectoryKeepsArtifacts() throws {
        let (scratch, log) = (try Scratch(), Log())
        #expect(throws: PipelineError.cannotApply(pass: "marking", why: "it fails")) {
            try conversion(scratch, Marking(log, failing: true)).run(threadCount: 1)
        }
        #expect(scratch.names == ["in.safetensors"])
        let work = scratch.path + "/work"
        #expect(throws: (any Error).self) { try conversion(scratch, Marking(log, failing: true)).run(threadCount: 1, workDirectory: work) }
        let kept = try #require(log.all.last)
        #expect(kept.hasPrefix(work) && FileManager.default.fileExists(atPath: kept + "/artifact"))
        _ = try conversion(scratch, Marking(log)).run(threadCount: 1, workDirectory: work)
        #expect(log.all.last == kept && FileManager.default.fileExists(atPath: kept + "/artifact"))
    }

    @Test func calibrationNeedsARecipe() throws {
        let scratch = try Scratch()
        #expect(throws: PipelineError.cannotApply(pass: "marking", why: "it needs the calibration settings of a recipe")) {
            try conversion(scratch, Marking(Log(), usesCalibration: true))
        }
    }
}
