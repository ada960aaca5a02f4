import ArgumentParser
import Formats
import Models

struct TokenizeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tokenize",
        abstract: "Turns text into a model's token ids, or ids into text.",
        discussion: """
            Ids go to standard output, one per line. With --decode the input holds ids, parted by anything that is no digit, and \
            the text goes to standard output. With --chat the input is a conversation as JSON, a list of messages with role and content, \
            which the model's chat template puts into words first.
            """)

    @Argument(help: ArgumentHelp("A model, a folder with a tokenizer, a tokenizer.json or a tokenizer.model.", valueName: "model"))
    var model: String

    @Option(help: ArgumentHelp("The file to read; - is standard input.", valueName: "file"))
    var text: String

    @Flag(help: "Read ids and print their text.")
    var decode = false

    @Flag(help: "Read a conversation and put it through the model's chat template, up to where the model answers.")
    var chat = false

    @Flag(name: .customLong("no-special"), help: "Add no tokens for the start and end of the text; leave special tokens out of decoded text.")
    var noSpecial = false

    @Flag(help: "Take special tokens that are written out in the text for plain text.")
    var plain = false

    @Flag(help: "Print only how many tokens there are.")
    var count = false

    @Flag(help: "Print JSON: ids, their pieces and their number, or the decoded text.")
    var json = false

    func validate() throws {
        if decode, count || plain || chat { throw ValidationError("--decode takes none of --count, --plain and --chat") }
        if chat, noSpecial || plain { throw ValidationError("--chat takes neither --no-special nor --plain") }
    }

    func run() throws {
        let tokenizer = try Tokenizer(path: model)
        let input = text == "-" ? try readStandardInput() : try MappedFile(path: text).bytes
        if decode { try printText(tokenizer, input) } else { try printIDs(tokenizer, input) }
    }

    private func printIDs(_ tokenizer: Tokenizer, _ input: TensorBytes) throws {
        let text = chat ? try conversationText(tokenizer, input) : nil
        let ids: [Int]
        if let text {
            // A template says itself whether a text starts with the token for a start.
            ids = try tokenizer.encode(text, addsSpecialTokens: false)
        } else {
            do {
                // Every bit pattern is a byte.
                ids = try tokenizer.encode(Span<UInt8>(_bytes: input.bytes), addsSpecialTokens: !noSpecial, parsesSpecial: !plain)
            } catch {
                throw ModelError(error.reason, path: error.path ?? inputName)
            }
        }
        if json {
            var object: JSONObject = ["count": .integer(ids.count)]
            if let text, !count { object["text"] = .string(text) }
            if !count {
                object["ids"] = .array(ids.map { .integer($0) })
                object["pieces"] = .array(ids.map { .string(tokenizer.piece($0) ?? "") })
            }
            standardOutput(JSONValue.object(object).text(pretty: false) + "\n")
        } else if count {
            standardOutput("\(ids.count)\n")
        } else {
            var text = ""
            text.reserveCapacity(ids.count * 6)
            for id in ids {
                text += String(id)
                text += "\n"
            }
            standardOutput(text)
        }
    }

    private func conversationText(_ tokenizer: Tokenizer, _ input: TensorBytes) throws -> String {
        let json: JSONValue
        do { json = try JSONValue(parsing: input) } catch { throw error.at(path: inputName) }
        let conversation = try Conversation(json: json, path: inputName)
        return try naming(model) { try tokenizer.text(of: conversation, date: .now) }
    }

    private func printText(_ tokenizer: Tokenizer, _ input: TensorBytes) throws {
        let ids = try readIDs(input, vocabularySize: tokenizer.vocabularySize)
        let text = tokenizer.decode(ids, skipsSpecial: noSpecial)
        standardOutput(json ? JSONValue.object(["count": .integer(ids.count), "text": .string(text)]).text(pretty: false) + "\n" : text)
    }

    /// Numbers parted by anything else.
    private func readIDs(_ input: TensorBytes, vocabularySize: Int) throws -> [Int] {
        var ids: [Int] = []
        var number: Int?
        var start = 0
        let bytes = Span<UInt8>(_bytes: input.bytes)
        for place in 0...bytes.count {
            let byte = place < bytes.count ? bytes[place] : 0
            if (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) {
                if number == nil { start = place }
                number = min((number ?? 0) * 10 + Int(byte - UInt8(ascii: "0")), Int(Int32.max))
            } else if let id = number {
                guard id < vocabularySize else {
                    throw ModelError(
                        .invalidKey(key: "id at byte \(start)", found: "\(id)", expected: "an id in 0..<\(vocabularySize)"), path: inputName)
                }
                ids.append(id)
                number = nil
            } else if byte == UInt8(ascii: "-") {
                throw ModelError(.invalidKey(key: "byte \(place)", found: "'-'", expected: "ids, which are not negative"), path: inputName)
            }
        }
        return ids
    }

    private var inputName: String { text == "-" ? "standard input" : text }
}
