/// One `--set KEY=VALUE`: a parameter, or a value of the recipe by dotted path.
///
/// Passes are addressed by id, or by the pass's name when only one step uses it: `passes.quantize.with.rules`.
struct RecipeOverride {
    let key: String
    let value: RecipeNode
    var location: RecipeLocation { value.location }

    /// The parameter that is meant if there is one of that name.
    var parameterName: String { key.hasPrefix("params.") ? String(key.dropFirst(7)) : key }

    private static let settable = ["name", "description", "calibration", "passes", "output", "verify", "on-fallback"]

    init(_ text: String) throws(RecipeError) {
        guard let equals = text.firstIndex(of: "="), equals != text.startIndex else {
            throw RecipeError("expected KEY=VALUE", at: RecipeLocation(file: "--set \(text)"))
        }
        key = String(text[..<equals])
        let location = RecipeLocation(file: "--set \(key)")
        let written = String(text[text.index(after: equals)...])
        if let first = written.first, "[{\"'".contains(first) {
            do throws(RecipeError) {
                value = try RecipeNode.parse(Array(written.utf8), file: "").moved(to: location)
            } catch {
                throw RecipeError("the value '\(written)': \(error.what)", at: location)
            }
        } else {
            value = RecipeNode(try plainScalar(written, at: location), at: location)
        }
    }

    func applied(to root: RecipeNode, parameterNames: [String]) throws(RecipeError) -> RecipeNode {
        let parts = key.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard RecipeOverride.settable.contains(parts[0]) else {
            throw RecipeError(
                "there is neither a parameter nor a setting of that name", at: location, word: parts[0],
                known: parameterNames + RecipeOverride.settable)
        }
        guard parts[0] == "passes" else { return try set(parts[...], in: root) }
        var root = root
        guard case .mapping(var entries) = root.value, let place = entries.firstIndex(where: { $0.key == "passes" }),
            case .sequence(var steps) = entries[place].value.value
        else { throw RecipeError("the recipe has no passes", at: location) }
        let (step, rest) = try step(named: key.dropFirst(7), in: steps)
        steps[step] = try set(rest[...], in: steps[step])
        entries[place].value.value = .sequence(steps)
        root.value = .mapping(entries)
        return root
    }

    /// The step that a path starts with, and what follows. Ids may contain dots.
    private func step(named path: Substring, in steps: [RecipeNode]) throws(RecipeError) -> (Int, [String]) {
        let named = steps.enumerated().compactMap { place, step -> (place: Int, name: String)? in
            if case .text(let id)? = step["id"]?.value { return (place, id) }
            guard case .text(let use)? = step["use"]?.value else { return nil }
            return (place, use)
        }
        let found = named.filter { path == $0.name || path.hasPrefix($0.name + ".") }
        // Of `a` and `a.b`, the longer one is meant.
        guard let name = found.map(\.name).max(by: { $0.count < $1.count }) else {
            let word = String(path.prefix { $0 != "." })
            throw RecipeError("no step is called '\(word)'", at: location, word: word, known: named.map(\.name))
        }
        let places = found.filter { $0.name == name }
        guard places.count == 1 else {
            throw RecipeError("\(places.count) steps use '\(name)'; give the one that is meant an id", at: location)
        }
        let rest = path.dropFirst(name.count + 1).split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard rest.count >= 2, rest[0] == "with" else {
            throw RecipeError("expected passes.\(name).with.OPTION", at: location)
        }
        return (places[0].place, rest)
    }

    /// Replaces what a path leads to; mappings on the way are made when they are missing.
    private func set(_ path: ArraySlice<String>, in node: RecipeNode) throws(RecipeError) -> RecipeNode {
        guard let first = path.first else { return value }
        var result = node
        switch node.value {
        case .mapping(var entries):
            if let place = entries.firstIndex(where: { $0.key == first }) {
                entries[place].value = try set(path.dropFirst(), in: entries[place].value)
            } else {
                let empty = RecipeNode(.mapping([]), at: location)
                entries.append(
                    RecipeNode.Entry(key: first, keyLocation: location, value: try set(path.dropFirst(), in: empty)))
            }
            result.value = .mapping(entries)
        case .sequence(var elements):
            guard let place = Int(first), elements.indices.contains(place) else {
                throw RecipeError("'\(first)' is not the place of an element, from 0 to \(elements.count - 1)", at: location)
            }
            elements[place] = try set(path.dropFirst(), in: elements[place])
            result.value = .sequence(elements)
        default: throw RecipeError("'\(first)' cannot be set inside \(node.found)", at: location)
        }
        return result
    }
}

extension RecipeNode {
    /// The same values, all at one place.
    fileprivate func moved(to location: RecipeLocation) -> RecipeNode {
        switch value {
        case .sequence(let elements): RecipeNode(.sequence(elements.map { $0.moved(to: location) }), at: location)
        case .mapping(let entries):
            RecipeNode(
                .mapping(entries.map { Entry(key: $0.key, keyLocation: location, value: $0.value.moved(to: location)) }),
                at: location)
        default: RecipeNode(value, at: location)
        }
    }
}
