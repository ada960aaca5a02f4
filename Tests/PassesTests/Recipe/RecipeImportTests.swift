import Formats
import Foundation
import Passes
import Testing

@Suite struct RecipeImportTests {
    /// A folder of recipes, gone with the test.
    private final class Folder {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("resq-recipes-\(UUID().uuidString)").path

        init(_ files: [String: String]) throws {
            for (name, text) in files {
                let url = URL(fileURLWithPath: path).appendingPathComponent(name)
                try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
                try Data(text.utf8).write(to: url)
            }
        }

        deinit { try? FileManager.default.removeItem(atPath: path) }

        /// The error of loading a file, with the folder's path cut out.
        func refusal(_ name: String) -> String {
            do throws(RecipeError) {
                _ = try Recipe.load(path + "/" + name)
                return "fine"
            } catch {
                return error.description.replacing(path + "/", with: "")
            }
        }
    }

    @Test func importsComeFirstAndTheImporterWins() throws {
        let folder = try Folder([
            "main.yaml": """
                recipe: 1
                imports: [base, parts/more.yml]
                params: {p: main}
                calibration: {seed: 3}
                passes: [{use: last, with: {x: "${p}", y: "${q}"}}]
                """,
            "base.yaml": """
                recipe: 1
                name: base
                params: {p: base, q: base}
                calibration: {seed: 1, context: 64}
                passes: [{use: first, with: {x: "${p}"}}]
                output: [{format: gguf, path: base}]
                on-fallback: warn
                """,
            "parts/more.yml": """
                recipe: 1
                imports: [deep]
                params: {q: more}
                passes: [{use: second}]
                """,
            "parts/deep.yaml": "recipe: 1\npasses: [{use: deep}]\noutput: [{format: gguf.zst, path: deep}]\n",
        ])
        let recipe = try Recipe.load(folder.path + "/main.yaml")
        #expect(recipe.passes.map(\.use) == ["first", "deep", "second", "last"])
        #expect(recipe.passes[0].options?["x"]?.value == .text("main"))
        #expect(recipe.passes[3].options?["y"]?.value == .text("more"))
        #expect(recipe.calibration.seed == 3 && recipe.calibration.context == 64)
        #expect(recipe.outputs.map(\.path) == ["deep"])
        #expect(recipe.onFallback == .warn)
        #expect(recipe.name == "main")
    }

    @Test func builtInRecipesCanBeImported() throws {
        let recipe = try Recipe.parse("recipe: 1\nname: mine\nimports: [std/q4_k_m, std/compressed]\n", file: "r.yaml")
        let own = try Recipe.load("q4_k_m")
        #expect(recipe.passes == own.passes && !own.passes.isEmpty)
        #expect(recipe.outputs.map(\.format) == [.ggufZst])
        #expect(recipe.outputs[0].path(recipe: recipe.name, model: "smol") == "smol-mine.gguf.zst")
    }

    @Test func aFileImportedTwiceCountsOnce() throws {
        let folder = try Folder([
            "main.yaml": "recipe: 1\nimports: [a, b, a]\n", "a.yaml": "recipe: 1\nimports: [b]\n",
            "b.yaml": "recipe: 1\npasses: [{use: x}]\n",
        ])
        #expect(try Recipe.load(folder.path + "/main.yaml").passes.count == 1)
    }

    @Test func circles() throws {
        let folder = try Folder([
            "a.yaml": "recipe: 1\nimports: [b]\n", "b.yaml": "recipe: 1\nimports: [c]\n",
            "c.yaml": "recipe: 1\nimports:\n- ./b.yaml\n", "self.yaml": "recipe: 1\nimports: [self]\n",
        ])
        #expect(folder.refusal("a.yaml") == "c.yaml:3:3: the imports go in a circle: b.yaml -> c.yaml -> ./b.yaml")
        #expect(folder.refusal("self.yaml") == "self.yaml:2:11: the imports go in a circle: self.yaml -> self.yaml")
    }

    @Test(arguments: ["../other", "/etc/passwd", "a/../../other", "..", "link"])
    func importsStayInTheFolder(path: String) throws {
        let folder = try Folder(["inner/main.yaml": "recipe: 1\nimports: [\"\(path)\"]\n", "other.yaml": "recipe: 1\n"])
        try FileManager.default.createSymbolicLink(
            atPath: folder.path + "/inner/link.yaml", withDestinationPath: folder.path + "/other.yaml")
        let how = path == "link" ? " through a link" : ""
        #expect(folder.refusal("inner/main.yaml") == "inner/main.yaml:2:11: the import '\(path)' leaves the recipe's folder\(how)")
    }

    @Test(arguments: [
        ("[nothing]", "main.yaml:2:11: the import 'nothing.yaml' cannot be opened"),
        ("[std/q4_k_mm]", "main.yaml:2:11: there is no built-in recipe 'std/q4_k_mm'; did you mean 'std/q4_k_m'?"),
        ("[3]", "main.yaml:2:11: an import is 3, expected text"),
        ("a", "main.yaml:2:10: 'imports' is text 'a', expected a list"),
        ("[broken]", "broken.yaml:2:1: unknown key 'pases' in the recipe, expected recipe, name, description, imports, params, plugins, calibration, passes, output, verify or on-fallback; did you mean 'passes'?"),
    ])
    func mistakes(imports: String, message: String) throws {
        let folder = try Folder(["main.yaml": "recipe: 1\nimports: \(imports)\n", "broken.yaml": "recipe: 1\npases: []\n"])
        #expect(folder.refusal("main.yaml") == message)
    }

    @Test func tooManyAndTooDeep() throws {
        var files = ["many.yaml": "recipe: 1\nimports: [\((0..<70).map { "f\($0)" }.joined(separator: ", "))]\n"]
        for index in 0..<70 { files["f\(index).yaml"] = "recipe: 1\n" }
        for index in 0..<20 { files["d\(index).yaml"] = "recipe: 1\nimports: [d\(index + 1)]\n" }
        let folder = try Folder(files)
        #expect(folder.refusal("many.yaml").hasSuffix("more than 16 imports inside each other or 64 in all"))
        #expect(folder.refusal("d0.yaml") == "d16.yaml:2:11: more than 16 imports inside each other or 64 in all")
    }

    @Test func namesAndPaths() {
        func refusal(_ name: String) -> String {
            do throws(RecipeError) { _ = try Recipe.load(name); return "fine" } catch { return error.description }
        }
        #expect(
            refusal("q4_k_mm")
                == "q4_k_mm: there is no built-in recipe of that name (a file is written with a '/' or its extension); did you mean 'q4_k_m'?")
        #expect(refusal("./nothing.yaml").hasPrefix("./nothing.yaml: the recipe cannot be read: "))
        #expect(refusal("/dev").contains("expected a regular file"))
        #expect(refusal("q4_k_m") == "fine")
    }
}
