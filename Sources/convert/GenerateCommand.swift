import ArgumentParser
import Formats
import Foundation
import Models
import Passes

struct GenerateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate", abstract: "Writes text after a prompt, to see that a model speaks.",
        discussion: """
            Without --temperature, --top-k, --top-p or --seed the likeliest token is taken every time. Writing stops after \
            --max-tokens, at a token that ends a text, or when the model's context is full. With --chat the prompt is what a \
            user says to the model, put into the words of the model's own chat template, and the end of the model's turn stops it.
            """)

    @Argument(help: ArgumentHelp("A model file or directory.", valueName: "model"))
    var path: String

    @Option(help: ArgumentHelp("The text to go on from; special tokens in it are taken as such.", valueName: "text"))
    var prompt: String?

    @Flag(help: "Put the prompt through the model's chat template, as a user's message.")
    var chat = false

    @Option(help: ArgumentHelp("With --chat: the system's message before it.", valueName: "text"))
    var system: String?

    @Option(help: ArgumentHelp("Token ids to go on from: .npy or safetensors.", valueName: "file"))
    var tokens: String?

    @Option(help: ArgumentHelp("The most tokens to write.", valueName: "n"))
    var maxTokens = 128

    @Option(help: ArgumentHelp("What logits are divided by before a token is drawn; 0 draws none.", valueName: "number"))
    var temperature: Double?

    @Option(name: .customLong("top-k"), help: ArgumentHelp("Draw from the k likeliest tokens.", valueName: "k"))
    var topK: Int?

    @Option(
        name: .customLong("top-p"),
        help: ArgumentHelp("Draw from the likeliest tokens that together have this probability.", valueName: "p"))
    var topP: Double?

    @Option(help: ArgumentHelp("Seed of the draws (default 0).", valueName: "number"))
    var seed: UInt64?

    @Option(help: ArgumentHelp("Decoded weights that may stay in memory (default: half of the machine's).", valueName: "size"))
    var memory: ByteSize?

    @Flag(help: "Print JSON.")
    var json = false

    @OptionGroup var rounding: RoundingOptions
    @OptionGroup var adapters: AdapterOptions
    @OptionGroup var work: WorkOptions
    @OptionGroup var model: ModelOptions

    func validate() throws {
        if (prompt == nil) == (tokens == nil) { throw ValidationError("give a --prompt or --tokens") }
        if chat, prompt == nil { throw ValidationError("--chat takes a --prompt") }
        if system != nil, !chat { throw ValidationError("--system goes with --chat") }
        if maxTokens < 1 { throw ValidationError("--max-tokens takes a number above zero") }
        if let temperature, !(temperature >= 0 && temperature.isFinite) { throw ValidationError("--temperature takes a number from 0") }
        if let topK, topK < 1 { throw ValidationError("--top-k takes a number above zero") }
        if let topP, !(topP > 0 && topP <= 1) { throw ValidationError("--top-p takes a number above 0, up to 1") }
    }

    private var sampling: Sampling {
        let draws = temperature != nil || topK != nil || topP != nil || seed != nil
        return Sampling(temperature: temperature ?? (draws ? 1 : 0), topK: topK, topP: topP, seed: seed ?? 0)
    }

    func run() throws { try naming(path) { try generate() } }

    private func generate() throws {
        let budget = memory?.byteCount ?? Int(clamping: ProcessInfo.processInfo.physicalMemory / 2)
        var graph = try model.known(isQuiet: work.quiet).graph(try openTensorSource(at: path))
        for adapter in adapters.lora { _ = try graph.add(adapter: adapter) }
        graph.round(activations: rounding.activations, keyValues: rounding.kv)
        let network = try graph.network(weightBudget: budget, threadCount: work.threadCount)
        let tokenizer = tokens == nil ? try Tokenizer(path: path) : try? Tokenizer(path: path)
        if let tokenizer { try network.check(tokenizer, named: path) }
        let start = try tokens.map { try TokenText(tokenFile: $0) } ?? TokenText(ids: tokenizer.map(promptTokens) ?? [], name: "--prompt")
        guard !start.ids.isEmpty else { throw EvaluationError(.emptyText, path: start.name) }
        try start.check(vocabulary: network.model.hyperparameters.vocabulary)
        var stops = tokenizer?.special.stops ?? []
        if chat { stops.formUnion(tokenizer?.special.turnEnds ?? []) }
        var generation = try Generation(network, prompt: start.ids, limit: maxTokens, sampling: sampling, stops: stops)
        var stream = tokenizer.map { TokenStream($0) }
        var text = ""
        func write(_ part: String) {
            text += part
            if !json { standardOutput(part) }
        }
        let clock = ContinuousClock()
        let begin = clock.now
        var first: ContinuousClock.Instant?
        while let token = try generation.next() {
            first = first ?? clock.now
            if generation.ending == .stop { continue }
            write(stream?.append(token) ?? (generation.tokens.count == 1 ? "" : " ") + "\(token)")
        }
        write(stream?.finish() ?? "")
        let (prefill, decode) = (seconds((first ?? begin) - begin), seconds(clock.now - (first ?? begin)))
        guard json else {
            standardOutput("\n")
            return
        }
        let object: JSONObject = [
            "prompt_tokens": .integer(start.ids.count), "text": .string(text), "tokens": .array(generation.tokens.map(JSONValue.integer)),
            "finish_reason": .string(generation.ending?.rawValue ?? ""),
            "prefill_tokens_per_second": .number(Double(start.ids.count) / max(prefill, 1e-9)),
            "tokens_per_second": .number(Double(generation.tokens.count - 1) / max(decode, 1e-9)),
        ]
        standardOutput(JSONValue.object(object).text(pretty: true) + "\n")
    }

    private func promptTokens(_ tokenizer: Tokenizer) throws -> [Int] {
        let prompt = prompt ?? ""
        guard chat else { return try tokenizer.encode(prompt) }
        return try tokenizer.tokens(of: Conversation(user: prompt, system: system), date: .now)
    }

    private func seconds(_ duration: Duration) -> Double {
        Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
    }
}
