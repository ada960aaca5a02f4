import Formats

/// Passes from outside: a program or a library that was named by its path.
///
/// A plugin runs with the rights of whoever runs `resq`; none is ever looked for.
public struct Plugin: Sendable {
    /// The version of the questions and answers.
    static let protocolVersion = 1
    /// Seconds that a plugin may take for one answer when nobody says otherwise.
    public static let defaultTimeLimit = 300

    /// As it was named.
    public let path: String
    /// The plugin's own name, the first part of its passes' names.
    public let name: String
    public let version: String
    /// The SHA-256 of the file that was named.
    public let digest: Digest
    /// What its passes declare, named `PLUGIN.PASS`.
    public let declarations: [PassDeclaration]
    let file: SourceFile
    let door: any PluginDoor

    /// Starts a plugin and asks it what it has.
    /// - Parameters:
    ///   - path: an executable file; one that ends in `.py`, which `python3` runs; or a shared object, `.so` or `.dylib`.
    ///   - timeLimit: seconds after which an answer is no longer waited for; a shared object is always waited for.
    /// - Throws: `PluginError` when it cannot be started or gives no sound answer.
    public init(path: String, timeLimit: Int = Plugin.defaultTimeLimit) throws {
        guard let real = realPath(of: path) else { throw PluginError(plugin: path, what: "there is no such file") }
        let mapped: MappedFile
        do {
            mapped = try MappedFile(path: real)
        } catch {
            throw PluginError(plugin: path, what: "cannot be read: \(error.description)")
        }
        digest = Digest(of: mapped.bytes)
        file = SourceFile(path: path, byteCount: mapped.byteCount)
        if real.hasSuffix(".so") || real.hasSuffix(".dylib") {
            door = try SharedObjectDoor(path: path, file: real)
        } else if real.hasSuffix(".py") || isExecutable(real) {
            door = try SubprocessDoor(path: path, file: real, timeLimit: timeLimit)
        } else {
            throw PluginError(plugin: path, what: "is neither a program that may be run, nor a Python file (.py), nor a shared object (.so, .dylib)")
        }
        self.path = path
        let description = try PluginDescription(try door.describe(), plugin: path)
        (name, version, declarations) = (description.name, description.version, description.passes)
    }

    /// The last part of a pass's name.
    func localName(of declaration: PassDeclaration) -> String { String(declaration.identifier.dropFirst(name.count + 1)) }
}

extension PassRegistry {
    /// Adds the passes of a plugin.
    /// - Throws: `PluginError` when there is a pass of that name already.
    public mutating func add(_ plugin: Plugin) throws {
        for declaration in plugin.declarations {
            guard self.declaration(of: declaration.identifier) == nil else {
                throw PluginError(plugin: plugin.path, what: "there is a pass '\(declaration.identifier)' already")
            }
            register(declaration) { options throws(RecipeError) in PluginPass(plugin, declaration, options) }
        }
    }
}
