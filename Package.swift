// swift-tools-version: 6.2
import PackageDescription

/// One set of settings for every Swift target: unsafe code must be marked, spans may be returned from our own types,
/// and existential types and imports are spelled out.
let swiftSettings: [SwiftSetting] = [
    .strictMemorySafety(),
    .treatWarning("StrictMemorySafety", as: .error),
    // `@_lifetime` is what the standard library's own span properties use; the language group has promised
    // that code written with it keeps its meaning.
    .enableExperimentalFeature("Lifetimes"),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

let package = Package(
    name: "resq",
    platforms: [.macOS(.v26)],
    products: [
        // An executable called `convert`, after its folder, would hide ImageMagick's.
        .executable(name: "resq", targets: ["resq"]),
        .library(name: "Formats", targets: ["Formats"]),
        .library(name: "LinearAlgebra", targets: ["LinearAlgebra"]),
        .library(name: "Models", targets: ["Models"]),
        .library(name: "ResQ", targets: ["ResQ"]),
        .library(name: "Passes", targets: ["Passes"]),
        // The commands, for a program that brings passes of its own to them.
        .library(name: "Commands", targets: ["Commands"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2"),
    ],
    targets: [
        // System libraries and C.
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"]), .brew(["zstd"])]),
        .systemLibrary(name: "CJSONC", pkgConfig: "json-c", providers: [.apt(["libjson-c-dev"]), .brew(["json-c"])]),
        .systemLibrary(name: "CBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
        .systemLibrary(name: "CLinux"),
        // The table of functions that plugins which are shared objects have.
        .systemLibrary(name: "CResQPass", path: "include"),
        .target(name: "CKernels"),

        // The house, from the ground up.
        .target(name: "Threads", swiftSettings: swiftSettings),
        .target(name: "Formats", dependencies: ["Threads", "CKernels", "CZstd", "CJSONC"], swiftSettings: swiftSettings),
        .target(
            name: "LinearAlgebra",
            // On Apple's systems Accelerate has the same functions.
            dependencies: ["Threads", "CKernels", .target(name: "CBLAS", condition: .when(platforms: [.linux]))],
            swiftSettings: swiftSettings),
        .target(
            name: "Models", dependencies: ["CKernels", "Formats", "LinearAlgebra", "Threads"],
            resources: [.embedInCode("Architectures"), .embedInCode("Tokenizer/pretokenizers.json")], swiftSettings: swiftSettings),

        .target(name: "ResQ", dependencies: ["LinearAlgebra", "Threads", "CKernels"], swiftSettings: swiftSettings),
        // The recipes of the project, inside the binary, so that it needs no files beside it.
        .target(
            name: "Recipes", path: "recipes",
            resources: [
                .embedInCode("bf16-lossless.yaml"),
                .embedInCode("f16.yaml"),
                .embedInCode("gptq-gguf.yaml"),
                .embedInCode("gptq-w4.yaml"),
                .embedInCode("iq1_m.yaml"),
                .embedInCode("iq1_s.yaml"),
                .embedInCode("iq2_m.yaml"),
                .embedInCode("iq2_s.yaml"),
                .embedInCode("iq2_xs.yaml"),
                .embedInCode("iq2_xxs.yaml"),
                .embedInCode("iq3_m.yaml"),
                .embedInCode("iq3_s.yaml"),
                .embedInCode("iq3_xs.yaml"),
                .embedInCode("iq3_xxs.yaml"),
                .embedInCode("iq4_nl.yaml"),
                .embedInCode("iq4_xs.yaml"),
                .embedInCode("q2_k.yaml"),
                .embedInCode("q2_k_s.yaml"),
                .embedInCode("q3_k_l.yaml"),
                .embedInCode("q3_k_m.yaml"),
                .embedInCode("q3_k_s.yaml"),
                .embedInCode("q4_0.yaml"),
                .embedInCode("q4_1.yaml"),
                .embedInCode("q4_k_m.yaml"),
                .embedInCode("q4_k_s.yaml"),
                .embedInCode("q5_0.yaml"),
                .embedInCode("q5_1.yaml"),
                .embedInCode("q5_k_m.yaml"),
                .embedInCode("q5_k_s.yaml"),
                .embedInCode("q6_k.yaml"),
                .embedInCode("q8_0.yaml"),
                .embedInCode("quarot-w4a4kv4.yaml"),
                .embedInCode("residual-gguf.yaml"),
                .embedInCode("resq-642.yaml"),
                .embedInCode("resq-gguf.yaml"),
                .embedInCode("resq-lower.yaml"),
                .embedInCode("resq-w4.yaml"),
                .embedInCode("resq-w4a4kv4.yaml"),
                .embedInCode("resq-w4a8kv4.yaml"),
                .embedInCode("rtn-w4a4kv4.yaml"),
                .embedInCode("std/compressed.yaml"),
            ],
            swiftSettings: swiftSettings),
        .target(
            name: "Passes",
            dependencies: [
                "CKernels", "CResQPass", "CLinux", "Formats", "LinearAlgebra", "Models", "ResQ", "Recipes", "Threads", "Yams",
                .product(name: "Crypto", package: "swift-crypto"),
            ],
            swiftSettings: swiftSettings),

        .target(
            name: "Commands",
            dependencies: [
                "Formats", "LinearAlgebra", "Models", "Passes", "ResQ", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Sources/convert", swiftSettings: swiftSettings),
        .executableTarget(name: "resq", dependencies: ["Commands"], path: "Sources/main", swiftSettings: swiftSettings),

        // The forward pass alone, to measure calibration against; no product.
        .executableTarget(
            name: "forward", dependencies: ["Formats", "Models", "Passes"], path: "Benchmarks/Forward", swiftSettings: swiftSettings),
        // Measures the rates that plans expect times from; no product.
        .executableTarget(
            name: "rates", dependencies: ["Formats", "LinearAlgebra", "Models", "Passes", "ResQ"], path: "Benchmarks/Rates",
            swiftSettings: swiftSettings),

        // What several test targets share.
        .target(name: "TestSupport", path: "Tests/Support", swiftSettings: swiftSettings),
        .testTarget(
            name: "FormatsTests",
            dependencies: ["Formats", "Threads", "TestSupport", .product(name: "Crypto", package: "swift-crypto")],
            exclude: ["Fixtures"], swiftSettings: swiftSettings),
        .testTarget(name: "LinearAlgebraTests", dependencies: ["LinearAlgebra"], swiftSettings: swiftSettings),
        .testTarget(
            name: "ResQTests", dependencies: ["ResQ", "LinearAlgebra"], exclude: ["Fixtures"], swiftSettings: swiftSettings),
        .testTarget(
            name: "PassesTests",
            dependencies: [
                "Passes", "Formats", "LinearAlgebra", "Models", "ResQ", "TestSupport", .product(name: "Crypto", package: "swift-crypto"),
            ], exclude: ["Fixtures"], swiftSettings: swiftSettings),
        .testTarget(
            name: "ModelsTests", dependencies: ["Models", "Formats", "CKernels"], exclude: ["Fixtures"], swiftSettings: swiftSettings),
        // The command from outside: the tests start the binary and know none of its modules.
        .testTarget(
            name: "CommandTests",
            dependencies: ["resq", "TestSupport", .product(name: "Subprocess", package: "swift-subprocess")],
            swiftSettings: swiftSettings),
    ],
    swiftLanguageModes: [.v6]
)
