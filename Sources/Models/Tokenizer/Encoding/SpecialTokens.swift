/// Ids of tokens with a purpose, and the chat templates.
public struct SpecialTokens: Sendable {
    public var bos: Int?
    public var eos: Int?
    public var unknown: Int?
    public var padding: Int?
    /// Tokens after which generating stops: what the generation settings name, else the end of a text.
    public var stops: Set<Int> = []
    /// Tokens that end a turn of a chat, whether or not the settings name them.
    public var turnEnds: Set<Int> = []
    /// Texts by the names that chat templates know them by, such as "bos_token".
    public var texts: [String: String] = [:]
    /// Whether a text gets a token for its start.
    public var addsBOS = false
    /// Whether a text gets a token for its end.
    public var addsEOS = false
    /// Chat templates by name; the main one is called "default".
    public var chatTemplates: [(name: String, template: String)] = []

    public init() {}
}
