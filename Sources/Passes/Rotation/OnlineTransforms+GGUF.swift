import Formats
import LinearAlgebra
import Models

// What a GGUF file of architecture `resq` says beside the keys and tensors of its base architecture.
//
//     general.architecture              "resq"
//     resq.base_architecture            string     what `general.architecture` would be
//     resq.online.version               u32        3
//     resq.online.residual.widths       [u32; 3]   dimensions of low, middle, high
//     resq.online.values.widths         [u32; 3]   the same for a head of the values
//     resq.online.keys.widths           [u32; 3]   the same for a head of the keys
//     resq.online.residual.rotated      bool       residual_rotation.weight [d, d] is there
//     resq.online.residual.per_layer    bool       it is blk.N.residual_rotation.weight, for every layer
//     resq.online.values.rotated        bool       blk.N.attn_value_rotation.weight [key-value heads, h, h] is there for every layer
//     resq.online.keys.rotated          bool       blk.N.attn_key_rotation.weight [h, h] is there for every layer
//     resq.online.down.transformed      bool       the next key is there
//     resq.online.down.transform_seed   u64
//     resq.online.activations.bits      [u32; 3]   of low, middle, high; when they are rounded, as for the next
//     resq.online.down.bits             u32
//     resq.online.activations.group     u32        neighbours that share a scale; absent for all of a part
//     resq.online.key_values.bits       [u32; 3]
//     resq.online.key_rotation.bits     u32
//
// Version 2 knew no groups and one rotation of the stream. Version 1 had neither the rotations of the stream and of values nor the
// three keys that end in `rotated` and `transformed`, but for that of the keys.

extension OnlineTransforms {
    /// Writes the keys; the rotations' tensors are the caller's.
    func describe(in metadata: inout GGUFMetadata) throws(ModelError) {
        guard let base = metadata["general.architecture"]?.string else { throw ModelError(.missingKey(key: "general.architecture")) }
        metadata["general.architecture"] = .string(OnlineDescription.architecture)
        metadata["resq.online.version"] = .u32(3)
        metadata["resq.base_architecture"] = .string(base)
        metadata["resq.online.residual.widths"] = residual.value
        metadata["resq.online.values.widths"] = values.value
        metadata["resq.online.keys.widths"] = keys.value
        metadata["resq.online.residual.rotated"] = .bool(!residualRotations.isEmpty)
        metadata["resq.online.residual.per_layer"] = .bool(turnsStream)
        metadata["resq.online.values.rotated"] = .bool(!valueRotations.isEmpty)
        metadata["resq.online.keys.rotated"] = .bool(!keyRotations.isEmpty)
        metadata["resq.online.down.transformed"] = .bool(downSeed != nil)
        if let downSeed { metadata["resq.online.down.transform_seed"] = .u64(downSeed) }
        if let bits = rounding?.activations { metadata["resq.online.activations.bits"] = bits.value }
        if let bits = rounding?.down { metadata["resq.online.down.bits"] = .u32(UInt32(bits)) }
        if let group = rounding?.activationGroup { metadata["resq.online.activations.group"] = .u32(UInt32(group)) }
        if let bits = rounding?.keyValues { metadata["resq.online.key_values.bits"] = bits.value }
        if let bits = rounding?.keyRotation { metadata["resq.online.key_rotation.bits"] = .u32(UInt32(bits)) }
    }

    /// What the runtime does, for messages.
    var runtimeWork: String {
        [
            turnsStream ? "the residual stream is turned from layer to layer" : nil,
            keyRotations.isEmpty ? nil : "queries and keys are rotated", downSeed == nil ? nil : "the inputs of down are transformed",
            rounding == nil ? nil : "activations are rounded",
        ].compactMap(\.self).joined(separator: ", ")
    }
}

extension SubspaceWidths {
    fileprivate var value: GGUFValue { .array(GGUFArray([UInt32(low), UInt32(middle), UInt32(high)])) }
}

extension PartBits {
    fileprivate var value: GGUFValue { .array(GGUFArray([UInt32(low), UInt32(middle), UInt32(high)])) }
}

extension TensorSource {
    /// Whether the model is a ResQ artifact, which only a runtime of ours understands.
    public var isArtifact: Bool {
        guard case .gguf(let metadata) = manifest.metadata else { return false }
        return metadata["general.architecture"]?.string == OnlineDescription.architecture
    }
}

/// The keys and tensors of a `resq` file, taken out of it so that the rest is a file of the base architecture.
struct OnlineDescription {
    static let architecture = "resq"

    private let metadata: GGUFMetadata
    private let rotations: [String: LazyTensor]
    private let path: String?
    private let version: Int

    /// - Returns: `nil` for a file of another architecture.
    /// - Throws: `ModelError` for a version this program does not know.
    init?(
        takenFrom container: inout ContainerMetadata, _ tensors: inout [LazyTensor], types: TypeTable, path: String?
    ) throws(ModelError) {
        guard case .gguf(var metadata) = container, metadata["general.architecture"]?.string == Self.architecture else { return nil }
        guard let version = metadata["resq.online.version"]?.integer else { throw ModelError(.missingKey(key: "resq.online.version"), path: path) }
        guard (1...3).contains(version) else {
            throw ModelError(.invalidKey(key: "resq.online.version", found: "\(version)", expected: "1 to 3"), path: path)
        }
        self.version = version
        guard let base = metadata["resq.base_architecture"]?.string else {
            throw ModelError(.missingKey(key: "resq.base_architecture"), path: path)
        }
        self.path = path
        self.metadata = metadata
        for key in metadata.keys where key.hasPrefix("resq.online.") || key.hasPrefix("resq.split.") || key.hasPrefix("resq.types.") || key == "resq.base_architecture" {
            metadata[key] = nil
        }
        metadata["general.architecture"] = .string(base)
        container = .gguf(metadata)
        func isRotation(_ name: String) -> Bool {
            name == OnlineTransforms.residualRotationName(layer: nil)
                || name.hasPrefix("blk.") && [".residual_rotation.weight", ".attn_value_rotation.weight", ".attn_key_rotation.weight"].contains(where: name.hasSuffix)
        }
        rotations = Dictionary(tensors.filter { isRotation($0.info.name) }.map { ($0.info.name, $0) }, uniquingKeysWith: { first, _ in first })
        tensors.removeAll { isRotation($0.info.name) }
        try SplitTensors.read(&tensors, from: self.metadata, path: path)
        try CustomTensors.read(&tensors, from: self.metadata, types: types, path: path)
    }

    /// The transforms, checked against the model.
    /// - Throws: `ModelError` naming the key or tensor that is missing or does not fit.
    func transforms(for model: ModelDescription) throws(ModelError) -> OnlineTransforms {
        let numbers = model.hyperparameters
        var online = OnlineTransforms(model)
        online.residual = try widths("resq.online.residual.widths", total: numbers.hidden)
        online.values = try widths("resq.online.values.widths", total: numbers.headDimension)
        online.keys = try widths("resq.online.keys.widths", total: numbers.headDimension)
        let head = numbers.headDimension
        if try flag("resq.online.keys.rotated") {
            online.keyRotations = try (0..<numbers.layers).map { layer throws(ModelError) in
                try rotation(OnlineTransforms.keyRotationName(layer: layer), [head, head])
            }
        }
        if version > 1 {
            if try flag("resq.online.residual.rotated") {
                let isPerLayer = version > 2 ? try flag("resq.online.residual.per_layer") : false
                online.residualRotations = try (0..<(isPerLayer ? numbers.layers : 1)).map { layer throws(ModelError) in
                    try rotation(OnlineTransforms.residualRotationName(layer: isPerLayer ? layer : nil), [numbers.hidden, numbers.hidden])
                }
            }
            if try flag("resq.online.values.rotated") {
                online.valueRotations = try (0..<numbers.layers).map { layer throws(ModelError) in
                    try rotation(OnlineTransforms.valueRotationName(layer: layer), [numbers.keyValueHeads, head, head])
                }
            }
        }
        guard online.rotations.count == rotations.count else {
            let flags = ["residual", "values", "keys"].map { "resq.online.\($0).rotated" }.joined(separator: ", ")
            throw error(.invalidKey(key: flags, found: "\(online.rotations.count) rotations", expected: "as many as the file holds, \(rotations.count)"))
        }
        let seed = metadata["resq.online.down.transform_seed"]
        if version > 1 {
            let isTransformed = try flag("resq.online.down.transformed")
            if isTransformed, seed == nil { throw error(.missingKey(key: "resq.online.down.transform_seed")) }
            if !isTransformed, seed != nil {
                throw error(.invalidKey(key: "resq.online.down.transformed", found: "false", expected: "true, as there is a 'transform_seed'"))
            }
        }
        if let value = seed {
            guard case .u64(let seed) = value else {
                throw error(.invalidKey(key: "resq.online.down.transform_seed", found: "a \(value.type)", expected: "a u64"))
            }
            online.downSeed = seed
        }
        let rounding = ActivationRounding(
            activations: try bits("resq.online.activations.bits"), down: try width("resq.online.down.bits"),
            activationGroup: try group(), keyValues: try bits("resq.online.key_values.bits"),
            keyRotation: try width("resq.online.key_rotation.bits"))
        online.rounding = rounding == ActivationRounding() ? nil : rounding
        return online
    }

    private func flag(_ key: String) throws(ModelError) -> Bool {
        guard let value = metadata[key] else { throw error(.missingKey(key: key)) }
        guard let flag = value.bool else { throw error(.invalidKey(key: key, found: "a \(value.type)", expected: "a bool")) }
        return flag
    }

    private func rotation(_ name: String, _ shape: [Int]) throws(ModelError) -> LazyTensor {
        guard let tensor = rotations[name] else { throw error(.missingTensors(names: [name], count: 1)) }
        guard tensor.info.shape == shape else { throw error(.shapeMismatch(tensor: name, found: tensor.info.shape, expected: shape)) }
        return tensor
    }

    private func widths(_ key: String, total: Int) throws(ModelError) -> SubspaceWidths {
        let numbers = try three(key, 0...total)
        guard let numbers else { throw error(.missingKey(key: key)) }
        let widths = SubspaceWidths(low: numbers[0], middle: numbers[1], high: numbers[2])
        guard widths.total == total, widths.middle > 0 else {
            throw error(.invalidKey(key: key, found: "\(numbers)", expected: "three widths that are \(total) together"))
        }
        return widths
    }

    private func bits(_ key: String) throws(ModelError) -> PartBits? {
        try three(key, 2...8).map { PartBits(low: $0[0], middle: $0[1], high: $0[2]) }
    }

    private func width(_ key: String) throws(ModelError) -> Int? {
        guard let value = metadata[key] else { return nil }
        guard let bits = value.integer, (2...8).contains(bits) else {
            throw error(.invalidKey(key: key, found: value.integer.map { "\($0)" } ?? "a \(value.type)", expected: "2 to 8"))
        }
        return bits
    }

    private func group() throws(ModelError) -> Int? {
        let key = "resq.online.activations.group"
        guard let value = metadata[key] else { return nil }
        guard let group = value.integer, group > 0 else {
            throw error(.invalidKey(key: key, found: value.integer.map { "\($0)" } ?? "a \(value.type)", expected: "1 or more"))
        }
        return group
    }

    private func three(_ key: String, _ range: ClosedRange<Int>) throws(ModelError) -> [Int]? {
        guard let value = metadata[key] else { return nil }
        let numbers = value.array.flatMap { $0.count == 3 ? $0.values(upTo: 3).compactMap(\.integer) : nil } ?? []
        guard numbers.count == 3, numbers.allSatisfy(range.contains) else {
            throw error(
                .invalidKey(key: key, found: "\(numbers)", expected: "three integers from \(range.lowerBound) to \(range.upperBound)"))
        }
        return numbers
    }

    private func error(_ reason: ModelError.Reason) -> ModelError { ModelError(reason, path: path) }
}
