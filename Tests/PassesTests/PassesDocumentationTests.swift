import Foundation
import Passes
import Testing

@Suite struct PassesDocumentationTests {
    @Test func pageIsWhatTheDeclarationsGive() throws {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../docs/passes.md")
        let page = try String(contentsOf: file.standardizedFileURL, encoding: .utf8)
        #expect(page == Registry.builtIn.documentation, "remake it: resq passes --markdown > docs/passes.md")
    }
}
