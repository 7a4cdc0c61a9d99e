import Glibc

/// A folder whose files are served: reads only, nothing outside it ever, no listings.
///
/// Symbolic links are followed as long as they end inside the folder, as those of a Kubernetes ConfigMap do. The
/// folder is looked up for each request, so that it may be replaced as a whole.
package struct ServedFolder: Sendable {
    /// Octets of a path once decoded; what is longer is not there.
    private static let longestPath = 4096

    private let path: String

    package init(path: String) {
        self.path = path
    }

    /// Why nothing can be served from the folder at present; nil if it can.
    package var fault: String? {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return String(cString: strerror(errno)) }
        close(descriptor)
        return nil
    }

    /// The file that a GET or HEAD names, `index.html` for a folder; 403 and 404 say why there is none.
    package func answer(_ request: HTTPRequest) -> HTTPResponse {
        guard let names = ServedFolder.names(in: request.path) else {
            return .text("this path would lead out of the folder that is served\n", status: 403)
        }
        guard let root = ServedFolder.resolved(path) else { return ServedFolder.missing }
        guard let target = ServedFolder.resolved(([root] + names).joined(separator: "/")) else {
            return errno == EACCES ? ServedFolder.unreadable : ServedFolder.missing
        }
        let prefix = root == "/" ? root : root + "/"
        guard target == root || target.hasPrefix(prefix) else {
            return .text("this path leads out of the folder that is served\n", status: 403)
        }
        let inside = target == root ? "" : String(Substring(target.utf8.dropFirst(prefix.utf8.count)))
        return file(root, inside.split(separator: "/").map(String.init), request)
    }

    private static let missing = HTTPResponse.text("there is no such file here\n", status: 404)
    private static let unreadable = HTTPResponse.text("this router may not read the file\n", status: 403)

    /// - Parameter names: the way from the root to the target, which has no symbolic link and no dots any more.
    private func file(_ root: String, _ names: [String], _ request: HTTPRequest) -> HTTPResponse {
        guard var opened = OpenFile(path: root, flags: O_DIRECTORY) else { return ServedFolder.missing }
        for (index, name) in names.enumerated() {
            // A link that has come to be there since the path was resolved is not followed, a FIFO not waited for.
            let flags = O_NOFOLLOW | O_NONBLOCK | (index < names.count - 1 ? O_DIRECTORY : 0)
            guard let next = OpenFile(path: name, flags: flags, in: opened) else {
                return errno == EACCES ? ServedFolder.unreadable : ServedFolder.missing
            }
            opened = next
        }
        var shown = names.last ?? ""
        if opened.isFolder {
            guard request.path.utf8.last == UInt8(ascii: "/") else { return ServedFolder.withSlash(request.path) }
            shown = "index.html"
            guard let index = OpenFile(path: shown, flags: O_NOFOLLOW | O_NONBLOCK, in: opened) else {
                return .text("this folder has no index.html, and folders are not listed\n", status: 403)
            }
            opened = index
        }
        guard opened.isRegular else {
            return .text("this is no regular file; nothing else is served\n", status: 403)
        }
        return HTTPResponse(status: 200, headers: [("Content-Type", ServedFolder.contentType(of: shown))], file: opened)
    }

    /// Relative addresses in an index are meant from inside its folder. The place is given relative as well: a path
    /// that begins with two slashes would name another host.
    private static func withSlash(_ path: String) -> HTTPResponse {
        let last = path.split(separator: "/").last ?? ""
        var answer = HTTPResponse.text("this folder is at \(last)/\n", status: 301)
        answer.headers.append(("Location", "./\(last)/"))
        return answer
    }

    /// The parts of a path, decoded; nil if one of them would lead elsewhere than down.
    static func names(in path: String) -> [String]? {
        guard path.utf8.count <= longestPath else { return nil }
        var names: [String] = []
        for part in path.utf8.split(separator: UInt8(ascii: "/")) {
            guard let octets = decoded(part), let name = String(validating: octets, as: UTF8.self) else { return nil }
            guard name != "..", !octets.contains(UInt8(ascii: "/")), !octets.contains(0) else { return nil }
            if name != "." { names.append(name) }
        }
        return names
    }

    private static func decoded(_ text: Substring.UTF8View) -> [UInt8]? {
        var result: [UInt8] = []
        var rest = text.makeIterator()
        while let octet = rest.next() {
            guard octet == UInt8(ascii: "%") else {
                result.append(octet)
                continue
            }
            guard let high = rest.next().flatMap(digit), let low = rest.next().flatMap(digit) else { return nil }
            result.append(high << 4 | low)
        }
        return result
    }

    private static func digit(_ octet: UInt8) -> UInt8? {
        Character(UnicodeScalar(octet)).hexDigitValue.map { UInt8($0) }
    }

    /// Absolute and free of links; nil with `errno` if something on the way is not there.
    private static func resolved(_ path: String) -> String? {
        guard let result = realpath(path, nil) else { return nil }
        defer { free(result) }
        return String(cString: result)
    }

    static func contentType(of name: String) -> String {
        guard let dot = name.lastIndex(of: ".") else { return "application/octet-stream" }
        return types[name[name.index(after: dot)...].lowercased()] ?? "application/octet-stream"
    }

    private static let types = [
        "html": "text/html", "htm": "text/html", "css": "text/css", "js": "text/javascript", "mjs": "text/javascript",
        "json": "application/json", "map": "application/json", "txt": "text/plain", "md": "text/markdown",
        "csv": "text/csv", "xml": "application/xml", "svg": "image/svg+xml", "png": "image/png", "jpg": "image/jpeg",
        "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp", "ico": "image/x-icon", "woff": "font/woff",
        "woff2": "font/woff2", "ttf": "font/ttf", "otf": "font/otf", "wasm": "application/wasm",
        "pdf": "application/pdf", "gz": "application/gzip", "zip": "application/zip", "yaml": "application/yaml",
        "yml": "application/yaml",
    ]
}

/// A file or folder open for reading, closed with the last reference to it.
package final class OpenFile: Sendable {
    /// Octets when it was opened.
    let size: Int
    private let mode: mode_t
    private let descriptor: Int32

    /// Nil with `errno` if it cannot be opened.
    convenience init?(path: String, flags: Int32, in folder: OpenFile? = nil) {
        let descriptor = openat(folder?.descriptor ?? AT_FDCWD, path, O_RDONLY | O_CLOEXEC | flags)
        guard descriptor >= 0 else { return nil }
        self.init(descriptor: descriptor)
    }

    private init?(descriptor: Int32) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            let code = errno
            close(descriptor)
            errno = code
            return nil
        }
        self.descriptor = descriptor
        size = Int(status.st_size)
        mode = status.st_mode
    }

    deinit {
        close(descriptor)
    }

    var isFolder: Bool { mode & S_IFMT == S_IFDIR }
    var isRegular: Bool { mode & S_IFMT == S_IFREG }

    /// The octets from `offset` on, as many as there are room and file; none at its end or if it cannot be read.
    func read(from offset: Int, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        while true {
            let count = pread(descriptor, buffer.baseAddress, buffer.count, off_t(offset))
            if count >= 0 || errno != EINTR { return max(0, count) }
        }
    }
}
