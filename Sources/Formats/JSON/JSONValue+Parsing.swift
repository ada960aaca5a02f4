import CJSONC

extension JSONValue {
    /// Parses a UTF-8 JSON text: one value, strict RFC 8259, no key twice in an object.
    ///
    /// Integers past 64 bits become `.number`, as close as a `Double` comes.
    /// - Throws: `FormatError` naming the byte and the line, and what was expected there.
    public init(parsing bytes: RawSpan, limits: JSONLimits = JSONLimits()) throws(FormatError) {
        try self.init(parsing: bytes, limits: limits, runByteCount: JSONRuns.byteCount)
    }

    /// - Parameter runByteCount: about how much text json-c is given at once.
    package init(parsing bytes: RawSpan, limits: JSONLimits, runByteCount: Int) throws(FormatError) {
        var scanner = JSONScanner(Span<UInt8>(_bytes: bytes), limits: limits, runByteCount: runByteCount)
        try scanner.scan()
        let tokener = try JSONTokener(depth: limits.depth)
        var longIntegers = scanner.longIntegers[...]
        if let runs = scanner.runs {
            try self.init(runs, of: bytes, tokener, longIntegers: &longIntegers)
        } else {
            self = try tokener.value(of: bytes, longIntegers: &longIntegers)
        }
    }

    /// Reads a large array or object part by part, each tree freed before the next is made.
    private init(
        _ runs: JSONRuns, of bytes: RawSpan, _ tokener: JSONTokener, longIntegers: inout ArraySlice<JSONValue>
    ) throws(FormatError) {
        var object = JSONObject()
        var array: [JSONValue] = []
        for part in runs.parts {
            switch part {
            case .run(let range):
                let run = try tokener.value(
                    of: bytes.extracting(range), inside: runs.isObject ? ("{", "}") : ("[", "]"), longIntegers: &longIntegers)
                if let members = run.object { for key in members.keys { object[key] = members[key] } }
                if let elements = run.array { array += elements }
            case .member(let key, let member):
                let value = try JSONValue(member, of: bytes, tokener, longIntegers: &longIntegers)
                if runs.isObject { object[key] = value } else { array.append(value) }
            }
        }
        self = runs.isObject ? .object(object) : .array(array)
    }

    /// Parses bytes held in an array.
    public init(parsing bytes: [UInt8], limits: JSONLimits = JSONLimits()) throws(FormatError) {
        // Bytes hold no padding, so their raw view is whole.
        try self.init(parsing: unsafe bytes.span.bytes, limits: limits)
    }

    /// Parses shared bytes, such as a mapped file.
    public init(parsing bytes: TensorBytes, limits: JSONLimits = JSONLimits()) throws(FormatError) {
        try self.init(parsing: bytes.bytes, limits: limits)
    }

    /// Copies json-c's tree. Its depth was bounded before it was built, so the recursion is too.
    // `tree` and all it points to belong to the caller and outlive the call; nothing of it is kept.
    fileprivate init(tree: OpaquePointer?, longIntegers: inout ArraySlice<JSONValue>) {
        switch unsafe json_object_get_type(tree) {
        case json_type_boolean: self = .bool(unsafe json_object_get_boolean(tree) != 0)
        case json_type_int:
            let value = unsafe json_object_get_int64(tree)
            let isLong = value.magnitude >= 1_000_000_000_000_000_000
            self = isLong ? longIntegers.popFirst() ?? .integer(Int(value)) : .integer(Int(value))
        case json_type_double: self = .number(unsafe json_object_get_double(tree))
        case json_type_string:
            let count = Int(unsafe json_object_get_string_len(tree))
            let text = unsafe UnsafeRawBufferPointer(start: json_object_get_string(tree), count: count)
            self = .string(unsafe String(decoding: text, as: UTF8.self))
        case json_type_array:
            let count = unsafe json_object_array_length(tree)
            var elements: [JSONValue] = []
            elements.reserveCapacity(count)
            for index in 0..<count {
                elements.append(unsafe JSONValue(tree: json_object_array_get_idx(tree, index), longIntegers: &longIntegers))
            }
            self = .array(elements)
        case json_type_object:
            var object = JSONObject()
            object.reserveCapacity(Int(unsafe json_object_object_length(tree)))
            var iterator = unsafe json_object_iter_begin(tree)
            var end = unsafe json_object_iter_end(tree)
            while unsafe json_object_iter_equal(&iterator, &end) == 0 {
                // Keys are C strings: the scan has refused those with NUL in them.
                if let name = unsafe json_object_iter_peek_name(&iterator) {
                    let value = unsafe JSONValue(tree: json_object_iter_peek_value(&iterator), longIntegers: &longIntegers)
                    object[unsafe String(cString: name)] = value
                }
                unsafe json_object_iter_next(&iterator)
            }
            self = .object(object)
        default: self = .null
        }
    }
}

/// json-c's parser.
@safe private final class JSONTokener {
    private let tokener: UnsafeMutablePointer<json_tokener>

    init(depth: Int) throws(FormatError) {
        guard let tokener = unsafe json_tokener_new_ex(Int32(clamping: depth + 2)) else {
            throw FormatError(.system(call: "json_tokener_new_ex", errno: 12))
        }
        unsafe self.tokener = tokener
    }

    deinit { unsafe json_tokener_free(tokener) }

    /// The value that a checked text holds, or that its members make inside a pair of brackets.
    func value(
        of bytes: RawSpan, inside brackets: (open: StaticString, close: StaticString)? = nil,
        longIntegers: inout ArraySlice<JSONValue>
    ) throws(FormatError) -> JSONValue {
        guard let length = Int32(exactly: bytes.byteCount), length < Int32.max else {
            throw FormatError(.unsupported(what: "a JSON document of \(bytes.byteCount) bytes"))
        }
        // json-c copies what it keeps, so the buffers need only live for the calls.
        unsafe json_tokener_reset(tokener)
        if let brackets { _ = unsafe feed(UnsafeRawPointer(brackets.open.utf8Start), 1) }
        var tree = unsafe bytes.withUnsafeBytes { unsafe feed($0.baseAddress, length) }
        if let brackets { unsafe tree = feed(UnsafeRawPointer(brackets.close.utf8Start), 1) }
        if unsafe json_tokener_get_error(tokener) == json_tokener_continue {
            // A number at the very end could go on; a terminating NUL says that it does not.
            unsafe tree = unsafe json_tokener_parse_ex(tokener, "\0", 1)
        }
        let verdict = unsafe json_tokener_get_error(tokener)
        guard verdict == json_tokener_success else {
            let reason = unsafe json_tokener_error_desc(verdict).map { unsafe String(cString: $0) } ?? "an error"
            throw FormatError(
                .invalid(field: "JSON", found: reason, expected: "a JSON value"),
                byteOffset: UInt64(unsafe json_tokener_get_parse_end(tokener)))
        }
        defer { unsafe json_object_put(tree) }
        return unsafe JSONValue(tree: tree, longIntegers: &longIntegers)
    }

    private func feed(_ bytes: UnsafeRawPointer?, _ count: Int32) -> OpaquePointer? {
        unsafe json_tokener_parse_ex(tokener, bytes?.assumingMemoryBound(to: CChar.self), count)
    }
}
