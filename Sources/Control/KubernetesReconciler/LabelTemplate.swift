import ControlIO
import SiteModel

/// A ConfigMap whose labels and annotations generated objects get as well (sheet §4.2): in a site's namespace for the
/// objects there, in the controller's for those of all sites.
struct LabelTemplate: Hashable {
    /// The label by which such a ConfigMap is known.
    static let mark = "skupper.io/label-template"

    /// What is added.
    let labels: [String: String]
    let annotations: [String: String]
    private let name: String?
    private let kind: String?
    private let selector: PodSelector?
    /// Why the template is not used, nil if it is.
    let fault: String?

    init(_ map: Resource) {
        func data(_ key: String) -> String? {
            map.document.value(at: ["data", key])?.scalarText.flatMap { $0.isEmpty ? nil : $0 }
        }
        let excluded = Set(
            (data("exclude") ?? "").split(separator: ",").map { $0.filter { !$0.isWhitespace } })
        func kept(_ texts: [String: String]) -> [String: String] {
            texts.filter { key, _ in
                key != LabelTemplate.mark && key != "kubectl.kubernetes.io/last-applied-configuration"
                    && !key.hasPrefix("internal.skupper.io/") && !excluded.contains(key)
            }
        }
        labels = kept(map.labels)
        var texts: [String: String] = [:]
        for (key, value) in map.document.value(at: ["metadata", "annotations"])?.mapValue?.entries ?? [] {
            texts[key] = value.scalarText
        }
        annotations = kept(texts)
        name = data("name")
        kind = data("kind")
        let text = data("labelSelector")
        selector = text.flatMap { PodSelector($0) }
        fault =
            text != nil && selector == nil
            ? "label template \(map.namespace)/\(map.name): labelSelector \"\(text ?? "")\" cannot be read" : nil
    }

    /// Whether an object with these labels of its own is meant.
    func matches(kind: String, name: String, labels: [String: String]) -> Bool {
        guard fault == nil else { return false }
        if let wanted = self.name, wanted != name { return false }
        if let wanted = self.kind, wanted.lowercased() != kind.lowercased() { return false }
        return selector?.matches(labels) ?? true
    }
}

/// Requests and limits of the two containers of a router pod, from the ConfigMap that a site's size names.
struct RouterSizing: Hashable {
    /// The label whose value is the name of a size, and the annotation of the size for sites that name none.
    static let mark = "skupper.io/site-sizing"
    static let standard = "skupper.io/default-site-sizing"

    /// `resources` of the containers; nil for none.
    private(set) var router: Document?
    private(set) var adaptor: Document?
    /// What could not be used.
    private(set) var faults: [String] = []

    /// The sizing of a site among the ConfigMaps of the controller's namespace.
    init(_ maps: [Resource], size: String) {
        let sizes = maps.filter { $0.label(RouterSizing.mark) != nil }.sorted { $0.name < $1.name }
        let named = size.isEmpty ? nil : sizes.first { $0.label(RouterSizing.mark) == size }
        if !size.isEmpty, named == nil {
            faults.append(
                "size \(size): no ConfigMap with label \(RouterSizing.mark)=\(size) in the controller's namespace")
        }
        guard let map = named ?? sizes.first(where: { $0.annotation(RouterSizing.standard) != nil }) else { return }
        for (key, value) in map.document["data"]?.mapValue?.entries ?? [] {
            let parts = key.split(separator: "-").map(String.init)
            guard parts.count == 3, ["router", "adaptor"].contains(parts[0]), ["cpu", "memory"].contains(parts[1]),
                ["request", "limit"].contains(parts[2])
            else {
                faults.append("\(map.name): key \(key) is not known")
                continue
            }
            guard let text = value.scalarText, RouterSizing.quantity(text) != nil else {
                faults.append("\(map.name): \(key) is no quantity")
                continue
            }
            let path = [parts[2] + "s", parts[1]]
            if parts[0] == "router" {
                router = router ?? .emptyMap
                router?.set(.string(text), at: path)
            } else {
                adaptor = adaptor ?? .emptyMap
                adaptor?.set(.string(text), at: path)
            }
        }
    }

    /// A positive quantity as Kubernetes writes it, in thousandths of a billionth; nil if it is none.
    static func quantity(_ text: String) -> Double? {
        let digits = text.prefix { $0.isASCII && $0.isNumber || $0 == "." }
        let suffix = String(text.dropFirst(digits.count))
        guard let number = Double(digits) else { return nil }
        let units: [String: Double] = [
            "n": 1e3, "u": 1e6, "m": 1e9, "": 1e12, "k": 1e15, "M": 1e18, "G": 1e21, "T": 1e24, "P": 1e27, "E": 1e30,
        ]
        if let unit = units[suffix] { return number * unit }
        if let index = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].firstIndex(of: suffix) {
            return (0...index).reduce(number * 1e12) { value, _ in value * 1024 }
        }
        guard let mark = suffix.first, mark == "e" || mark == "E", let exponent = Int(suffix.dropFirst()),
            abs(exponent) <= 18
        else { return nil }
        return (0..<abs(exponent)).reduce(number * 1e12) { value, _ in exponent > 0 ? value * 10 : value / 10 }
    }
}
