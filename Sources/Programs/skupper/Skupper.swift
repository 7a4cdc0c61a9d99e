import Glibc

/// The command line of Skupper. Spec: control-plane §2.
@main
enum Skupper {
    static func main() {
        exit(Frame.run(Array(CommandLine.arguments.dropFirst())))
    }
}
