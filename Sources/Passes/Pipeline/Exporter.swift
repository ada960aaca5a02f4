import Formats
import Models

/// A target format: what `format` of an output names.
public protocol Exporter: Sendable {
    /// What `resq` reads the output back as; `nil` for a format it cannot read, of which bytes are compared and nothing else.
    var container: ContainerFormat? { get }
    /// Lays a model out; reads no tensor data.
    /// - Throws: `ModelError` for a model that the format cannot hold.
    func export(_ graph: TensorGraph, to output: Output, in context: ExportContext) throws -> ExportedModel
}

/// What an exporter may know of the run it is part of.
public struct ExportContext: Sendable {
    public let architectures: ArchitectureLibrary
    /// Where it reports.
    public let passes: PassContext
}

/// A model as a format has it: final names and encodings, and a layout that depends on what is recorded in headers.
public struct ExportedModel: Sendable {
    /// In the order that places of the layout count in.
    public var tensors: [LazyTensor]
    /// What forbids to write this, though it can be planned.
    public var problem: ModelError?
    /// How many files at the end of the layout a reader is given to see every tensor; 0 when it is given the folder.
    public var entryFileCount: Int
    /// The layout with facts about where the artifact came from; when those are as long, every tensor keeps its place.
    public var layout: @Sendable (_ provenance: [(key: String, value: String)]) throws -> ArtifactLayout

    public init(
        tensors: [LazyTensor], problem: ModelError? = nil, entryFileCount: Int = 1,
        layout: @escaping @Sendable (_ provenance: [(key: String, value: String)]) throws -> ArtifactLayout
    ) {
        (self.tensors, self.problem, self.entryFileCount, self.layout) = (tensors, problem, entryFileCount, layout)
    }
}
