import ControlIO
import SiteModel

/// How resources are printed for `-o json|yaml`: without empty and zero fields, keys sorted.
enum ResourceText {
    /// Prints resources one after another.
    static func show(_ resources: [Resource], as format: String) {
        for resource in resources { Console.print(render(resource, as: format)) }
    }

    /// The text without a final newline.
    private static func render(_ resource: Resource, as format: String) -> String {
        var text =
            format == "json"
            ? JSON.emit(resource.document.removingEmptyFields()) : resource.reducedYAML(withStatus: true)
        while text.last == "\n" { text.removeLast() }
        return text
    }
}
