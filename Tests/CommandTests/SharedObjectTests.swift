import Foundation
import Testing
import TestSupport

/// Plugins that are shared objects, compiled from C.
@Suite(.enabled(if: commandSucceeds("cc --version"), "needs a C compiler"), .serialized) struct SharedObjectTests {
    let folder: TemporaryFolder
    let model = SmallModel()

    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../..").standardizedFileURL.path

    init() throws {
        folder = try TemporaryFolder()
        try model.write(to: folder)
    }

    private func compile(_ source: String, to name: String, _ definitions: String = "") async throws {
        _ = try await output(
            of: "cc -std=c11 -Wall -Wextra -Werror -O1 -shared -fPIC -I '\(Self.root)/include' \(definitions) '\(source)' -o \(name)",
            in: folder.path)
    }

    @Test func theExampleDoesWhatItSays() async throws {
        try await compile(Self.root + "/Examples/c-pass/scale.c", to: "scale.so")
        try await expectNegation(by: "c-example.scale")
    }

    @Test(.enabled(if: commandSucceeds("swiftc --version"), "needs a Swift compiler beside the built tests")) func theExampleInSwiftDoesTheSame() async throws {
        _ = try await output(
            of: "swiftc -O -parse-as-library -emit-library -import-objc-header '\(Self.root)/include/resq_pass.h' "
                + "'\(Self.root)/Examples/swift-object/scale.swift' -o scale.so", in: folder.path)
        try await expectNegation(by: "swift-example.scale")
    }

    @Test(.enabled(if: commandSucceeds("c++ --version"), "needs a C++ compiler")) func theExampleInCPlusPlusPasses() async throws {
        _ = try await output(
            of: "c++ -std=c++17 -Wall -Wextra -Wpedantic -Werror -O1 -shared -fPIC -fvisibility=hidden -I '\(Self.root)/include' "
                + "'\(Self.root)/Examples/cpp-pass/norms.cpp' -o norms.so", in: folder.path)
        let check = try await resq(["passes", "--check", "./norms.so"], in: folder.path)
        expectSuccess(check)
        for name in ["norms: weights in Q8_0: 21 tensors in, 21 out, 5 of them computed", "likelihood: random logits", "grid: weights to Q4_0"] {
            #expect(check.output.contains("ok      cpp-example.\(name)"), "\(check.output)")
        }
        let recipe = "recipe: 1\nplugins: [norms.so]\npasses:\n- {use: cpp-example.norms, with: {factor: -1}}\n"
        try folder.write(Array(recipe.utf8), to: "r.yaml")
        expectSuccess(try await resq(["run", "r.yaml", "--input", "model", "--output", "o.safetensors", "--quiet"], in: folder.path))
        let written = try tensors(of: "o.safetensors")
        for (name, bytes) in model.weights() {
            // BF16 keeps the sign in the last byte's highest bit.
            let expected = name.contains("norm") ? bytes.indices.map { $0 % 2 == 1 ? bytes[$0] ^ 128 : bytes[$0] } : bytes
            #expect(written[name] == expected, "\(name)")
        }
    }

    /// The tensors of a safetensors file, by name.
    private func tensors(of name: String) throws -> [String: [UInt8]] {
        let file = try folder.read(name)
        let start = 8 + file[0..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
        let header = try #require(try JSONSerialization.jsonObject(with: Data(file[8..<start])) as? [String: Any])
        var tensors: [String: [UInt8]] = [:]
        for (key, value) in header where key != "__metadata__" {
            let offsets = try #require((value as? [String: Any])?["data_offsets"] as? [Int])
            tensors[key] = Array(file[start + offsets[0]..<start + offsets[1]])
        }
        return tensors
    }

    /// Runs the pass of `scale.so` that multiplies, with -1, and looks at every bit.
    private func expectNegation(by pass: String) async throws {
        let recipe = "recipe: 1\nplugins: [scale.so]\npasses:\n- {use: \(pass), with: {factor: -1, match: {role: linear}}}\n"
            + "- {use: cast, with: {to: bf16}}\n"
        try folder.write(Array(recipe.utf8), to: "r.yaml")
        for threads in ["1", "4"] {
            expectSuccess(
                try await resq(["run", "r.yaml", "--input", "model", "--output", "o.safetensors", "--threads", threads], in: folder.path))
            let written = try tensors(of: "o.safetensors")
            for (name, bytes) in model.weights() {
                // BF16 keeps the sign in the last byte's highest bit.
                let expected = name.contains("_proj") ? bytes.indices.map { $0 % 2 == 1 ? bytes[$0] ^ 128 : bytes[$0] } : bytes
                #expect(written[name] == expected, "\(name)")
            }
        }
        expectSuccess(try await resq(["passes", "--check", "./scale.so"], in: folder.path))
    }

    /// A plugin whose steps copy bytes, unless it is compiled to misbehave.
    private static let source = """
        #include "resq_pass.h"
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #define SAY(text) emit(context, 0, text, sizeof text - 1)
        #ifndef DESCRIPTION
        #define DESCRIPTION "{\\"protocol\\": 1, \\"name\\": \\"bad\\", \\"version\\": \\"1\\", \\"passes\\": [{\\"name\\": \\"p\\", \\"summary\\": \\"s\\"}]}"
        #endif
        #ifndef ABI
        #define ABI RESQ_PASS_ABI
        #endif
        #ifndef APPLY
        #define APPLY return emit(context, 0, inputs[0].data, inputs[0].byte_count);
        #endif
        #ifndef CREATE
        #define CREATE return 0;
        #endif
        #ifndef PLAN
        #define PLAN
        #endif
        #ifndef SIZE
        #define SIZE byte_count
        #endif
        #ifndef DESTROY
        #define DESTROY
        #endif
        #ifndef APPLIES
        #define APPLIES apply
        #endif
        #ifndef ENTRY
        #define ENTRY resq_pass_entry
        #endif
        static int describe(resq_emit emit, void *context, char *error, uint64_t room) {
            (void)error, (void)room;
            return SAY(DESCRIPTION);
        }
        static int create(const char *pass, const char *options, void **instance, char *error, uint64_t room) {
            (void)pass, (void)options, (void)instance, (void)error, (void)room;
            CREATE
        }
        static int plan(void *instance, const char *model, const resq_tensor *tensors, uint32_t count, resq_emit emit, void *context,
                        char *error, uint64_t room) {
            (void)instance, (void)model, (void)error, (void)room;
            char text[1024];
            PLAN
            SAY("{\\"steps\\": [");
            for (uint32_t i = 0; i < count; i++) {
                int length = snprintf(text, sizeof text, "%s{\\"inputs\\": [\\"%s\\"], \\"outputs\\": [{\\"name\\": \\"%s\\", \\"dtype\\": \\"U8\\", \\"shape\\": [%d]}]}",
                    i ? ", " : "", tensors[i].name, tensors[i].name, (int)(tensors[i].SIZE));
                emit(context, 0, text, (uint64_t)length);
            }
            return SAY("]}");
        }
        static int apply(void *instance, const resq_tensor *inputs, uint32_t input_count, const resq_tensor *outputs, uint32_t output_count,
                         resq_emit emit, void *context, char *error, uint64_t room) {
            (void)instance, (void)inputs, (void)input_count, (void)outputs, (void)output_count, (void)emit, (void)context, (void)error, (void)room;
            APPLY
        }
        static void destroy(void *instance) { (void)instance; DESTROY }
        const resq_pass_table *ENTRY(void);
        const resq_pass_table *ENTRY(void) {
            static const resq_pass_table table = {ABI, sizeof table, describe, create, plan, APPLIES, destroy};
            (void)apply;
            return &table;
        }
        """

    /// A plan of one step that makes two tensors.
    private static let two = #"-DPLAN='(void)text; (void)count; (void)tensors; return SAY("{\"steps\": [{\"inputs\": [\"model.norm.weight\"], "#
        + #"\"outputs\": [{\"name\": \"a\", \"dtype\": \"U8\", \"shape\": [128]}, {\"name\": \"b\", \"dtype\": \"U8\", \"shape\": [128]}]}]}");' "#

    /// What it does, the definitions that make it so, and words of the message.
    static let mistakes: [(String, String, [String])] = [
        ("exports nothing", "-DENTRY=another", ["exports no function 'resq_pass_entry'"]),
        ("is of another version", "-DABI=7", ["version 7", "compile it with this version's include/resq_pass.h"]),
        ("has a function missing", "-DAPPLIES=NULL", ["has a table without 'apply'"]),
        ("describes nothing", "-DDESCRIPTION='\"\"'", ["'describe' emitted nothing"]),
        ("plans nothing", "-DPLAN='(void)text; return 0;'", ["'bad.p'", "'plan' emitted nothing"]),
        ("plans to an output", "-DPLAN='(void)text; return emit(context, 1, \"{}\", 2);'", ["emitted to output 1; texts are output 0"]),
        ("plans what is nowhere", "-DPLAN='(void)text; return emit(context, 0, NULL, 2);'", ["emitted 2 bytes at NULL"]),
        ("has no name", "-DDESCRIPTION='\"{}\"'", ["its description is wrong", "'protocol' is missing"]),
        ("makes no instance", "-DCREATE='snprintf(error, room, \"no memory for %s\", pass); return 1;'", ["'bad.p'", "no memory for p"]),
        ("fails without a word", "-DCREATE='return 12;'", ["'create' returned 12 and gave no reason"]),
        ("computes nothing", "-DAPPLY='return 3;'", ["'apply' returned 3 and gave no reason"]),
        ("plans no JSON", "-DPLAN='return SAY(\"steps\");'", ["'bad.p'", "the plan is not JSON"]),
        ("refuses to plan", "-DPLAN='(void)text; strcpy(error, \"no such model\"); return 1;'", ["'bad.p'", "no such model"]),
        ("emits too little", "-DAPPLY='return emit(context, 0, inputs[0].data, 3);'", ["norm.weight'", "answered with 3 bytes of data where 128 were planned"]),
        ("emits nothing", "-DAPPLY='return 0;'", ["answered with 0 bytes of data where 128"]),
        ("emits too much", "-DAPPLY='for (int i = 0; i < 9; i++) emit(context, 0, inputs[0].data, inputs[0].byte_count); return 0;'", ["emitted 256 bytes where 128 were planned"]),
        ("emits too much at once", "-DAPPLY='return emit(context, 0, inputs[0].data, 320);'", ["norm.weight'", "emitted 320 bytes where 128 were planned"]),
        ("emits too much and says so", "-DAPPLY='strcpy(error, \"could not\"); return emit(context, 0, inputs[0].data, 320);'", ["could not (emitted 320 bytes where 128 were planned)"]),
        ("emits another output", "-DAPPLY='emit(context, 4000000000u, inputs[0].data, 1); return 0;'", ["emitted to output 4000000000, there is one output, which is 0"]),
        ("emits what is nowhere", "-DAPPLY='return emit(context, 0, NULL, 128);'", ["emitted 128 bytes at NULL"]),
        ("forgets an output", two + "-DAPPLY='return emit(context, 0, inputs[0].data, 128);'", ["tensor 'b': answered with 0 bytes of data where 128 were planned"]),
        ("complains of a tensor", "-DAPPLY='snprintf(error, room, \"%s is too dark\", outputs[0].name); return 1;'", ["'bad.p'", "norm.weight is too dark"]),
        ("complains at length", "-DAPPLY='memset(error, 65, room); return 1;'", ["AAAA"]),
        ("ends the program", "-DAPPLY='exit(0);'", ["'bad.p'", "norm.weight'", "ended the program in 'apply'"]),
    ]

    /// A part of an input, which is not copied, and one that comes in pieces, of which the first is in its place already.
    @Test func outputsMayComeFromInputsAndFromTheirRoom() async throws {
        try folder.write(Array(Self.source.utf8), to: "p.c")
        try folder.write(Array("recipe: 1\nplugins: [p.so]\npasses: [{use: bad.p}]\n".utf8), to: "r.yaml")
        let half = "const char *from = (const char *)inputs[0].data + outputs[0].byte_count;"
        let pieces = "char *target = (char *)outputs[0].data; memcpy(target, from, 3); emit(context, 0, target, 3); "
            + "return emit(context, 0, from + 3, outputs[0].byte_count - 3);"
        for rest in ["return emit(context, 0, from, outputs[0].byte_count);", pieces] {
            try await compile("p.c", to: "p.so", "-DSIZE='byte_count / 2' -DAPPLY='\(half) \(rest)'")
            expectSuccess(
                try await resq(["run", "r.yaml", "--input", "model", "--output", "o.safetensors", "--quiet"], in: folder.path))
            let written = try tensors(of: "o.safetensors")
            for (name, bytes) in model.weights() {
                #expect(written[name] == Array(bytes[(bytes.count / 2)...]), "\(name)")
            }
        }
    }

    /// What is told of tensors in `apply`: where they are, and what the plan was told.
    @Test func tensorsComeAlignedAndDescribed() async throws {
        try folder.write(Array(Self.source.utf8), to: "p.c")
        try folder.write(Array("recipe: 1\nplugins: [p.so]\npasses: [{use: bad.p}]\n".utf8), to: "r.yaml")
        let header = #"{"w":{"dtype":"U8","shape":[300],"data_offsets":[0,300]}}"#
        try folder.write(safetensorsBytes(header.count % 2 == 1 ? header : header + " ", dataByteCount: 300), to: "odd.safetensors")
        try await compile("p.c", to: "p.so", "-DAPPLY='if ((uintptr_t)inputs[0].data % 16) return 1; return emit(context, 0, inputs[0].data, 300);'")
        expectSuccess(try await resq(["run", "r.yaml", "--input", "odd.safetensors", "--output", "o.safetensors", "--quiet"], in: folder.path))
        #expect(try folder.read("o.safetensors").suffix(300) == folder.read("odd.safetensors").suffix(300))

        let known = "if (!inputs[0].role || !strstr(inputs[0].role, \"norm\") || !outputs[0].role || strcmp(inputs[0].role, outputs[0].role)"
            + " || (inputs[0].layer < 0) != !strcmp(inputs[0].role, \"final-norm\")) return 1; return emit(context, 0, inputs[0].data, 128);"
        try await compile("p.c", to: "p.so", "-DAPPLY='\(known)'")
        try folder.write(Array("recipe: 1\nplugins: [p.so]\npasses: [{use: bad.p, with: {match: '*norm.weight'}}]\n".utf8), to: "r.yaml")
        expectSuccess(try await resq(["run", "r.yaml", "--input", "model", "--output", "o.safetensors", "--quiet"], in: folder.path))

        let rounding = #"-DDESCRIPTION='"{\"protocol\": 1, \"name\": \"bad\", \"version\": \"1\", \"roundings\": [{\"name\": \"r\", \"summary\": \"s\", \"values\": true}]}"' "#
        try await compile("p.c", to: "p.so", rounding + "-DAPPLY='snprintf(error, room, \"for %s\", outputs[0].rounded_to ? outputs[0].rounded_to : \"nothing\"); return 1;'")
        let check = try await resq(["passes", "--check", "./p.so"], in: folder.path)
        for type in ["Q8_0", "Q4_0", "F16"] { #expect(check.output.contains("for \(type)\n"), "\(check.output)") }
    }

    @Test func instancesAreEnded() async throws {
        try folder.write(Array(Self.source.utf8), to: "p.c")
        try folder.write(Array("recipe: 1\nplugins: [p.so]\npasses: [{use: bad.p, with: {match: '*norm.weight'}}, {use: bad.p, with: {match: '*up_proj*'}}]\n".utf8), to: "r.yaml")
        let note = { (word: String) in "FILE *log = fopen(\"log\", \"a\"); fputs(\"\(word)\", log); fclose(log);" }
        try await compile("p.c", to: "p.so", "-DCREATE='\(note("+")) return 0;' -DDESTROY='\(note("-"))'")
        for arguments in [["run", "r.yaml", "--input", "model", "--output", "o.safetensors", "--quiet"], ["passes", "--check", "./p.so"]] {
            expectSuccess(try await resq(arguments, in: folder.path))
            let log = String(decoding: try folder.read("log"), as: UTF8.self)
            #expect(log.count { $0 == "+" } > 0 && log.count { $0 == "+" } == log.count { $0 == "-" }, "\(arguments): \(log)")
        }
    }

    @Test func whoWritesIntoInputsIsFound() async throws {
        try folder.write(Array(Self.source.utf8), to: "p.c")
        try await compile("p.c", to: "p.so", "-DAPPLY='((char *)(uintptr_t)inputs[0].data)[0] ^= 1; return emit(context, 0, inputs[0].data, inputs[0].byte_count);'")
        let outcome = try await resq(["passes", "--check", "./p.so"], in: folder.path)
        #expect(outcome.ending == .exited(1) && outcome.output.contains("failed  bad.p: weights in F32: writes into its input 'model.embed_tokens.weight'"), "\(outcome.output)")
    }

    /// A metric and a statistic in C, which are asked for with the functions that passes have.
    @Test func otherKindsComeThroughTheSameDoor() async throws {
        try folder.write(Array(Self.source.utf8), to: "p.c")
        try folder.write(Array(String(repeating: "abc ab a abcab c b ", count: 20).utf8), to: "text.txt")
        let description = #""{\"protocol\": 1, \"name\": \"c\", \"version\": \"1\", \"metrics\": [{\"name\": \"next\", \"summary\": \"s\"}], "#
            + #"\"statistics\": [{\"name\": \"squares\", \"summary\": \"s\"}]}""#
        let apply = """
            double *out = (double *)outputs[0].data;
            int64_t rows = inputs[0].shape[0], columns = inputs[0].shape[1];
            if (!strcmp(outputs[0].name, \"scores\"))
                for (int64_t i = 0; i < rows; i++) out[i] = ((const int32_t *)inputs[1].data)[i];
            else
                for (int64_t c = 0; c < columns; c++) {
                    out[c] = 0;
                    for (int64_t r = 0; r < rows; r++) { float x = ((const float *)inputs[0].data)[r * columns + c]; out[c] += (double)x * x; }
                }
            return emit(context, 0, out, outputs[0].byte_count);
            """
        try folder.write(Array("#define DESCRIPTION \(description)\n#define APPLY \(apply.replacingOccurrences(of: "\n", with: " "))\n".utf8), to: "kinds.h")
        try await compile("p.c", to: "p.so", "-include kinds.h -I.")
        let check = try await resq(["passes", "--check", "./p.so"], in: folder.path)
        expectSuccess(check)
        #expect(check.output.contains("ok      c.next: random logits") && check.output.contains("ok      c.squares: random rows"), "\(check.output)")
        let report = try await resq(
            ["eval", "model", "--text", "text.txt", "--context", "16", "--metric", "c.next", "--json", "--quiet", "--plugin", "./p.so"], in: folder.path)
        let mean = try #require((try json(report) as? [String: Any])?["c.next"] as? Double)
        #expect(mean > 0 && mean < 7, "\(report.output)")
    }

    @Test func mistakesAreToldWithPassAndTensor() async throws {
        try folder.write(Array(Self.source.utf8), to: "p.c")
        try folder.write(Array("recipe: 1\nplugins: [p.so]\npasses: [{use: bad.p, with: {match: '*norm.weight'}}]\n".utf8), to: "r.yaml")
        let arguments = ["run", "r.yaml", "--input", "model", "--output", "o.safetensors", "--quiet"]
        try await compile("p.c", to: "p.so")
        expectSuccess(try await resq(arguments, in: folder.path))
        try FileManager.default.removeItem(atPath: folder.path("o.safetensors"))
        for (name, definitions, words) in Self.mistakes {
            try await compile("p.c", to: "p.so", definitions)
            let outcome = try await resq(arguments, in: folder.path)
            expectRefusal(outcome, saying: "plugin ./p.so: ")
            for word in words { #expect(outcome.errors.contains(word), "\(name): \(outcome.errors)") }
            #expect(!folder.names.contains("o.safetensors"))
        }
        try folder.write(Array("not an object".utf8), to: "p.so")
        expectRefusal(try await resq(arguments, in: folder.path), saying: "r.yaml:2:11: plugin ./p.so: cannot be loaded")
    }
}
