/// From files to one document: imports, parameters, overrides.
extension Recipe {
    init(loading source: RecipeSource, sets: [String]) throws(RecipeError) {
        var imports = ImportWalk()
        try imports.visit(source, chain: [])
        var parameters = RecipeParameters()
        for document in imports.documents { try parameters.merge(document) }
        var root = try imports.merged()
        for text in sets {
            let override = try RecipeOverride(text)
            if parameters.names.contains(override.parameterName) {
                try parameters.set(override)
            } else {
                root = try override.applied(to: root, parameterNames: parameters.names)
            }
        }
        root = try parameters.substituted(in: root)
        try self.init(resolved: root, name: source.baseName)
    }
}

/// The documents of a recipe and all it imports: imports before those who import them, each file once.
private struct ImportWalk {
    private(set) var documents: [RecipeNode] = []
    private var done: Set<RecipeSource.Identity> = []

    static let maximumDepth = 16
    static let maximumCount = 64

    init() {}

    mutating func visit(_ source: RecipeSource, chain: [(identity: RecipeSource.Identity, file: String)]) throws(RecipeError) {
        let root = try RecipeNode.parse(source.bytes, file: source.file)
        _ = try root.mapping("the recipe", keys: Recipe.keys)
        _ = try root.required("recipe", in: "the recipe")
            .integer("'recipe' (the version of the format)", in: Recipe.schemaVersion...Recipe.schemaVersion)
        let chain = chain + [(source.identity, source.file)]
        if let node = root["imports"] {
            for element in try node.sequence("'imports'") {
                let imported = try source.imported(element)
                if let start = chain.firstIndex(where: { $0.identity == imported.identity }) {
                    let files = chain[start...].map(\.file) + [imported.file]
                    throw RecipeError("the imports go in a circle: \(files.joined(separator: " -> "))", at: element.location)
                }
                if done.contains(imported.identity) { continue }
                guard chain.count <= ImportWalk.maximumDepth, done.count + chain.count < ImportWalk.maximumCount else {
                    throw RecipeError(
                        "more than \(ImportWalk.maximumDepth) imports inside each other or \(ImportWalk.maximumCount) in all",
                        at: element.location)
                }
                try visit(imported, chain: chain)
            }
        }
        done.insert(source.identity)
        documents.append(root)
    }

    /// One document: passes and plugins one after the other; of everything else, what the later one says.
    /// Name and description are the recipe's own.
    func merged() throws(RecipeError) -> RecipeNode {
        guard let own = documents.last else { preconditionFailure("merging before the first visit") }
        var entries: [RecipeNode.Entry] = []
        for key in Recipe.keys where key != "imports" && key != "params" {
            var result: RecipeNode.Entry?
            for document in key == "name" || key == "description" ? [own] : documents {
                guard case .mapping(let members) = document.value, let entry = members.first(where: { $0.key == key }) else {
                    continue
                }
                result = try result.map { earlier throws(RecipeError) in try merge(earlier, entry) } ?? entry
            }
            if let result { entries.append(result) }
        }
        return RecipeNode(.mapping(entries), at: own.location)
    }

    private func merge(_ earlier: RecipeNode.Entry, _ later: RecipeNode.Entry) throws(RecipeError) -> RecipeNode.Entry {
        var result = later
        switch later.key {
        case "passes", "plugins":
            let what = "'\(later.key)'"
            result.value.value = .sequence(try earlier.value.sequence(what) + later.value.sequence(what))
        case "calibration", "verify":
            guard case .mapping(let old) = earlier.value.value, case .mapping(let new) = later.value.value else { break }
            result.value.value = .mapping(old.filter { entry in !new.contains { $0.key == entry.key } } + new)
        default: break
        }
        return result
    }
}
