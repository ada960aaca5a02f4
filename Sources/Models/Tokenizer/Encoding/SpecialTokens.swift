/// Ids of tokens with a purpose, and the chat templates.
public struct SpecialTokens: Sendable {
    public var bos: Int?
    public var eos: Int?
    public var unknown: Int?
    public var padding: Int?
    /// Tokens after which generating stops: the end of text, of a turn, and what the generation settings name.
    public var stops: Set<Int> = []
    /// Whether a text gets a token for its start.
    public var addsBOS = false
    /// Whether a text gets a token for its end.
    public var addsEOS = false
    /// Chat templates by name; the main one is called "default".
    public var chatTemplates: [(name: String, template: String)] = []

    public init() {}
}
