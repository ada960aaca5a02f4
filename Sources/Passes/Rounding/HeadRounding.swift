import Formats
import Foundation
import LinearAlgebra
import Models

/// Rounds the head with the second moments of what it reads, norm(x) after the last layer.
///
/// A head of its own is rounded last, when all layers are. A tied one is the embedding too, which the layers read: it is
/// rounded first, with the moments of the original network, and the damping decides how much its errors count as the
/// embedding's, all directions alike, beside those of the logits.
struct HeadRounding {
    let network: Network
    /// Tokens of one batch of rows.
    private static let rowsAtOnce = 4096
    /// Rows of the weight that are rounded together: rows do not depend on each other.
    private static let weightRowsAtOnce = 8192

    /// Adds what the head reads to a collector.
    func watch(_ stream: LayerStream, _ collector: MomentCollector) throws {
        collector.watched = { $0 == .head }
        try stream.forEachBatch { batch, _ in
            for first in stride(from: 0, to: batch.tokenCount, by: Self.rowsAtOnce) {
                _ = try network.headInput(of: batch, rows: first..<min(batch.tokenCount, first + Self.rowsAtOnce), hooks: collector)
            }
        }
    }

    /// Rounds the head's rows.
    func round(_ moments: GramAccumulator?, _ round: SequentialRounding.Round) throws -> SequentialRounding.Layer {
        let vocabulary = network.model.hyperparameters.vocabulary
        var bytes: [UInt8] = []
        var remarks: [String] = []
        for first in stride(from: 0, to: vocabulary, by: Self.weightRowsAtOnce) {
            let weight = try network.head(rows: first..<min(vocabulary, first + Self.weightRowsAtOnce))
            guard let rounded = try round(network.headName, weight, moments) else { continue }
            bytes += rounded.bytes.array
            remarks = rounded.remarks
        }
        var layer = SequentialRounding.Layer()
        layer.append(network.headName, TensorBytes(ArrayStorage(bytes)), remarks)
        return layer
    }

    /// Rounds a tied embedding with the moments of this network, which is the original one. A killed run goes on at the layer that
    /// the stream had reached, which waits in a folder of its own.
    /// - Returns: the file that holds it.
    func roundTied(
        _ windows: CalibrationWindows, folder: String, threadCount: Int, progress: Progress, _ round: SequentialRounding.Round
    ) throws -> String {
        let path = "\(folder)/rounded-embedding.safetensors"
        let walk = "\(folder)/original"
        guard !FileManager.default.fileExists(atPath: path) else {
            // A run may have been killed between the two.
            try? FileManager.default.removeItem(atPath: walk)
            return path
        }
        try FileManager.default.createDirectory(atPath: walk, withIntermediateDirectories: true)
        // The input of a layer is removed when that of the next is complete: the first there is complete.
        let first = (0...network.layerCount).first { LayerStream.holdsInput(ofLayer: $0, in: walk) } ?? 0
        let stream = try LayerStream(network, windows: windows.windows, folder: walk, startingAt: first)
        progress.begin(.calibrating, total: (network.layerCount - first) * windows.tokenCount)
        for layer in first..<network.layerCount {
            try stream.advance(try network.block(layer)) { tokens in
                try progress.checkCancellation()
                progress.advance(tokens)
            }
            stream.removeEarlierInput()
        }
        let collector = MomentCollector(threadCount: threadCount)
        try watch(stream, collector)
        let layer = try self.round(collector.take(.head), round)
        try layer.write(to: path)
        try FileManager.default.removeItem(atPath: walk)
        return path
    }
}
