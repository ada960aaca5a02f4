import Formats

/// What recipes and options may name, by kind and identifier. A value: whoever runs a recipe says what there is.
public struct Registry: Sendable {
    public internal(set) var passes = Table<any Pass>(of: "pass")
    /// What `rounding` in a rule of `quantize` may name.
    public internal(set) var roundings = Table<any RoundingMethod>(of: "rounding")
    /// What `resq eval --metric` may name.
    public internal(set) var metrics = Table<any Metric>(of: "metric")
    /// What `format` of an output may name.
    public internal(set) var exporters = Table<any Exporter>(of: "format")

    /// What `resq calibrate --statistics` may name.
    public internal(set) var statistics = Table<any Statistic>(of: "statistic")

    /// What `type` in a rule of `quantize` may name; the types of the formats are always there.
    public internal(set) var types = TypeTable.builtIn

    public init() {}

    /// Adds a pass type under its own identifier.
    public mutating func register<P: DeclaredPass>(_ type: P.Type) {
        register(P.declaration) { options throws(RecipeError) in try P(options: options) }
    }

    /// Adds a way of rounding under its own identifier.
    public mutating func register<R: RoundingMethod & Declared>(_ type: R.Type) {
        roundings.add(R.declaration) { options throws(RecipeError) in try R(options: options) }
    }

    /// Adds a metric under its own identifier.
    public mutating func register<M: Metric & Declared>(_ type: M.Type) {
        metrics.add(M.declaration) { options throws(RecipeError) in try M(options: options) }
    }

    /// Adds a format under its own identifier; that of a format which is not ours has a dot, e.g. `mine.npz`.
    public mutating func register<E: Exporter & Declared>(_ type: E.Type) {
        exporters.add(E.declaration) { options throws(RecipeError) in try E(options: options) }
    }

    /// Adds a statistic under its own identifier.
    public mutating func register<S: Statistic & Declared>(_ type: S.Type) {
        statistics.add(S.declaration) { options throws(RecipeError) in try S(options: options) }
    }

    /// Adds a block type. Files that hold tensors of it are read again where it is registered.
    public mutating func register(_ type: CustomType) { types.add(type.name, .custom(type)) }

    /// Adds a pass that something else makes: a plugin's, say.
    public mutating func register(
        _ declaration: Declaration, make: @escaping @Sendable (PassOptions) throws(RecipeError) -> any Pass
    ) {
        passes.add(declaration, make: make)
    }

    /// What all passes declare, by identifier.
    public var declarations: [Declaration] {
        passes.declarations.map { declaration in declaration.with(options: declaration.options.map(completed)) }
    }

    /// What there is beside passes, by kind, and where each is named.
    public var otherKinds: [(kind: String, declarations: [Declaration])] {
        [
            ("roundings, named by 'rounding' in a rule of 'quantize'", roundings.declarations),
            ("metrics, named by 'resq eval --metric'", metrics.declarations),
            ("statistics, named by 'resq calibrate --statistics'", statistics.declarations),
            ("formats, named by 'format' of an output", exporters.declarations),
        ]
    }

    /// Makes the pass that a step of a recipe names, with its options checked.
    /// - Throws: `RecipeError` for an unknown pass and for options that are unknown, missing, of a wrong type or out of range.
    public func pass(for step: RecipeStep) throws(RecipeError) -> any Pass {
        let pass = try passes.make(step.use, step.options, at: step.useLocation, complete: completed)
        // What ours promise, our tests have shown.
        guard let promises = passes[step.use]?.promises, !promises.isEmpty, Registry.builtIn.passes[step.use] == nil else { return pass }
        return PromisedPass(pass: pass, identifier: step.use, promises: promises)
    }

    /// Makes the metric that a word or a mapping names: `NAME`, or `{use: NAME, with: {OPTION: VALUE}}`.
    public func metric(_ node: RecipeNode) throws(RecipeError) -> (name: String, metric: any Metric) {
        let (name, metric) = try metrics.make(node, what: "the metric")
        return (name, metric)
    }

    /// Makes the statistic of that name.
    public func statistic(_ identifier: String) throws(RecipeError) -> any Statistic {
        try statistics.make(identifier, nil, at: RecipeLocation(file: "--statistics"))
    }

    /// Makes the exporter of an output's format, with its options checked.
    public func exporter(for output: OutputSpecification) throws(RecipeError) -> any Exporter {
        try exporters.make(output.formatName, output.formatOptions, at: output.formatLocation)
    }

    /// Makes the exporter of a format of ours.
    public func exporter(for format: ContainerFormat) throws(RecipeError) -> any Exporter {
        try exporters.make(format.rawValue, nil, at: RecipeLocation(file: "the output"))
    }

    /// An option with what is registered in the place of what its type asks for.
    private func completed(_ option: OptionDeclaration) -> OptionDeclaration {
        let type: OptionType =
            switch option.type {
            case .rounding: .rounding(roundings)
            case .rules(let mixtures, let extra, _): .rules(mixtures: mixtures, extra: extra.map(completed), types: types)
            default: option.type
            }
        return OptionDeclaration(option.name, type, default: option.fallback, summary: option.summary)
    }
}
