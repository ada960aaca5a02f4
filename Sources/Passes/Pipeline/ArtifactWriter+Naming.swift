import Foundation
import Formats

/// The end of a run: files that are complete get their names, in such an order that a kill in between leaves nothing
/// that looks like a model.
extension ArtifactWriter {
    /// Renames every part, in the layout's order.
    ///
    /// The last file of several is the one that readers cannot do without (`config.json`, the index, the last split). An
    /// older one is removed first, and with it the weights that the new model does not name: new and old files side by
    /// side are thus never read as one model.
    func giveNames(_ files: [OutputFile]) throws {
        if let last = files.last, files.count > 1 {
            try? FileManager.default.removeItem(atPath: last.path)
            removeStaleFiles()
        }
        var named: [String] = []
        do {
            for file in files {
                try file.finish()
                named.append(file.path)
            }
        } catch {
            // With a journal a later run goes on from here.
            if journal == nil { for path in named { try? FileManager.default.removeItem(atPath: path) } }
            throw error
        }
    }

    /// Makes parts again of files that an interrupted run of the same plan had named already.
    func takeNamesBack() throws {
        guard let journal else { return }
        for index in Set(journal.finished.map(\.file)) where layout.files.indices.contains(index) {
            try OutputFile.takeNameBack(path: path(of: layout.files[index]), byteCount: layout.files[index].byteCount)
        }
    }

    func path(of file: FileLayout) -> String {
        file.name.isEmpty ? path : path + "/" + file.name
    }

    /// Weights, tokenizer and templates of the model that stood in a directory before would be read by some loaders beside or
    /// before the new ones. Files that no loader looks for by name stay.
    private func removeStaleFiles() {
        let current = Set(layout.files.map(\.name))
        guard current.contains("config.json") else { return }
        let names = ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).filter(HuggingFaceDirectory.isReadByName)
        for name in names + ((try? HuggingFaceDirectory.namedChatTemplates(inFolder: path)) ?? []) where !current.contains(name) {
            try? FileManager.default.removeItem(atPath: path + "/" + name)
        }
    }
}
