extension PassRegistry {
    /// The passes that come with the project.
    public static var builtIn: PassRegistry {
        var registry = PassRegistry()
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
        return registry
    }
}
