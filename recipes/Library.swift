/// The recipes that come with the project, by the name under which they are run or imported.
package let library: [String: [UInt8]] = [
    "f16": PackageResources.f16_yaml
]
