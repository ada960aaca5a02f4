/// The small files of a Hugging Face model directory, those beside the weights.
///
/// `config.json` is parsed because everything hangs on it; the others are kept as bytes and copied through unread
/// unless a conversion needs to look inside.
public struct HuggingFaceFiles: Sendable {
    /// `config.json`.
    public var config: JSONValue
    /// Every other file that belongs to the model (`tokenizer.json`, `tokenizer.model`, `tokenizer_config.json`,
    /// `special_tokens_map.json`, `added_tokens.json`, `vocab.json`, `merges.txt`, `generation_config.json`,
    /// `chat_template.jinja`, `additional_chat_templates/rag.jinja`, ...), by its path inside the directory.
    public var files: [String: TensorBytes]
    /// The `__metadata__` of the safetensors files, such as `format: pt`.
    public var weightsMetadata: [String: String]

    public init(config: JSONValue, files: [String: TensorBytes] = [:], weightsMetadata: [String: String] = [:]) {
        self.config = config
        self.files = files
        self.weightsMetadata = weightsMetadata
    }
}
