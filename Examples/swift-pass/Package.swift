// swift-tools-version: 6.2
import PackageDescription

// A program of its own: resq, and a pass more.
let package = Package(
    name: "swift-pass",
    platforms: [.macOS(.v26)],
    dependencies: [.package(name: "resq", path: "../..")],
    targets: [
        .executableTarget(
            name: "my-resq",
            dependencies: [
                .product(name: "Commands", package: "resq"), .product(name: "Formats", package: "resq"),
                .product(name: "Passes", package: "resq"),
            ],
            path: "Sources")
    ]
)
