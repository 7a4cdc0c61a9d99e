import Glibc

/// The command line of Skupper. Spec: control-plane §2.
@main
enum Skupper {
    static func main() {
        let code = Frame.run(
            Array(CommandLine.arguments.dropFirst()), platformVariable: Console.environment("SKUPPER_PLATFORM"),
            connect: ClusterConnection.open)
        exit(code)
    }
}
