import Foundation
import Formats
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// The conversation with a plugin's process: questions go out in order, answers come in any.
///
/// A message on either pipe is 16 bytes of head, a JSON object, and the bytes of tensors:
///
///     "RESQ"    u32 bytes of JSON    u64 bytes of data    JSON    data          numbers in little-endian order
///
/// One thread writes and one reads, so that neither side can wait for the other for ever. A process that breaks the
/// protocol is ended, and everybody who waits for it is told the same.
final class PluginConversation: Sendable {
    private struct State {
        var nextIdentifier = 1
        var pending: [Int: PendingAnswer] = [:]
        var outgoing: [[TensorBytes]] = []
        var failure: PluginError?
        var isEnding = false
        /// When the last answer came, or the first question was asked after all were answered.
        var lastProgress = ContinuousClock.now
    }

    static let magic = Array("RESQ".utf8)
    static let headByteCount = 16
    /// A description or a plan of more is no honest one.
    static let maximumJSONByteCount = 64 << 20

    let plugin: String
    private let timeLimit: Int
    private let child: ChildProcess
    private let state = Mutex(State())
    private let toWrite = DispatchSemaphore(value: 0)
    private let lastWords = Mutex<[UInt8]>([])
    private let remarks: PluginRemarks
    private let memoryLimit = Mutex<Int?>(nil)

    /// Starts the process and the threads that talk with it.
    /// - Parameters:
    ///   - timeLimit: seconds without an answer after which the process counts as hanging.
    ///   - hear: is given the lines of its standard error.
    init(plugin: String, executable: String, arguments: [String], timeLimit: Int, hear: @escaping @Sendable (String) -> Void) throws {
        self.plugin = plugin
        self.timeLimit = timeLimit
        remarks = PluginRemarks(hear: hear)
        do {
            child = try ChildProcess(executable, arguments)
        } catch {
            throw PluginError(plugin: plugin, what: "cannot be started: \(whyNotStarted(executable) ?? error.localizedDescription)")
        }
        Thread.detachNewThread { self.write() }
        Thread.detachNewThread { self.read() }
    }

    /// Has the process ended when it takes more memory of its own.
    func limitMemory(to byteCount: Int) { memoryLimit.withLock { $0 = byteCount } }

    /// Lets the process go when it has answered everything.
    func end() {
        state.withLock { $0.isEnding = true }
        toWrite.signal()
    }

    /// Asks and waits for the answer.
    /// - Parameters:
    ///   - pass, tensor: what this is about, for messages.
    ///   - byteCount: bytes of data the answer must bring.
    func ask(
        _ question: JSONObject, pass: String?, tensor: String?, sending data: [TensorBytes] = [], expecting byteCount: Int = 0
    ) throws -> (answer: JSONValue, data: TensorBytes) {
        let answer = PendingAnswer(pass: pass, tensor: tensor, byteCount: byteCount)
        try state.withLock { state in
            if let failure = state.failure { throw failure }
            var question = question
            question["id"] = .integer(state.nextIdentifier)
            if state.pending.isEmpty { state.lastProgress = .now }
            state.pending[state.nextIdentifier] = answer
            state.nextIdentifier += 1
            let json = JSONValue.object(question).bytes()
            var head = Self.magic
            head += (0..<4).map { UInt8(truncatingIfNeeded: json.count >> (8 * $0)) }
            let dataByteCount = data.reduce(0) { $0 + $1.count }
            head += (0..<8).map { UInt8(truncatingIfNeeded: dataByteCount >> (8 * $0)) }
            state.outgoing.append([TensorBytes(head + json)] + data)
        }
        toWrite.signal()
        return try answer.wait()
    }

    // MARK: - The thread that writes

    private func write() {
        ChildProcess.blockBrokenPipeSignal()
        while true {
            toWrite.wait()
            guard let message = state.withLock({ $0.outgoing.isEmpty ? nil : $0.outgoing.removeFirst() }) else { break }
            // When the child takes no more, the thread that reads finds out why.
            _ = message.allSatisfy { child.write($0.bytes) }
        }
        child.closeInput()
    }

    // MARK: - The thread that reads

    /// Why the reading ends.
    private struct Stop: Error {
        var what: String
        /// The question whose answer was wrong.
        var culprit: PendingAnswer?
    }

    private func read() {
        do {
            while true { try readMessage() }
        } catch let stop as Stop {
            fail(stop)
        } catch {
            fail(Stop(what: "\(error)"))
        }
    }

    private func readMessage() throws {
        let head = try bytes(Self.headByteCount).array
        guard Array(head.prefix(4)) == Self.magic else {
            let found = printable(String(decoding: head, as: UTF8.self))
            throw Stop(what: "wrote to standard output what is no message: '\(found)…' (print to standard error)")
        }
        let jsonByteCount = head[4..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
        let dataByteCount = head[8..<16].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard jsonByteCount <= Self.maximumJSONByteCount else {
            throw Stop(what: "sent a message of \(jsonByteCount) bytes, at most \(Self.maximumJSONByteCount) are allowed")
        }
        let json: JSONValue
        do {
            json = try JSONValue(parsing: try bytes(jsonByteCount))
        } catch let error as FormatError {
            throw Stop(what: "sent a message that is not JSON: \(error.description)")
        }
        guard let identifier = json["id"]?.integer else { throw Stop(what: "sent a message without an 'id'") }
        guard let pending = state.withLock({ $0.pending[identifier] }) else {
            throw Stop(what: "answered question \(identifier), which is not open")
        }
        let complaint = json["error"]?.string
        let expected = complaint == nil ? pending.byteCount : 0
        guard dataByteCount == UInt64(expected) else {
            throw Stop(what: "answered with \(dataByteCount) bytes of data where \(expected) were planned", culprit: pending)
        }
        let data = try bytes(expected)
        try checkMemory(asking: pending)
        state.withLock { state in
            state.pending[identifier] = nil
            state.lastProgress = .now
        }
        if let complaint {
            pending.give(.failure(PluginError(plugin: plugin, pass: pending.pass, tensor: pending.tensor, what: complaint)))
        } else {
            pending.give(.success((json, data)))
        }
    }

    /// The next bytes of the child's output.
    private func bytes(_ count: Int) throws -> TensorBytes {
        let storage = try ArrayStorage(byteCount: count) { (target) throws in
            var filled = 0
            while filled < count {
                try waitForOutput()
                let more = child.readOutput(into: &target, from: filled)
                guard more > 0 else { throw Stop(what: howItEnded()) }
                filled += more
            }
        }
        return TensorBytes(storage)
    }

    /// Waits until the child has written something, and looks after it meanwhile.
    private func waitForOutput() throws {
        while true {
            let isLate = state.withLock { !$0.pending.isEmpty && ContinuousClock.now - $0.lastProgress > .seconds(timeLimit) }
            if isLate { throw Stop(what: "gave no answer for \(timeLimit) s and was ended") }
            let ready = child.wait(milliseconds: 50)
            if !ready.output { try checkMemory(asking: nil) }
            if ready.errors { keep(child.readErrors()) }
            if ready.output { return }
            // Something it started may hold its pipes open after it.
            if !ready.errors, !child.isRunning { throw Stop(what: howItEnded()) }
        }
    }

    private func checkMemory(asking pending: PendingAnswer?) throws {
        guard let limit = memoryLimit.withLock({ $0 }), let taken = child.memoryByteCount, taken > limit else { return }
        throw Stop(what: "takes \(taken) bytes of memory where it promised at most \(limit)", culprit: pending)
    }

    private func keep(_ bytes: [UInt8]) {
        let limit = 1 << 14
        lastWords.withLock { $0 = Array(($0 + bytes).suffix(limit)) }
        remarks.take(bytes)
    }

    private func howItEnded() -> String {
        for _ in 0..<100 where child.isRunning { Thread.sleep(forTimeInterval: 0.01) }
        return child.isRunning ? "closed its standard output" : child.ending
    }

    /// Ends the process and tells everybody who waits, or will ask, what happened.
    private func fail(_ stop: Stop) {
        // What it said last may still be in the pipe.
        for _ in 0..<50 {
            guard child.wait(milliseconds: 20).errors else { break }
            keep(child.readErrors())
        }
        child.kill()
        remarks.end()
        let waiting = state.withLock { state in
            let culprit = stop.culprit ?? state.pending.min { $0.key < $1.key }?.value
            let failure = PluginError(
                plugin: plugin, pass: culprit?.pass, tensor: culprit?.tensor, what: stop.what, lastLines: lastLines)
            state.failure = failure
            state.outgoing = []
            defer { state.pending = [:] }
            return state.pending.values.map { ($0, failure) }
        }
        toWrite.signal()
        for (answer, failure) in waiting { answer.give(.failure(failure)) }
    }

    private var lastLines: [String] {
        let text = String(decoding: lastWords.withLock { $0 }, as: UTF8.self)
        return text.split(whereSeparator: \.isNewline).suffix(4).map(String.init)
    }
}

/// Why the system starts no program from a file, where its first bytes tell.
private func whyNotStarted(_ path: String) -> String? {
    guard let head = try? FileHandle(forReadingFrom: URL(fileURLWithPath: path)).read(upToCount: 256) else { return nil }
    // Those of programs have zeros among them.
    guard !head.contains(0) else { return nil }
    guard head.starts(with: Array("#!".utf8)) else {
        return "it is no program of this system, and its first line does not say what runs it, as '#!/usr/bin/env python3' does"
    }
    let words = String(decoding: head, as: UTF8.self).dropFirst(2).prefix { !$0.isNewline }.split(separator: " ")
    // The path is copied for the call.
    guard let interpreter = words.first, unsafe access(String(interpreter), X_OK) != 0 else { return nil }
    return "its first line says that '\(printable(String(interpreter)))' runs it, which there is not"
}

/// A question that waits for its answer.
private final class PendingAnswer: Sendable {
    let pass: String?
    let tensor: String?
    /// Bytes of data the answer must bring.
    let byteCount: Int
    private let given = Mutex<Result<(answer: JSONValue, data: TensorBytes), PluginError>?>(nil)
    private let isGiven = DispatchSemaphore(value: 0)

    init(pass: String?, tensor: String?, byteCount: Int) {
        (self.pass, self.tensor, self.byteCount) = (pass, tensor, byteCount)
    }

    func give(_ result: Result<(answer: JSONValue, data: TensorBytes), PluginError>) {
        given.withLock { $0 = result }
        isGiven.signal()
    }

    func wait() throws -> (answer: JSONValue, data: TensorBytes) {
        isGiven.wait()
        guard let result = given.withLock({ $0 }) else { preconditionFailure("an answer was announced and is not there") }
        return try result.get()
    }
}
