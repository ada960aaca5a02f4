// swift-tools-version: 6.2
import PackageDescription

/// Programs that only measurements need, apart from the main package so that nobody else builds them.
let package = Package(
    name: "benchmarks",
    platforms: [.macOS(.v26)],
    dependencies: [.package(name: "resq", path: "..")],
    targets: [
        .executableTarget(
            name: "forward",
            dependencies: [
                .product(name: "Formats", package: "resq"), .product(name: "Models", package: "resq"), .product(name: "Passes", package: "resq"),
            ])
    ],
    swiftLanguageModes: [.v6]
)
