extension Registry {
    /// The reference of all passes, and of what else recipes and options may name, as Markdown.
    public var documentation: String {
        var text = "# Passes\n\n<!-- Generated from the declarations: resq passes --markdown > docs/passes.md -->\n"
        for declaration in declarations {
            text += "\n## \(declaration.identifier)\n\n\(declaration.summary)\n\n\(declaration.contract)\n"
            let options = declaration.options.flatMap(\.withExtras)
            guard !options.isEmpty else { continue }
            text += "\n| option | type | default | |\n|---|---|---|---|\n"
            for option in options {
                let cells = [option.type.description, option.fallback.description, option.summary].map(escaped)
                text += "| `\(option.name)` | \(cells.joined(separator: " | ")) |\n"
            }
        }
        let others = otherKinds.filter { !$0.declarations.isEmpty }
        if !others.isEmpty { text += "\n# Other kinds\n" }
        for (kind, declarations) in others {
            text += "\n## \(kind.prefix(1).uppercased())\(kind.dropFirst())\n\n"
            for declaration in declarations { text += "- `\(declaration.identifier)`: \(declaration.summary)\n" }
        }
        return text
    }
}

extension OptionDeclaration {
    /// The option, and the further keys of its rules as options of their own.
    fileprivate var withExtras: [OptionDeclaration] {
        guard case .rules(_, let extra, _) = type else { return [self] }
        return [self]
            + extra.map { OptionDeclaration("\(name)[].\($0.name)", $0.type, default: $0.fallback, summary: $0.summary) }
    }
}

private func escaped(_ cell: String) -> String {
    String(cell.flatMap { $0 == "|" ? ["\\", "|"] : $0.isNewline ? [" "] : [$0] })
}
