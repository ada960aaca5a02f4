/// The path of a file in `Tests/FormatsTests/Fixtures`.
func fixturePath(_ name: String) -> String {
    let file = #filePath
    return file[..<(file.lastIndex(of: "/") ?? file.endIndex)] + "/Fixtures/" + name
}
