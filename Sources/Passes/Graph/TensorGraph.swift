import Formats
import Models

/// The tensors of a model, in order, with what is known about the model: the value that passes rewrite.
///
/// Names are the Hugging Face names when the architecture is known, else those of the file.
public struct TensorGraph: Sendable {
    /// The tensors, in the order they will be written.
    public private(set) var tensors: [LazyTensor]
    private var places: [String: Int]
    /// The metadata of the container the tensors came from.
    public var metadata: ContainerMetadata
    /// The architecture with its sizes, or `nil` when no architecture file describes the model.
    public private(set) var model: ModelDescription?
    /// Why there is no description, when there could have been one.
    public var modelProblem: ModelError?
    /// The mixture that chose the types, when one did.
    public var mixture: Mixture?
    /// The importance matrix that weights were rounded with, when there was one.
    public var importance: ImportanceRecord?
    /// What a runtime must do beside the architecture's arithmetic, when passes left it something.
    public internal(set) var online: OnlineTransforms?
    /// What is added to weights beside them; a GGUF file gets an adapter that holds it.
    public internal(set) var additions: [LowRankAddition] = []
    /// The gains that were folded into weights, by the name of their norm.
    private(set) var foldedGains: [String: OnceFloats] = [:]
    /// The model's name: that of its file or folder.
    public var name = "model"
    /// Where the model was read from: the folder, ending in `/`, of a model directory, else the file.
    var origin: String?
    /// The tensors as their container has them, under its own names.
    var storedInfos: [TensorInfo] = []

    /// - Throws: `FormatError` with `.duplicate` when two tensors have one name.
    public init(tensors: [LazyTensor], metadata: ContainerMetadata, model: ModelDescription?) throws(FormatError) {
        self.tensors = tensors
        self.places = try TensorGraph.places(of: tensors)
        self.metadata = metadata
        self.model = model
    }

    /// The description, for a pass that needs it.
    /// - Throws: why there is none.
    func described(for pass: String) throws -> ModelDescription {
        guard let model else { throw modelProblem ?? PipelineError.cannotApply(pass: pass, why: "the architecture is unknown") }
        return model
    }

    /// What is wrong with a ResQ artifact that could not be understood. It can be copied, but nobody knows what its weights stand for.
    var artifactProblem: ModelError? {
        guard case .gguf(let metadata) = metadata, metadata["general.architecture"]?.string == OnlineDescription.architecture else { return nil }
        return modelProblem
    }

    /// The tensor of that name. Setting one that exists replaces it in place; a new one goes to the end; `nil` removes.
    public subscript(name: String) -> LazyTensor? {
        get { places[name].map { tensors[$0] } }
        set {
            switch (places[name], newValue) {
            case (let place?, let tensor?):
                precondition(tensor.info.name == name, "a tensor is filed under its own name")
                tensors[place] = tensor
            case (nil, let tensor?):
                precondition(tensor.info.name == name, "a tensor is filed under its own name")
                places[name] = tensors.count
                tensors.append(tensor)
            case (let place?, nil):
                tensors.remove(at: place)
                reindex()
            case (nil, nil): break
            }
        }
    }

    /// Replaces every tensor by what `transform` makes of it: none, one or several, in its place.
    /// - Throws: `FormatError` with `.duplicate` when two results have one name; whatever `transform` throws.
    public mutating func mapTensors(_ transform: (LazyTensor) throws -> [LazyTensor]) throws {
        let result = try tensors.flatMap(transform)
        places = try TensorGraph.places(of: result)
        tensors = result
    }

    /// Records a gain that moves into weights; of a norm that is folded twice the first gain is the one the model had.
    mutating func noteFolded(_ gain: OnceFloats, of norm: String) {
        if foldedGains[norm] == nil { foldedGains[norm] = gain }
    }

    /// Records whether the head is the embedding, in the description and in the configuration.
    mutating func setTied(_ isTied: Bool) throws {
        model?.isTied = isTied
        guard case .huggingFace(var files) = metadata, var config = files.config.object else { return }
        config["tie_word_embeddings"] = .bool(isTied)
        files.config = .object(config)
        metadata = .huggingFace(files)
    }

    private mutating func reindex() {
        places = [:]
        for (place, tensor) in tensors.enumerated() { places[tensor.info.name] = place }
    }

    private static func places(of tensors: [LazyTensor]) throws(FormatError) -> [String: Int] {
        var places: [String: Int] = [:]
        for (place, tensor) in tensors.enumerated() {
            guard places.updateValue(place, forKey: tensor.info.name) == nil else {
                throw FormatError(.duplicate(field: "tensor name", name: tensor.info.name))
            }
        }
        return places
    }
}
