import Formats

/// Passes and more from outside: a program or a library that was named by its path.
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
    /// What it has; every name is `PLUGIN.NAME`.
    let contents: PluginDescription
    let file: SourceFile
    let door: any PluginDoor

    /// Starts a plugin and asks it what it has.
    /// - Parameters:
    ///   - path: an executable file; one that ends in `.py`, which `python3` runs; or a shared object, `.so` or `.dylib`.
    ///   - timeLimit: seconds after which an answer is no longer waited for; a shared object is always waited for.
    ///   - hear: is given each line that a program writes to standard error, while it runs, up to some hundreds.
    /// - Throws: `PluginError` when it cannot be started or gives no sound answer.
    public init(path: String, timeLimit: Int = Plugin.defaultTimeLimit, hear: @escaping @Sendable (String) -> Void = { _ in }) throws {
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
            door = try SubprocessDoor(path: path, file: real, timeLimit: timeLimit, hear: hear)
        } else {
            throw PluginError(plugin: path, what: "is neither a program that may be run, nor a Python file (.py), nor a shared object (.so, .dylib)")
        }
        self.path = path
        contents = try PluginDescription(try door.describe(), plugin: path)
        (name, version) = (contents.name, contents.version)
    }
}

extension Registry {
    /// Adds what a plugin has.
    /// - Throws: `PluginError` when there is a thing of that kind and name already.
    public mutating func add(_ plugin: Plugin) throws {
        func check<Thing>(_ declaration: Declaration, in table: Table<Thing>) throws(PluginError) {
            guard table[declaration.identifier] == nil else {
                throw PluginError(plugin: plugin.path, what: "there is a \(table.kind) '\(declaration.identifier)' already")
            }
        }
        for declaration in plugin.contents.passes {
            try check(declaration, in: passes)
            passes.add(declaration) { options throws(RecipeError) in PluginPass(plugin, declaration, options) }
        }
        for (declaration, facts) in plugin.contents.roundings {
            try check(declaration, in: roundings)
            roundings.add(declaration) { options throws(RecipeError) in
                PluginRounding(call: PluginCall(plugin, declaration, options, kind: "rounding"), facts: facts)
            }
        }
        for (declaration, needsReference) in plugin.contents.metrics {
            try check(declaration, in: metrics)
            metrics.add(declaration) { options throws(RecipeError) in
                PluginMetric(
                    call: PluginCall(plugin, declaration, options, kind: "metric"), title: declaration.identifier, needsReference: needsReference)
            }
        }
        for (declaration, facts) in plugin.contents.statistics {
            try check(declaration, in: statistics)
            statistics.add(declaration) { options throws(RecipeError) in
                PluginStatistic(call: PluginCall(plugin, declaration, options, kind: "statistic"), facts: facts)
            }
        }
        for (declaration, blockSize, typeSize) in plugin.contents.types {
            guard types[declaration.identifier] == nil else {
                throw PluginError(plugin: plugin.path, what: "there is a type '\(declaration.identifier)' already")
            }
            let call = PluginCall(plugin, declaration, .none, kind: "type")
            register(
                CustomType(
                    name: declaration.identifier, blockSize: blockSize, typeSize: typeSize,
                    codec: PluginCodec(call: call, blockSize: blockSize, typeSize: typeSize)))
        }
        for declaration in plugin.contents.exporters {
            try check(declaration, in: exporters)
            exporters.add(declaration) { options throws(RecipeError) in
                PluginExporter(call: PluginCall(plugin, declaration, options, kind: "format"))
            }
        }
    }
}
