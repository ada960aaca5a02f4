import Formats
import Models
import Synchronization
import Threads

/// What a full decode of a model found.
public struct Soundness: Sendable {
    /// Each tensor with its fault, in file order; sound tensors are not listed. Faults of the file itself name no tensor.
    public var faults: [(tensor: String, what: String)]
    public var tensorCount: Int
    public var byteCount: Int

    public var isSound: Bool { faults.isEmpty }

    /// Decodes every tensor of a source and checks that scales and values are finite numbers.
    ///
    /// Compressed sources verify their checksums on the way. Memory: one run of rows per thread.
    public init(_ source: any TensorSource, threadCount: Int, progress: Progress = Progress()) {
        let tensors = source.manifest.tensors
        let total = tensors.reduce(0) { $0 + $1.byteCount }
        progress.begin(.verifying, total: total)
        let found = Mutex([String?](repeating: nil, count: tensors.count))
        inParallel(count: tensors.count, threadCount: threadCount) { index in
            let fault = Soundness.fault(in: LazyTensor(info: tensors[index], operation: SourceSlice(source: source, index: index)))
            found.withLock { $0[index] = fault }
            progress.advance(tensors[index].byteCount)
        }
        let results = found.withLock { $0 }
        faults = zip(tensors, results).compactMap { tensor, fault in fault.map { (tensor.name, $0) } }
        if faults.isEmpty, let fault = Soundness.storedFault(of: source) { faults = [fault] }
        tensorCount = tensors.count
        byteCount = total
    }

    /// Checks what a ResQ artifact says of itself: its keys, the scales of its split tensors, and its rotations.
    /// - Parameter graph: the model as it was opened.
    public mutating func check(artifact graph: TensorGraph) {
        if var problem = graph.artifactProblem {
            problem.path = nil  // whoever prints a fault names it
            faults.append(("", "\(problem)"))
        }
        for tensor in graph.tensors {
            guard case .split = tensor.info.encoding, let fault = Soundness.fault(in: tensor) else { continue }
            faults.append((tensor.info.name, fault))
        }
        guard let online = graph.online else { return }
        for rotation in online.rotations {
            do { _ = try LazyRotation(reading: rotation).make() } catch let error as FormatError {
                faults.append((rotation.info.name, Soundness.sentence(error)))
            } catch { faults.append((rotation.info.name, "\(error)")) }
        }
    }

    /// What reading the tensors of a compressed file cannot see: its hashes and the places of its frames.
    private static func storedFault(of source: any TensorSource) -> (tensor: String, what: String)? {
        guard let compressed = source as? GGUFZstFile else { return nil }
        do throws(FormatError) {
            try compressed.verifyStored()
            return nil
        } catch {
            return (error.tensor ?? "", Soundness.sentence(error))
        }
    }

    /// The error without file and tensor, which whoever prints a fault names.
    private static func sentence(_ error: FormatError) -> String {
        FormatError(error.reason, byteOffset: error.byteOffset).description
    }

    private static func fault(in tensor: LazyTensor) -> String? {
        let info = tensor.info
        do {
            for rows in info.rowRuns(ofElements: 1 << 18) {
                let bytes = try tensor.rows(rows)
                if let block = Codec.firstInvalidBlock(info.encoding, bytes.bytes) {
                    let element = rows.lowerBound * info.columnCount + block * info.encoding.blockSize
                    return "not a finite number at element \(element)"
                }
                bytes.discard()
            }
            return nil
        } catch let error as FormatError {
            return Soundness.sentence(error)
        } catch {
            return "\(error)"
        }
    }
}
