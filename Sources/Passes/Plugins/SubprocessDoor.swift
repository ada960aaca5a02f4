import Formats
import Synchronization

/// The door to plugins that are programs: a process of their own that is asked over its pipes.
final class SubprocessDoor: PluginDoor {
    private let plugin: String
    private let conversation: PluginConversation
    #if os(Linux)
    /// There once the plugin has said that it can use it.
    private let memory = Mutex<SharedMemoryPool?>(nil)
    /// Tensors of fewer bytes go through the pipe.
    private static let smallestShare = 1 << 16
    #endif

    /// Starts the program; a `.py` file is given to `python3`.
    /// - Parameters:
    ///   - path: as the user named it.
    ///   - file: the absolute path.
    ///   - hear: is given the lines of its standard error.
    init(path: String, file: String, timeLimit: Int, hear: @escaping @Sendable (String) -> Void) throws {
        plugin = path
        let isPython = file.hasSuffix(".py")
        conversation = try PluginConversation(
            plugin: path, executable: isPython ? "/usr/bin/env" : file, arguments: isPython ? ["python3", file] : [],
            timeLimit: timeLimit, hear: hear)
    }

    deinit { conversation.end() }

    func describe() throws -> JSONValue {
        var question: JSONObject = ["ask": "describe", "protocol": .integer(Plugin.protocolVersion)]
        #if os(Linux)
        question["shared-memory"] = .bool(true)
        #endif
        let answer = try conversation.ask(question, pass: nil, tensor: nil).answer
        if let limit = answer["memory-limit"]?.integer { conversation.limitMemory(to: limit) }
        #if os(Linux)
        if answer["shared-memory"] == .bool(true) { memory.withLock { $0 = SharedMemoryPool() } }
        #endif
        return answer
    }

    func plan(_ question: JSONObject, pass: String) throws -> JSONValue {
        var question = question
        question["ask"] = "plan"
        return try conversation.ask(question, pass: pass, tensor: nil).answer
    }

    func apply(
        _ question: JSONObject, pass: String, tensor: String, inputs: [TensorBytes], byteCounts: [Int]
    ) throws -> [TensorBytes] {
        var question = question
        question["ask"] = "apply"
        let total = byteCounts.reduce(0, +)
        #if os(Linux)
        if total + inputs.reduce(0, { $0 + $1.count }) >= Self.smallestShare, let pool = memory.withLock({ $0 }) {
            if let parts = try apply(question, pool, pass: pass, tensor: tensor, inputs: inputs, byteCounts: byteCounts) { return parts }
        }
        #endif
        let data = try conversation.ask(question, pass: pass, tensor: tensor, sending: inputs, expecting: total).data
        var start = 0
        return byteCounts.map { count in
            defer { start += count }
            return data[start..<start + count]
        }
    }

    #if os(Linux)
    /// The same with all tensors in memory that both sides see.
    /// - Returns: `nil` where the system gives no such memory.
    private func apply(
        _ question: JSONObject, _ pool: SharedMemoryPool, pass: String, tensor: String, inputs: [TensorBytes], byteCounts: [Int]
    ) throws -> [TensorBytes]? {
        var end = 0
        let places = (inputs.map(\.count) + byteCounts).map { count in
            // Whole cache lines, so that numbers of every size are aligned.
            defer { end += (count + 63) & ~63 }
            return end
        }
        guard let memory = pool.take(max(1, end)) else { return nil }
        // Goes back to the pool when nobody holds the outputs any more.
        let all = TensorBytes(SharedMemoryPool.Lease(memory, of: pool))
        for (place, bytes) in zip(places, inputs) { memory.put(bytes.bytes, at: place) }
        var question = question
        question["memory"] = [
            "path": .string(memory.path), "number": .integer(memory.number), "bytes": .integer(memory.byteCount),
            "at": .array(places.map { .integer($0) }), "gone": .array(pool.takeGone().map { .integer($0) }),
        ]
        let answer = try conversation.ask(question, pass: pass, tensor: tensor).answer
        let written = answer["written"]?.array?.map { $0.integer ?? -1 } ?? []
        guard written == byteCounts else {
            throw PluginError(
                plugin: plugin, pass: pass, tensor: tensor,
                what: "answered with \(written) bytes of data where \(byteCounts) were planned")
        }
        return zip(places.dropFirst(inputs.count), byteCounts).map { place, count in all[place..<place + count] }
    }
    #endif
}
