import Formats

/// The door to plugins that are programs: a process of their own that is asked over its pipes.
final class SubprocessDoor: PluginDoor {
    private let conversation: PluginConversation

    /// Starts the program; a `.py` file is given to `python3`.
    /// - Parameters:
    ///   - path: as the user named it.
    ///   - file: the absolute path.
    init(path: String, file: String, timeLimit: Int) throws {
        let isPython = file.hasSuffix(".py")
        conversation = try PluginConversation(
            plugin: path, executable: isPython ? "/usr/bin/env" : file, arguments: isPython ? ["python3", file] : [],
            timeLimit: timeLimit)
    }

    deinit { conversation.end() }

    func describe() throws -> JSONValue {
        try conversation.ask(["ask": "describe", "protocol": .integer(Plugin.protocolVersion)], pass: nil, tensor: nil).answer
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
        let data = try conversation.ask(question, pass: pass, tensor: tensor, sending: inputs, expecting: total).data
        var start = 0
        return byteCounts.map { count in
            defer { start += count }
            return data[start..<start + count]
        }
    }
}
