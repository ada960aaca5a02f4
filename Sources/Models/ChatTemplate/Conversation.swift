import Formats

/// Messages between a user and a model, as a chat template wants them.
public struct Conversation: Sendable {
    /// Objects with `role` and `content`, in order.
    public var messages: [JSONValue]
    /// Further variables of the template, such as `tools`.
    public var variables: JSONObject

    /// A user's message, after a system message if there is one.
    public init(user: String, system: String? = nil) {
        messages = [["role": "user", "content": .string(user)]]
        variables = [:]
        if let system { setSystem(system) }
    }

    /// From JSON: an array of messages, or an object that has it as `messages` beside other variables of the template.
    /// - Parameter path: the file's name, for messages.
    /// - Throws: `ModelError.invalidKey` naming the message without a role, or one that is no object.
    public init(json: JSONValue, path: String?) throws(ModelError) {
        variables = json.object ?? [:]
        variables["messages"] = nil
        guard let messages = json.array ?? json["messages"]?.array, !messages.isEmpty else {
            throw ModelError(.invalidKey(key: "messages", found: (json["messages"] ?? json).kind, expected: "an array of messages"), path: path)
        }
        for (index, message) in messages.enumerated() where message["role"]?.string == nil {
            throw ModelError(
                .invalidKey(key: "messages[\(index)].role", found: message["role"]?.kind ?? "missing", expected: "a string"), path: path)
        }
        self.messages = messages
    }

    /// Puts a system message first, in place of the one that is there.
    public mutating func setSystem(_ text: String) {
        if messages.first?["role"]?.string == "system" { messages.removeFirst() }
        messages.insert(["role": "system", "content": .string(text)], at: 0)
    }
}

extension Tokenizer {
    /// The text of a conversation by the model's own template, up to where the model answers.
    /// - Parameter asksForAnswer: whether what starts the model's turn comes last.
    /// - Throws: `ModelError.missingTemplate`, `.invalidTemplate`.
    public func text(
        of conversation: Conversation, asksForAnswer: Bool = true, date: TemplateDate
    ) throws(ModelError) -> String {
        let tools = conversation.variables["tools"].map { !$0.isNull } ?? false
        let templates = special.chatTemplates
        guard let template = templates.first(where: { tools && $0.name == "tool_use" }) ?? templates.first(where: { $0.name == "default" })
        else { throw ModelError(.missingTemplate(known: templates.map(\.name))) }
        var variables: JSONObject = [
            "messages": .array(conversation.messages), "tools": .null, "documents": .null, "add_generation_prompt": .bool(asksForAnswer),
        ]
        for (name, text) in special.texts { variables[name] = .string(text) }
        for key in conversation.variables.keys { variables[key] = conversation.variables[key] }
        return try ChatTemplate(template.template, name: template.name).render(variables, date: date)
    }

    /// The tokens of a conversation. The template says itself whether it starts with the token for a start, so none is added.
    /// - Throws: what `text(of:)` throws.
    public func tokens(of conversation: Conversation, asksForAnswer: Bool = true, date: TemplateDate) throws(ModelError) -> [Int] {
        try encode(try text(of: conversation, asksForAnswer: asksForAnswer, date: date), addsSpecialTokens: false)
    }
}
