import ArgumentParser
import Formats
import Models
import Passes

struct PassesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "passes", abstract: "Lists the passes, their options and contracts, and what else recipes and options may name.")

    @Argument(help: ArgumentHelp("Show this pass only.", valueName: "pass"))
    var name: String?

    @Flag(help: "Print JSON.")
    var json = false

    @Flag(help: "Print the reference page, as docs/passes.md has it.")
    var markdown = false

    @Option(
        help: ArgumentHelp(
            "Try what this plugin has, or this pass, on synthetic tensors and say what is wrong with it; the exit code is 1 when something is.",
            valueName: "plugin or pass"))
    var check: String?

    @Option(help: ArgumentHelp("With --check: seconds the plugin may take for an answer (default 30).", valueName: "n"))
    var timeLimit: Int?

    func validate() throws {
        if timeLimit != nil, check == nil { throw ValidationError("--time-limit needs --check") }
        if let timeLimit, !(1...86_400).contains(timeLimit) { throw ValidationError("--time-limit takes 1 to 86400 seconds") }
        if check != nil, name != nil || markdown || !plugins.paths.isEmpty { throw ValidationError("--check stands alone") }
    }

    @OptionGroup var plugins: PluginOptions

    func run() throws {
        if let check { return try verdict(on: check) }
        let registry = try plugins.registry()
        if markdown { return standardOutput(registry.documentation) }
        let declarations = registry.declarations.filter { name == nil || $0.identifier == name }
        guard !declarations.isEmpty else {
            let (name, known) = (name ?? "", registry.declarations.map(\.identifier))
            let hint = nearest(to: name, in: known).map { "did you mean '\($0)'?" } ?? "there are \(known.joined(separator: ", "))"
            throw ValidationError("there is no pass '\(name)'; \(hint)")
        }
        if json {
            return standardOutput(JSONValue.array(declarations.map(\.json)).text(pretty: true) + "\n")
        }
        standardOutput(declarations.map(\.text).joined())
        guard name == nil else { return }
        for (kind, declarations) in registry.otherKinds {
            standardOutput("\n\(kind)\n\n" + declarations.map(\.text).joined())
        }
    }
}

extension Declaration {
    fileprivate var text: String {
        "\(identifier): \(summary)\n"
            + options.map { "    \($0.name) (\($0.type.description), default \($0.fallback.description)): \($0.summary)\n" }.joined()
    }
}

extension PassesCommand {
    private func verdict(on subject: String) throws {
        let show: @Sendable (ConformanceCheck.Finding) -> Void = { [json] finding in
            guard !json else { return }
            let verdict = finding.verdict.rawValue + String(repeating: " ", count: 8 - finding.verdict.rawValue.count)
            standardOutput("\(verdict)\(printable(finding.subject)): \(finding.what)\n")
        }
        let check = try Resq.registry.declarations.first { $0.identifier == subject }
            .map { try ConformanceCheck(pass: $0, of: Resq.registry, report: show) }
            ?? ConformanceCheck(plugin: subject, timeLimit: timeLimit ?? 30, hear: remarks(of: subject), report: show)
        if json {
            let list = check.findings.map {
                ["verdict": .string($0.verdict.rawValue), "subject": .string($0.subject), "what": .string($0.what)] as JSONValue
            }
            standardOutput(JSONValue.array(list).text(pretty: true) + "\n")
        }
        guard check.isSound else {
            let count = check.findings.count { $0.verdict == .failed }
            throw Failure(message: "\(count) of \(check.findings.count) checks failed", exitCode: Failure.checkFailed)
        }
    }
}

extension Declaration {
    fileprivate var json: JSONValue {
        [
            "identifier": .string(identifier), "summary": .string(summary), "contract": .string(contract),
            "options": .array(
                options.map {
                    [
                        "name": .string($0.name), "type": .string($0.type.description),
                        "default": .string($0.fallback.description), "summary": .string($0.summary),
                    ]
                }),
        ]
    }
}

struct RecipesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "recipes", abstract: "Lists the built-in recipes, or prints one.")

    @Argument(help: ArgumentHelp("Print this recipe.", valueName: "recipe"))
    var name: String?

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        if let name {
            let recipe = try Recipe.load(name)
            return standardOutput(recipe.resolvedText + "\n")
        }
        // The names that 'run' and 'imports' take, which for those in std/ are not the recipes' own.
        let recipes = try RecipeLibrary.names.map { (name: $0, description: try Recipe.load($0).description) }
        if json {
            let list = recipes.map { ["name": .string($0.name), "description": .string($0.description)] as JSONValue }
            return standardOutput(JSONValue.array(list).text(pretty: true) + "\n")
        }
        standardOutput(table(recipes.map { [$0.name, $0.description] }))
    }
}

struct ArchitecturesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "architectures", abstract: "Lists the model families that can be converted between Hugging Face and GGUF.")

    @Flag(help: "Print JSON.")
    var json = false

    @OptionGroup var model: ModelOptions

    func run() throws {
        let architectures = try model.library().architectures
        if json {
            let list = architectures.map {
                [
                    "identifier": .string($0.identifier), "gguf": .string($0.ggufName),
                    "huggingface": .array($0.classNames.map { .string($0) }),
                    "model_types": .array($0.modelTypes.map { .string($0) }),
                ] as JSONValue
            }
            return standardOutput(JSONValue.array(list).text(pretty: true) + "\n")
        }
        let rows = architectures.map { [$0.identifier, $0.ggufName, $0.classNames.joined(separator: ", ")] }
        standardOutput(table([["architecture", "gguf", "huggingface"]] + rows))
    }
}
