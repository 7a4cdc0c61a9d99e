/// The API server of the cluster that a kubeconfig chooses.
enum ClusterConnection {
    static func open(_ selection: ClusterSelection) throws(ClusterFault) -> any ClusterAPI {
        throw .withoutAnswer(
            "The selected platform is kubernetes (the default), but this build supports platform linux only: "
                + "nothing was done. To work with a site on this host, use --platform linux or set "
                + "SKUPPER_PLATFORM=linux; resource files for a cluster can be made with the generate commands.",
            isTemporary: false)
    }
}
