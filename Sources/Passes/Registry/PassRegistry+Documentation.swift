extension PassRegistry {
    /// The reference of all passes, as Markdown.
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
        return text
    }
}

extension OptionDeclaration {
    /// The option, and the further keys of its rules as options of their own.
    fileprivate var withExtras: [OptionDeclaration] {
        guard case .rules(_, let extra) = type else { return [self] }
        return [self]
            + extra.map { OptionDeclaration("\(name)[].\($0.name)", $0.type, default: $0.fallback, summary: $0.summary) }
    }
}

private func escaped(_ cell: String) -> String {
    String(cell.flatMap { $0 == "|" ? ["\\", "|"] : $0.isNewline ? [" "] : [$0] })
}
