extension Registry {
    /// What comes with the project.
    public static var builtIn: Registry {
        var registry = Registry()
        registry.register(Cast.self)
        registry.register(Drop.self)
        registry.register(FoldNorms.self)
        registry.register(HadamardRotation.self)
        registry.register(Keep.self)
        registry.register(Lower.self)
        registry.register(MergeLoRA.self)
        registry.register(Online.self)
        registry.register(Quantize.self)
        registry.register(Rename.self)
        registry.register(Rotate.self)
        registry.register(Untie.self)
        for (name, kind, summary) in [
            ("channels", StatisticsKinds.channels, "Per channel of every linear input: mean, mean square, largest magnitude."),
            ("residual", .residual, "Second moments of the inputs of q, k and v, and of gate and up."),
            ("inner", .inner, "Second moments of the inputs of o and down, and of experts."),
            ("heads", .heads, "Second moments of keys and queries after RoPE, and of values, per key-value head."),
        ] {
            registry.statistics.add(Declaration(identifier: name, summary: summary)) { _ throws(RecipeError) in
                BuiltInStatistic(kinds: kind)
            }
        }
        registry.register(Nearest.self)
        registry.register(GPTQ.self)
        registry.register(Perplexity.self)
        registry.register(Divergence.self)
        registry.register(Agreement.self)
        registry.register(LogitDifference.self)
        registry.register(GGUFExporter.self)
        registry.register(CompressedGGUFExporter.self)
        registry.register(SafetensorsExporter.self)
        registry.register(HuggingFaceExporter.self)
        return registry
    }
}
