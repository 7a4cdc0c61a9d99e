import Glibc

exit(RouterCommand.run(CommandLine.arguments))
