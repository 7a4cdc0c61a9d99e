// swift-tools-version: 6.0
import PackageDescription

// Targets stand in the order bytes travel; the helpers say what kind each is.
// Sources/README.md is the map, with the rules for who may import whom.

let swiftFlags: [SwiftSetting] = [
    // Exclusivity is proven by ownership (one loop per connection); the dynamic checks cost 10-20 % of the frame path.
    .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release))
]

func system(_ name: String, pkgConfig: String, apt: String) -> Target {
    .systemLibrary(name: name, path: "Sources/System/\(name)", pkgConfig: pkgConfig, providers: [.apt([apt])])
}

func module(_ name: String, in folder: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, path: "Sources/\(folder)/\(name)", swiftSettings: swiftFlags)
}

func program(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(
        name: name, dependencies: dependencies, path: "Sources/Programs/\(name)", swiftSettings: swiftFlags)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], fixtures: [String] = []) -> Target {
    .testTarget(name: name, dependencies: dependencies, path: "Tests/Unit/\(name)", exclude: fixtures)
}

let package = Package(
    name: "skupper",
    products: [
        .executable(name: "skupper-router", targets: ["skupper-router"]),
        .executable(name: "skupper-controller", targets: ["skupper-controller"]),
        .executable(name: "skupper", targets: ["skupper"]),
    ],
    targets: [
        // C libraries, one module map each
        system("CLibuv", pkgConfig: "libuv", apt: "libuv1-dev"),
        system("COpenSSL", pkgConfig: "openssl", apt: "libssl-dev"),
        system("CLibsasl", pkgConfig: "libsasl2", apt: "libsasl2-dev"),
        system("CLibnghttp2", pkgConfig: "libnghttp2", apt: "libnghttp2-dev"),
        system("CLibevent", pkgConfig: "libevent", apt: "libevent-dev"),
        system("CLibyaml", pkgConfig: "yaml-0.1", apt: "libyaml-dev"),
        system("CLibcurl", pkgConfig: "libcurl", apt: "libcurl4-openssl-dev"),
        system("CJansson", pkgConfig: "jansson", apt: "libjansson-dev"),
        module("Threading", in: "System"),
        // Data: the way of a byte
        module("AMQPCodec", in: "Data"),
        module("AMQPEndpoints", in: "Data", ["AMQPCodec"]),
        module("LinkStateRouting", in: "Data", ["AMQPCodec"]),
        module("HTTPServer", in: "Data", ["CLibevent", "COpenSSL", "Threading"]),
        module(
            "Router", in: "Data",
            [
                "AMQPCodec", "AMQPEndpoints", "LinkStateRouting", "RouterConfig", "HTTPServer", "CLibuv",
                "COpenSSL", "CLibsasl", "CLibnghttp2", "Threading",
            ]),
        // Contract: what control may say to data
        module("RouterConfig", in: "Contract", ["CJansson"]),
        // Control: resources to router configuration
        module("ControlIO", in: "Control", ["CLibyaml", "CLibcurl", "CJansson"]),
        module("SiteModel", in: "Control", ["ControlIO"]),
        module("SiteTrust", in: "Control", ["COpenSSL"]),
        module("SiteReconciler", in: "Control", ["SiteModel", "RouterConfig"]),
        module("KubernetesReconciler", in: "Control", ["ControlIO", "SiteModel", "SiteReconciler", "RouterConfig"]),
        module("ManagementClient", in: "Control", ["AMQPCodec", "COpenSSL"]),
        module(
            "LocalPlatform", in: "Control",
            [
                "SiteModel", "SiteTrust", "SiteReconciler", "ControlIO", "ManagementClient", "HTTPServer",
                "RouterConfig", "Threading",
            ]),
        module("KubernetesAPI", in: "Control", ["ControlIO", "SiteModel", "Threading", "CLibcurl"]),
        module(
            "KubernetesPlatform", in: "Control",
            [
                "KubernetesAPI", "KubernetesReconciler", "LocalPlatform", "SiteModel", "SiteTrust", "SiteReconciler",
                "ControlIO", "ManagementClient", "HTTPServer", "RouterConfig", "Threading",
            ]),
        // Programs: parse, assemble, run
        program("skupper-router", ["Router", "RouterConfig"]),
        program("skupper-controller", ["LocalPlatform", "KubernetesPlatform", "KubernetesAPI"]),
        program(
            "skupper", ["LocalPlatform", "SiteModel", "SiteTrust", "ControlIO", "KubernetesAPI", "Threading"]),
        // Tests
        .target(name: "TestKit", dependencies: ["AMQPCodec"], path: "Tests/Support/TestKit"),
        .executableTarget(
            name: "cluster-probe", dependencies: ["KubernetesAPI", "ControlIO", "Threading"],
            path: "Tests/Support/ClusterProbe"),
        tests("AMQPCodecTests", ["AMQPCodec", "TestKit"], fixtures: ["Fixtures"]),
        tests("AMQPEndpointsTests", ["AMQPEndpoints", "AMQPCodec", "TestKit"]),
        tests("LinkStateRoutingTests", ["LinkStateRouting", "AMQPCodec", "TestKit"]),
        tests("RouterTests", ["Router", "RouterConfig", "AMQPCodec", "Threading", "TestKit"]),
        tests("RouterConfigTests", ["RouterConfig", "TestKit"]),
        tests(
            "ControlTests",
            [
                "ControlIO", "SiteModel", "SiteTrust", "SiteReconciler", "RouterConfig", "LocalPlatform",
                "ManagementClient", "AMQPCodec", "HTTPServer", "TestKit",
            ]),
        tests(
            "KubernetesReconcilerTests",
            ["KubernetesReconciler", "SiteReconciler", "SiteModel", "ControlIO", "TestKit"]),
        tests("CommandLineTests", ["skupper", "ControlIO", "SiteModel", "TestKit"]),
        tests("KubernetesAPITests", ["KubernetesAPI", "ControlIO", "TestKit"]),
        tests("HTTPServerTests", ["HTTPServer", "TestKit"]),
    ],
    swiftLanguageModes: [.v6]
)
