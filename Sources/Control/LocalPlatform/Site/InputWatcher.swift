import Glibc

/// Wakes the controller when something in the input folders changes. Misses are harmless: the controller also
/// looks by itself once a second.
package final class InputWatcher {
    /// For `poll`; -1 if the system has no watches left.
    package let descriptor: Int32

    /// Watches the folders of a namespace's input.
    package init(_ layout: NamespaceLayout) {
        descriptor = inotify_init1(Int32(IN_NONBLOCK) | Int32(IN_CLOEXEC))
        guard descriptor >= 0 else { return }
        let events = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE
        for folder in [layout.inputResources, layout.inputCertificates, layout.inputIssuers, layout.inputProxies] {
            _ = inotify_add_watch(descriptor, folder, UInt32(events))
        }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Takes what has been reported; the controller looks at the files themselves.
    package func drain() {
        guard descriptor >= 0 else { return }
        var buffer = [UInt8](repeating: 0, count: 4096)
        while read(descriptor, &buffer, buffer.count) > 0 {}
    }
}
