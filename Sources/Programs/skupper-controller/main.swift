import Glibc

exit(ControllerCommand.run(Array(CommandLine.arguments.dropFirst())))
