import Formats

/// What a plugin did wrong, or said was wrong: which plugin, in which pass, at which tensor.
public struct PluginError: Error, Sendable, Equatable {
    /// The plugin's path, as it was named.
    public var plugin: String
    /// What was asked, when something was: a pass, or a thing of another kind.
    public var pass: String?
    /// The kind of what was asked, in a word.
    public var kind = "pass"
    /// The tensor that was asked for, when one was.
    public var tensor: String?
    /// The sentence.
    public var what: String
    /// The last lines that the plugin wrote to standard error.
    public var lastLines: [String]

    public init(plugin: String, pass: String? = nil, tensor: String? = nil, what: String, lastLines: [String] = []) {
        (self.plugin, self.pass, self.tensor, self.what, self.lastLines) = (plugin, pass, tensor, what, lastLines)
    }
}

extension PluginError: CustomStringConvertible {
    public var description: String {
        var text = "plugin \(printable(plugin)): "
        if let pass { text += "\(kind) '\(printable(pass))': " }
        if let tensor { text += "tensor '\(printable(tensor))': " }
        text += printable(what, limit: 600)
        if !lastLines.isEmpty {
            text += "; its last words: " + lastLines.map { printable($0, limit: 300) }.joined(separator: " | ")
        }
        return text
    }
}
