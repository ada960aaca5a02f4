import Foundation
import Subprocess
import Testing

/// How a process ended.
enum Ending: Equatable {
    case exited(Int32)
    case signaled(Int32)

    init(_ status: TerminationStatus) {
        switch status {
        case .exited(let code): self = .exited(code)
        case .signaled(let number): self = .signaled(number)
        }
    }
}

/// What a run of the command left on its two outputs, and how it ended.
struct Outcome {
    let ending: Ending
    let output: String
    let errors: String

    /// The lines on standard error.
    var errorLines: [Substring] { errors.split(separator: "\n") }
}

/// The binary that the build put beside these tests.
let resqPath: String = {
    // Linux runs the test bundle itself, macOS hands its path to a helper.
    let bundles = CommandLine.arguments + Bundle.allBundles.map(\.bundlePath)
    for bundle in bundles where bundle.contains(".xctest") {
        var folder = URL(fileURLWithPath: bundle)
        while folder.path.contains(".xctest") { folder.deleteLastPathComponent() }
        let path = folder.appendingPathComponent("resq").path
        if FileManager.default.isExecutableFile(atPath: path) { return path }
    }
    fatalError("no binary 'resq' beside the tests: \(bundles)")
}()

/// What a run may use, as the shell's `ulimit` has it.
struct Limits {
    /// Address space: what a file asks for beyond its size would break it. Not enforced on Apple's systems.
    var addressSpace: Int?
    /// The largest file it may write.
    var fileSize: Int?

    static let none = Limits()
    /// A file of a few kilobytes has no business with more than this; the program alone takes half of it.
    static let smallFile = Limits(addressSpace: 512 << 20)

    /// The shell commands that set them.
    fileprivate var commands: String {
        var text = ""
        if let addressSpace { text += "ulimit -v \(addressSpace >> 10) 2>/dev/null; " }
        if let fileSize { text += "ulimit -f \(fileSize >> 9); " }
        return text
    }
}

/// Runs `resq` in a folder and waits for its end.
/// - Parameters:
///   - wrapper: a command that runs it, such as `strace`; its arguments come before the binary's path.
///   - closing: shell redirections, such as `>&-`.
func resq(
    _ arguments: [String], in folder: String = "/", limits: Limits = .none, wrapper: [String] = [], redirecting: String = ""
) async throws -> Outcome {
    let result = try await run(
        .name("sh"), arguments: shellArguments(arguments, folder, limits, wrapper, redirecting),
        output: .string(limit: 4 << 20), error: .string(limit: 1 << 20))
    return Outcome(ending: Ending(result.terminationStatus), output: result.standardOutput, errors: result.standardError)
}

/// Starts `resq`, ends it with a signal as soon as `isTime` says so, and waits for its end.
/// - Parameter isTime: asked about every millisecond; it must come true at the latest when the run is complete.
func resqKilled(
    _ arguments: [String], in folder: String, by signal: Signal = .kill, when isTime: @escaping @Sendable () -> Bool
) async throws -> Outcome {
    let result = try await run(
        .name("sh"), arguments: shellArguments(arguments, folder, .none, [], ""), input: .none,
        output: .string(limit: 1 << 20), error: .string(limit: 1 << 20)
    ) { execution in
        while !isTime() { try await Task.sleep(for: .milliseconds(1)) }
        // It may have ended by itself meanwhile.
        try? execution.send(signal: signal)
    }
    return Outcome(ending: Ending(result.terminationStatus), output: result.standardOutput, errors: result.standardError)
}

/// Starts `resq`, stops it as soon as `isTime` says so, lets it go on when `meanwhile` is done, and waits for its end.
func resqStopped(
    _ arguments: [String], in folder: String, when isTime: @escaping @Sendable () -> Bool,
    meanwhile: @escaping @Sendable () async throws -> Void
) async throws -> Outcome {
    let result = try await run(
        .name("sh"), arguments: shellArguments(arguments, folder, .none, [], ""), input: .none,
        output: .string(limit: 1 << 20), error: .string(limit: 1 << 20)
    ) { execution in
        while !isTime() { try await Task.sleep(for: .milliseconds(1)) }
        try execution.send(signal: .suspend)
        defer { try? execution.send(signal: .resume) }
        try await meanwhile()
    }
    return Outcome(ending: Ending(result.terminationStatus), output: result.standardOutput, errors: result.standardError)
}

private func shellArguments(
    _ arguments: [String], _ folder: String, _ limits: Limits, _ wrapper: [String], _ redirections: String
) -> Arguments {
    // The shell becomes the command, so signals and the exit status are the command's own.
    let script = limits.commands + "cd \"$0\" && exec \"$@\" " + redirections
    return Arguments(["-c", script, folder] + wrapper + [resqPath] + arguments)
}

/// Checks that a run ended well and said nothing of an error.
func expectSuccess(_ outcome: Outcome, sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(outcome.ending == .exited(0), "\(outcome.errors)", sourceLocation: sourceLocation)
}

/// Checks that a run was refused: the exit code, one line on standard error with these words in it, nothing on
/// standard output.
func expectRefusal(
    _ outcome: Outcome, _ code: Int32 = 65, saying words: String..., sourceLocation: SourceLocation = #_sourceLocation
) {
    #expect(outcome.ending == .exited(code), "\(outcome.errors)", sourceLocation: sourceLocation)
    #expect(outcome.output.isEmpty, sourceLocation: sourceLocation)
    // Wrong usage is answered with a usage text, everything else with one line.
    if code != 64 {
        #expect(outcome.errorLines.count == 1, "\(outcome.errors)", sourceLocation: sourceLocation)
        #expect(outcome.errors.hasPrefix("error: "), "\(outcome.errors)", sourceLocation: sourceLocation)
    }
    for word in words where !word.isEmpty { #expect(outcome.errors.contains(word), "\(outcome.errors)", sourceLocation: sourceLocation) }
}

/// Standard output as JSON.
func json(_ outcome: Outcome, sourceLocation: SourceLocation = #_sourceLocation) throws -> Any {
    expectSuccess(outcome, sourceLocation: sourceLocation)
    return try JSONSerialization.jsonObject(with: Data(outcome.output.utf8))
}
