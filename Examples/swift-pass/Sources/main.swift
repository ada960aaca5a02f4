// All commands of resq, with a pass more:
//
//     swift build -c release --package-path Examples/swift-pass
//     Examples/swift-pass/.build/release/my-resq run recipe.yaml --input model --output out.gguf
import Commands
import Passes

var registry = Registry.builtIn
registry.register(Scale.self)
Resq.run(registry)
