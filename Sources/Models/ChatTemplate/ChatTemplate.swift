import Formats

/// A model's chat template: turns a conversation into the text that the model was trained on.
///
/// The language is Jinja's, with the settings and additions of transformers' `apply_chat_template`, which judges what a template
/// means. A template belongs to a model file, so it is bounded in size, depth, steps and output, and can do nothing but make text.
public struct ChatTemplate: Sendable {
    /// The template's name in the model; the main one is "default".
    public let name: String
    private let statements: [TemplateStatement]

    /// - Throws: `ModelError.invalidTemplate` with the line that cannot be read.
    public init(_ source: String, name: String = "default") throws(ModelError) {
        self.name = name
        do {
            statements = try TemplateParser.statements(of: source)
        } catch {
            throw ModelError(error, template: name)
        }
    }

    /// The text of a conversation.
    /// - Parameters:
    ///   - variables: what the template may name: `messages` (objects with `role` and `content`), `tools`, `add_generation_prompt`,
    ///     `bos_token` and so on.
    ///   - date: what `strftime_now` tells.
    /// - Throws: `ModelError.invalidTemplate` with the line, also when the template itself refuses the conversation.
    public func render(_ variables: JSONObject, date: TemplateDate) throws(ModelError) -> String {
        let evaluator = TemplateEvaluator(date: date)
        do {
            var values: [String: TemplateValue] = [:]
            for key in variables.keys { values[key] = try evaluator.value(of: variables[key] ?? .null) }
            return try evaluator.render(statements, variables: values)
        } catch {
            throw ModelError(error, template: name)
        }
    }
}

extension ModelError {
    fileprivate init(_ error: TemplateError, template: String) {
        self.init(.invalidTemplate(name: template, line: error.line, why: error.why))
    }
}

extension TemplateEvaluator {
    /// A JSON document as a value. It was read with a bound on its depth.
    fileprivate func value(of json: JSONValue) throws(TemplateError) -> TemplateValue {
        switch json {
        case .null: return .null
        case .bool(let flag): return .bool(flag)
        case .integer(let integer): return .integer(integer)
        case .unsigned(let integer): return .number(Double(integer))
        case .number(let number): return .number(number)
        case .string(let text): return .string(text)
        case .array(let elements):
            var values: [TemplateValue] = []
            for element in elements { values.append(try value(of: element)) }
            return try sequence(.list, values)
        case .object(let object):
            var members: [(TemplateValue, TemplateValue)] = []
            for key in object.keys { members.append((.string(key), try value(of: object[key] ?? .null))) }
            return try dictionary(members)
        }
    }
}
