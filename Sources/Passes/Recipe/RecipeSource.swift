import Formats
import Recipes

/// Where a recipe is read from, and what its imports are relative to.
struct RecipeSource {
    /// As messages name it.
    var file: String
    /// The folder that imports are relative to; `nil` for built-in recipes.
    var folder: String?
    var bytes: [UInt8]
    /// Two sources with one identity are the same recipe.
    var identity: Identity

    /// The file's name without folder and extension: the name of a recipe that does not give itself one.
    var baseName: String {
        let name = file.split(separator: "/").last ?? "recipe"
        guard let dot = name.lastIndex(of: "."), dot != name.startIndex else { return String(name) }
        return String(name[..<dot])
    }

    enum Identity: Hashable {
        case builtIn(String)
        case file(FileIdentity)
        case text(String)
    }

    /// What a user names: a file or a built-in recipe.
    init(argument: String) throws(RecipeError) {
        if let name = RecipeLibrary.find(argument) {
            self.init(builtIn: name)
        } else if argument.contains("/") || [".yaml", ".yml", ".json"].contains(where: argument.hasSuffix) {
            try self.init(path: argument, at: RecipeLocation(file: argument))
        } else {
            throw RecipeError(
                "there is no built-in recipe of that name (a file is written with a '/' or its extension)",
                at: RecipeLocation(file: argument), word: argument, known: RecipeLibrary.names)
        }
    }

    init(text: String, file: String) {
        self.file = file
        folder = RecipeSource.folder(of: file)
        bytes = Array(text.utf8)
        identity = .text(file)
    }

    /// What an import of this recipe names.
    func imported(_ node: RecipeNode) throws(RecipeError) -> RecipeSource {
        let word = try node.text("an import")
        if word.hasPrefix("std/") {
            guard let name = RecipeLibrary.find(word) ?? RecipeLibrary.find(String(word.dropFirst(4))) else {
                throw RecipeError(
                    "there is no built-in recipe '\(word)'", at: node.location, word: word,
                    known: RecipeLibrary.names.map { $0.hasPrefix("std/") ? $0 : "std/" + $0 })
            }
            return RecipeSource(builtIn: name)
        }
        guard let folder else {
            throw RecipeError("a built-in recipe imports only from 'std/', not '\(word)'", at: node.location)
        }
        let parts = word.split(separator: "/", omittingEmptySubsequences: false)
        guard !word.hasPrefix("/"), !parts.contains(".."), !word.utf8.contains(0) else {
            throw RecipeError("the import '\(word)' leaves the recipe's folder", at: node.location)
        }
        let hasExtension = [".yaml", ".yml", ".json"].contains(where: word.hasSuffix)
        let path = folder + "/" + word + (hasExtension ? "" : ".yaml")
        guard let real = realPath(of: path), let realFolder = realPath(of: folder) else {
            throw RecipeError("the import '\(path)' cannot be opened", at: node.location)
        }
        guard real.hasPrefix(realFolder == "/" ? "/" : realFolder + "/") else {
            throw RecipeError("the import '\(word)' leaves the recipe's folder through a link", at: node.location)
        }
        return try RecipeSource(path: path, at: node.location)
    }

    private init(builtIn name: String) {
        file = name
        folder = nil
        bytes = RecipeLibrary.bytes(of: name)
        identity = .builtIn(name)
    }

    /// - Parameter location: what to blame when the file cannot be read.
    private init(path: String, at location: RecipeLocation) throws(RecipeError) {
        let mapped: MappedFile
        do {
            mapped = try MappedFile(path: path)
        } catch {
            throw RecipeError("the recipe cannot be read: \(error.description)", at: location)
        }
        guard mapped.byteCount <= RecipeNode.maximumByteCount else {
            throw RecipeError(
                "a recipe of \(mapped.byteCount) bytes, at most \(RecipeNode.maximumByteCount) are allowed",
                at: RecipeLocation(file: path))
        }
        file = path
        folder = RecipeSource.folder(of: path)
        bytes = mapped.bytes.array
        identity = .file(mapped.identity)
    }

    static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}

/// The recipes inside the binary.
public enum RecipeLibrary {
    /// The names of all built-in recipes, `std/` ones included, in order.
    public static var names: [String] { library.keys.sorted() }

    /// A built-in recipe as it is written. The name must be one of `names`.
    public static func text(of name: String) -> String { String(decoding: bytes(of: name), as: UTF8.self) }

    static func find(_ name: String) -> String? { library[name] == nil ? nil : name }

    static func bytes(of name: String) -> [UInt8] {
        guard let bytes = library[name] else { preconditionFailure("no built-in recipe is called '\(name)'") }
        return bytes
    }
}
