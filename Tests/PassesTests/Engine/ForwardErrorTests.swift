import Formats
import Models
import Passes
import Testing

@Suite struct ForwardErrorTests {
    private func network(_ name: String) throws -> (Network, Scratch) {
        let scratch = try Scratch()
        try ForwardFixture.named(name).write(to: scratch.path + "/model")
        return (try graph(at: scratch.path + "/model").network(weightBudget: 1 << 30, threadCount: 2), scratch)
    }

    @Test func idsOutOfRangeAreNamedWithTheirPlace() throws {
        let (network, _) = try network("llama-mha")
        #expect(throws: ForwardError.tokenOutOfRange(id: 32, position: 2, vocabulary: 32)) { try network.embed([[1, 2, 32]]) }
        #expect(throws: ForwardError.tokenOutOfRange(id: -1, position: 0, vocabulary: 32)) { try network.embed([[3], [-1]]) }
        #expect(throws: ForwardError.emptySequence) { try network.embed([[3], []]) }
    }

    @Test func aContextLongerThanTheModelsIsRefused() throws {
        let (network, _) = try network("llama-mha")
        #expect(throws: ForwardError.contextTooLong(tokens: 129, context: 128)) { try network.cache(capacity: 129) }
        var caches: [KeyValueCache]? = [try network.cache(capacity: 3)]
        var batch = try network.embed([[1, 2]], starts: [2])
        let tables = network.rotaryTables(contextLength: 4)
        #expect(throws: ForwardError.contextTooLong(tokens: 4, context: 3)) {
            try network.runLayers(on: &batch, caches: &caches, tables: tables)
        }
    }

    @Test func activationsThatOverflowAreNamedWithLayerAndToken() throws {
        let (network, _) = try network("llama-mha")
        let tables = network.rotaryTables(contextLength: 4)
        var none: [KeyValueCache]?
        var batch = try network.embed([[1, 2], [3, 4]])
        batch = Batch(hidden: batch.hidden.enumerated().map { $0.offset >= 3 * 32 ? .infinity : $0.element }, lengths: [2, 2])
        #expect(throws: ForwardError.notFinite(layer: 0, sequence: 1, position: 1)) {
            try network.runLayers(on: &batch, caches: &none, tables: tables)
        }
    }
}
