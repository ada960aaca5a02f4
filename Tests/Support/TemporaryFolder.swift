import Foundation

/// A folder of its own for one test, removed with everything in it when the test lets go of it.
public final class TemporaryFolder: Sendable {
    public let path: String

    public init() throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("resq-test-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = url.path
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    public func path(_ name: String) -> String { path + "/" + name }

    /// Makes a folder inside this one and returns its path.
    @discardableResult public func makeFolder(_ name: String) throws -> String {
        try FileManager.default.createDirectory(atPath: path(name), withIntermediateDirectories: true)
        return path(name)
    }

    /// Writes a file and returns its path.
    @discardableResult public func write(_ bytes: [UInt8], to name: String) throws -> String {
        try Data(bytes).write(to: URL(fileURLWithPath: path(name)))
        return path(name)
    }

    public func read(_ name: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(fileURLWithPath: path(name)))) }

    /// Names of everything inside, sorted.
    public var names: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted() }

    /// Paths of everything at any depth, hidden files too, relative to the folder and sorted.
    public var everything: [String] { ((try? FileManager.default.subpathsOfDirectory(atPath: path)) ?? []).sorted() }

    /// The contents of a file, under the name "", or of all files in a folder, by their paths inside it.
    public func contents(of name: String) throws -> [String: [UInt8]] {
        var contents: [String: [UInt8]] = [:]
        for entry in everything where entry == name || entry.hasPrefix(name + "/") {
            let type = try FileManager.default.attributesOfItem(atPath: path(entry))[.type] as? FileAttributeType
            guard type == .typeRegular else { continue }
            contents[String(entry.dropFirst(entry == name ? name.count : name.count + 1))] = try read(entry)
        }
        return contents
    }

    /// Makes a pipe with a name, which nobody writes to.
    public func makeFIFO(_ name: String) {
        // The path is copied for the call.
        precondition(unsafe mkfifo(path(name), 0o600) == 0, "mkfifo")
    }
}
