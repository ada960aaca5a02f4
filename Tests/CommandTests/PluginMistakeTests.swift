import Foundation
import Testing
import TestSupport

/// Plugins that misbehave: each is ended, and the message says what it did, where, and what it said last.
@Suite(.serialized) struct PluginMistakeTests {
    /// A plugin that behaves; each case changes something of it.
    private static let sound = """
        import json, os, signal, struct, subprocess, sys, time

        def send(message, data=b""):
            text = message if isinstance(message, bytes) else json.dumps(message).encode()
            write(struct.pack("<4sIQ", b"RESQ", len(text), len(data)) + text + data)

        def write(data):
            while data:
                data = data[os.write(1, data):]

        def read(count):
            data = b""
            while len(data) < count:
                more = os.read(0, count - len(data))
                if not more:
                    sys.exit()
                data += more
            return data

        description = {"protocol": 1, "name": "bad", "version": "1", "passes": [{"name": "p", "summary": "A pass."}]}

        def step(t, **more):
            output = {key: t[key] for key in ("name", "dtype", "shape")}
            return {"inputs": [t["name"]], "outputs": [{**output, **more}]}

        def plan(question):
            return {"steps": [step(t) for t in question["tensors"]]}

        def apply(question, data):
            send({"id": question["id"]}, data)

        def hear():
            magic, count, data_count = struct.unpack("<4sIQ", read(16))
            return json.loads(read(count)), read(data_count)

        def complain(text):
            sys.stderr.write(text + "\\n")
            sys.stderr.flush()

        """

    private static let loop = """

        while True:
            question, data = hear()
            if question["ask"] == "describe":
                send({"id": question["id"], **description})
            elif question["ask"] == "plan":
                send({"id": question["id"], **plan(question)})
            else:
                apply(question, data)
        """

    /// What it does, the Python that does it, and words of the message.
    static let cases: [(String, String, [String])] = [
        // Before it says what it is.
        ("exits", "complain('no such device')\nsys.exit(3)", ["exited with code 3", "its last words: no such device"]),
        ("does nothing", "sys.exit(0)", ["exited with code 0"]),
        ("is no Python", "def def", ["exited with code 1", "SyntaxError"]),
        ("kills itself", "os.kill(os.getpid(), signal.SIGTERM)", ["was ended by signal 15"]),
        ("prints", "print('Hello from my plugin', flush=True)\ntime.sleep(60)", ["is no message: 'Hello from my pl", "print to standard error"]),
        ("hangs", "complain('loading')\ntime.sleep(60)", ["gave no answer for 4 s", "loading"]),
        ("closes its output", "os.close(1)\ntime.sleep(60)", ["closed its standard output"]),
        ("leaves a child", "subprocess.Popen(['sleep', '5'])\nsys.exit(4)", ["exited with code 4"]),
        ("sends no JSON", "hear()\nsend(b'{\"id\": 1, ')", ["is not JSON"]),
        ("sends no id", "hear()\nsend({})", ["without an 'id'"]),
        ("answers another", "hear()\nsend({'id': 7})", ["answered question 7, which is not open"]),
        ("announces too much", "hear()\nwrite(struct.pack('<4sIQ', b'RESQ', 1 << 31, 0))", ["2147483648 bytes"]),
        ("floods its output", "while True: os.write(1, b'x' * 65536)", ["is no message"]),
        // What it says it is.
        ("is of another protocol", "description['protocol'] = 2", ["'protocol' is 2"]),
        ("has no name", "del description['name']", ["'name' is missing"]),
        ("has a name of two words", "description['name'] = 'two words'", ["'two words'", "letters"]),
        ("takes our name", "description['name'] = 'resq'", ["'resq' is taken"]),
        ("has no passes", "description['passes'] = []", ["no passes"]),
        ("has a pass twice", "description['passes'] *= 2", ["'bad.p'", "twice"]),
        ("misspells a key", "description['passes'][0]['sumary'] = 'a'", ["'sumary'", "did you mean 'summary'"]),
        ("has options of no type", "description['passes'][0]['options'] = [{'name': 'o', 'type': 'integr', 'summary': 's'}]", ["did you mean 'integer'"]),
        ("has a wrong default", "description['passes'][0]['options'] = [{'name': 'o', 'type': 'integer', 'summary': 's', 'default': 'a'}]", ["'default' of option 'o'"]),
        ("takes the host's option", "description['passes'][0]['options'] = [{'name': 'match', 'type': 'text', 'summary': 's'}]", ["'match'", "host's own"]),
        // What it plans.
        ("refuses", "def plan(question): return {'error': 'this model has no q'}", ["'bad.p'", "this model has no q"]),
        ("plans nothing", "def plan(question): return {}", ["'bad.p'", "'steps' is missing"]),
        ("takes what is not there", "def plan(question): return {'steps': [{**step(question['tensors'][0]), 'inputs': ['model.nrm.weight']}]}", ["'model.nrm.weight'", "did you mean 'model.norm.weight'"]),
        ("takes a tensor twice", "def plan(question): return {'steps': [step(question['tensors'][0], name='a'), step(question['tensors'][0], name='b')]}", ["step 2", "taken already"]),
        ("plans an unknown type", "def plan(question): return {'steps': [step(t, dtype='bf61') for t in question['tensors']]}", ["'bf61'", "did you mean 'bf16'"]),
        ("plans blocks that do not fit", "def plan(question): return {'steps': [step(t, dtype='Q6_K') for t in question['tensors']]}", ["blocks of 256"]),
        ("plans a negative shape", "def plan(question): return {'steps': [step(t, shape=[-1]) for t in question['tensors']]}", ["a dimension"]),
        ("plans too large a shape", "def plan(question): return {'steps': [step(t, shape=[1 << 40, 1 << 40]) for t in question['tensors']]}", ["overflows"]),
        ("plans one name twice", "def plan(question): return {'steps': [step(t, name='a') for t in question['tensors']]}", ["'a'", "tensor name"]),
        ("renames what it has not", "def plan(question): return {'steps': [{'inputs': [t['name']], 'outputs': [{'name': 'a', 'from': 'b'}]} for t in question['tensors'][:1]]}", ["no input of the step"]),
        ("plans other rows by rows", "def plan(question): return {'steps': [{**step(t, shape=[2] + t['shape']), 'rows': True} for t in question['tensors']]}", ["by rows", "2 rows"]),
        // What it does.
        ("answers too little", "def apply(q, data): send({'id': q['id']}, data[1:])", ["'bad.p'", "norm.weight'", "answered with 127 bytes of data where 128 were planned"]),
        ("answers too much", "def apply(q, data): send({'id': q['id']}, data + b'x')", ["answered with 129 bytes of data where 128 were planned"]),
        ("answers as much as there is", "def apply(q, data): write(struct.pack('<4sIQ', b'RESQ', 17, 1 << 63) + b'{\"id\":%10d}' % q['id'])", ["planned"]),
        ("promises and stops", "def apply(q, data):\n    write(struct.pack('<4sIQ', b'RESQ', 8, 128) + b'{\"id\":%d}' % q['id'] + data[:7])\n    sys.exit(9)", ["'bad.p'", "norm.weight'", "exited with code 9"]),
        ("answers twice", "def apply(q, data):\n    for _ in range(2): send({'id': q['id']}, data)\n    time.sleep(60)", ["which is not open"]),
        ("says no", "def apply(q, data): send({'id': q['id'], 'error': 'too dark to see'})", ["'bad.p'", "norm.weight'", "too dark to see"]),
        ("crashes", "def apply(q, data): raise KeyError('gone')", ["'bad.p'", "norm.weight'", "exited with code 1", "KeyError: 'gone'"]),
        ("is killed", "def apply(q, data): os.kill(os.getpid(), signal.SIGKILL)", ["norm.weight'", "was ended by signal 9"]),
        ("hangs over a tensor", "def apply(q, data):\n    complain('thinking')\n    time.sleep(60)", ["'bad.p'", "norm.weight'", "gave no answer for 4 s", "thinking"]),
        ("prints between answers", "def apply(q, data):\n    print('tensor', q['inputs'][0]['name'], flush=True)\n    send({'id': q['id']}, data)", ["'tensor model", "print to standard error"]),
        ("floods its errors and fails", "def apply(q, data):\n    for i in range(200000): sys.stderr.write('line %d\\n' % i)\n    sys.exit(5)", ["exited with code 5", "line 199999"]),
        ("floods its errors for ever", "def apply(q, data):\n    while True: complain('still here')", ["gave no answer for 4 s", "still here"]),
    ]

    @Test(arguments: cases.indices) func misbehaviourIsEndedAndExplained(index: Int) async throws {
        let (name, code, words) = Self.cases[index]
        let folder = try TemporaryFolder()
        try SmallModel().write(to: folder)
        try folder.write(Array((Self.sound + code + "\n" + Self.loop).utf8), to: "p.py")
        // Enough for Python to start on a busy machine; only those that hang are waited for so long.
        let timeLimit = words.contains { $0.contains("gave no answer") } ? 4 : 300
        let recipe = "recipe: 1\nplugins: [{path: p.py, time-limit: \(timeLimit)}]\npasses: [{use: bad.p, with: {match: '*norm.weight'}}]\n"
        try folder.write(Array(recipe.utf8), to: "r.yaml")
        let before = folder.everything
        let outcome = try await resq(["run", "r.yaml", "--input", "model", "--output", "o.gguf", "--threads", "2", "--quiet"], in: folder.path)
        expectRefusal(outcome, saying: "plugin ./p.py: ")
        for word in words { #expect(outcome.errors.contains(word), "\(name): \(outcome.errors)") }
        #expect(folder.everything == before, "\(name)")
    }

    #if os(Linux)
    /// What a plugin does with memory that it shares with the host; `m` is the memory, `f` its descriptor, `a` where the tensors are.
    static let sharedCases: [(String, String, [String])] = [
        ("says nothing of what it wrote", "send({'id': q['id']})", ["'bad.p'", "up_proj.weight'", "answered with [] bytes of data where [32768] were planned"]),
        ("wrote too little", "send({'id': q['id'], 'written': [5]})", ["answered with [5] bytes"]),
        ("wrote an output more", "send({'id': q['id'], 'written': [32768, 0]})", ["answered with [32768, 0] bytes"]),
        ("sends data all the same", "send({'id': q['id'], 'written': [32768]}, m[:32768])", ["answered with 32768 bytes of data where 0 were planned"]),
        ("shortens the memory", "os.ftruncate(f, 0)", ["exited with code 1", "PermissionError"]),
        ("lengthens the memory", "os.ftruncate(f, 1 << 40)", ["exited with code 1", "PermissionError"]),
        ("dies over the memory", "m[:] = b'x' * len(m)\n    os.abort()", ["up_proj.weight'", "was ended by signal 6"]),
    ]

    @Test func misbehaviourInSharedMemoryIsExplained() async throws {
        let folder = try TemporaryFolder()
        try SmallModel().write(to: folder)
        let recipe = "recipe: 1\nname: r\nplugins: [p.py]\npasses: [{use: bad.p, with: {match: '*up_proj.weight'}}]\n"
        try folder.write(Array(recipe.utf8), to: "r.yaml")
        let arguments = ["run", "r.yaml", "--input", "model", "--output", "o.safetensors", "--threads", "2", "--quiet"]
        func write(_ body: String) throws {
            let apply = """
                import mmap
                description['shared-memory'] = True
                def apply(q, data):
                    assert not data
                    f, a = os.open(q['memory']['path'], os.O_RDWR), q['memory']['at']
                    m = mmap.mmap(f, q['memory']['bytes'])
                    \(body)

                """
            try folder.write(Array((Self.sound + apply + Self.loop).utf8), to: "p.py")
        }
        for (name, body, words) in Self.sharedCases {
            try write(body)
            let outcome = try await resq(arguments, in: folder.path)
            expectRefusal(outcome, saying: "plugin ./p.py: ")
            for word in words { #expect(outcome.errors.contains(word), "\(name): \(outcome.errors)") }
            #expect(!folder.names.contains("o.safetensors"), "\(name)")
        }
        // The one that all others are made of does work.
        try write("m[a[1]:a[1] + 32768] = m[a[0]:a[0] + 32768]\n    send({'id': q['id'], 'written': [32768]})")
        expectSuccess(try await resq(arguments, in: folder.path))
        expectSuccess(try await resq(["diff", "model", "o.safetensors", "--exit-code"], in: folder.path))
    }
    #endif

    /// The plugin that all others are made of does work.
    @Test func theSoundOneWorks() async throws {
        let folder = try TemporaryFolder()
        try SmallModel().write(to: folder)
        try folder.write(Array((Self.sound + Self.loop).utf8), to: "p.py")
        try folder.write(Array("recipe: 1\nname: r\nplugins: [p.py]\npasses: [{use: bad.p}]\n".utf8), to: "r.yaml")
        expectSuccess(try await resq(["run", "r.yaml", "--input", "model", "--output", "o.gguf"], in: folder.path))
        expectSuccess(try await resq(["diff", "model", "o.gguf"], in: folder.path))
    }

    @Test func nothingIsLeftRunning() async throws {
        let folder = try TemporaryFolder()
        try SmallModel().write(to: folder)
        let code = "open('pid', 'w').write(str(os.getpid()))\ndef apply(q, data): time.sleep(600)\n"
        try folder.write(Array((Self.sound + code + Self.loop).utf8), to: "p.py")
        let recipe = "recipe: 1\nplugins: [{path: p.py, time-limit: 4}]\npasses: [{use: bad.p}]\n"
        try folder.write(Array(recipe.utf8), to: "r.yaml")
        expectRefusal(
            try await resq(["run", "r.yaml", "--input", "model", "--output", "o.gguf", "--quiet"], in: folder.path), saying: "gave no answer")
        let pid = String(decoding: try folder.read("pid"), as: UTF8.self)
        // A process that has ended may still be waited for by whoever adopted it.
        #expect(!commandSucceeds("ps -o stat= -p \(pid) | grep -v Z"))
    }
}
