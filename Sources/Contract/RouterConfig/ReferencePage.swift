extension Schema {
    /// docs/router-configuration.md: every type and attribute, in Markdown.
    package static func referencePage() -> String {
        var page = """
            # Router configuration

            <!-- Made from the schema in Sources/Contract/RouterConfig by Schema.referencePage(); do not edit. -->

            `skupper-router --config FILE` reads the two forms of skrouterd.

            A file whose name ends in `.json` is an array of pairs; lines that begin with `#` are left out:

            ```json
            [
              ["router", {"id": "west", "mode": "interior"}],
              ["listener", {"name": "links", "role": "inter-router", "port": 55671}]
            ]
            ```

            Any other file has one attribute a line:

            ```
            router {
                id: west
                mode: interior
            }
            ```

            * `$NAME` and `${NAME}` are replaced by variables of the environment; what is not set stays as it is.
            * Numbers may be given as strings. Booleans may be `true`, `false`, `yes`, `no`, `on` or `off`.
            * Names may be hyphenated: `ssl-profile` is `sslProfile`. `address` and `autoLink` stand for
              `router.config.address` and `router.config.autoLink`.
            * There is exactly one `router`. An unknown type or attribute, or a value that does not fit, ends the start
              with the file, the line and the remedy.
            * In AMQP management a type has the prefix `\(longNamePrefix)`.
            * Every entity also has `name` (unique within its type), `identity` and `type` (both set by the router).

            Notes in the tables: *required*; *updatable* by UPDATE in a running router; *read-only*, set by the router;
            *hidden*, never shown; *ignored*, accepted but without effect.


            """
        page += "## Configured types\n\n"
        for type in types where type.isConfigurable { page += section(type) }
        page += "## Types that report state\n\n"
        for type in types where !type.isConfigurable { page += section(type) }
        while page.hasSuffix("\n\n") { page.removeLast() }
        return page
    }

    /// What the page says of one type, for a terminal: two lines for each attribute, lines of about 80 columns.
    package static func helpText(_ type: EntityType) -> String {
        let operations = Operation.allCases.filter { type.operations.contains($0) }.map(\.rawValue)
        var text = "\(type.shortName): \(type.description)\n\n"
        text += type.isConfigurable ? "" : "Only reports state; no configuration may hold it.\n"
        text += type.isSingleton ? "There is exactly one.\n" : ""
        text += "Operations: \(operations.joined(separator: ", ")).\n"
        for attribute in type.attributes {
            let remarks = [
                kind(attribute, quote: ""),
                attribute.defaultValue.map { $0 == .string("") ? "default empty" : "default \($0)" } ?? "",
                notes(attribute),
            ].filter { !$0.isEmpty }
            text += "\n  \(attribute.name)  (\(remarks.joined(separator: "; ")))\n"
            text += wrapped(attribute.summary, indent: "      ", columns: 80)
        }
        return text
    }

    /// The names of all types, one a line, for who looks for one.
    package static func typeList() -> String {
        let names = types.map { "  \($0.shortName)\n" }
        return names.joined()
    }

    private static func wrapped(_ text: String, indent: String, columns: Int) -> String {
        var lines: [String] = []
        var line = indent
        for word in text.split(separator: " ") {
            if line.count + word.count + 1 > columns, line != indent {
                lines.append(line)
                line = indent
            }
            line += (line == indent ? "" : " ") + word
        }
        return (lines + [line]).map { $0 + "\n" }.joined()
    }

    private static func section(_ type: EntityType) -> String {
        let operations = Operation.allCases.filter { type.operations.contains($0) }.map(\.rawValue)
        var text = "### \(type.shortName)\n\n\(type.description)\n"
        text += (type.isSingleton ? "There is exactly one. " : "")
        text += "Operations: \(operations.joined(separator: ", ")).\n\n"
        guard !type.ownAttributes.isEmpty else { return text }
        text += "| attribute | type | default | notes | meaning |\n|---|---|---|---|---|\n"
        for attribute in type.ownAttributes {
            text += "| `\(attribute.name)` | \(kind(attribute)) | \(defaultText(attribute)) | \(notes(attribute)) | "
            text += attribute.summary.split(separator: "|").joined(separator: "\\|") + " |\n"
        }
        return text + "\n"
    }

    private static func kind(_ attribute: Attribute, quote: String = "`") -> String {
        if case .enumeration(let words) = attribute.kind {
            return words.map { quote + $0 + quote }.joined(separator: ", ")
        }
        guard let range = attribute.range else { return attribute.kind.word }
        return range.upperBound == Int64.max
            ? "integer ≥ \(range.lowerBound)" : "integer \(range.lowerBound)…\(range.upperBound)"
    }

    private static func defaultText(_ attribute: Attribute) -> String {
        guard let value = attribute.defaultValue else { return "" }
        return value == .string("") ? "empty" : "`\(value)`"
    }

    private static func notes(_ attribute: Attribute) -> String {
        let words: [(Attribute.Flags, String)] = [
            (.required, "required"), (.updatable, "updatable"), (.readOnly, "read-only"), (.hidden, "hidden"),
            (.ignored, "ignored"),
        ]
        return words.filter { attribute.flags.contains($0.0) }.map(\.1).joined(separator: ", ")
    }
}
