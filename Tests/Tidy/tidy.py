"""The rules of CONTRIBUTING.md that a program can check. Prints each breach; writes "passed failed skipped".

    tidy.py COUNTS
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINES_IN_A_FILE = 600
COLUMNS = 120
# Modules that must give the same answer for the same arguments wherever and whenever they run.
PURE = {"AMQPCodec", "AMQPEndpoints", "LinkStateRouting", "RouterConfig", "SiteModel", "SiteReconciler"}
# A pure module's one file that reads from disk.
LOADERS = re.compile(r"Sources/Contract/RouterConfig/[A-Za-z]*(File|Loader)[A-Za-z]*\.swift$")
SYSTEM_MODULES = {"Glibc", "Foundation", "Dispatch", "CLibuv", "COpenSSL", "CLibevent", "CLibcurl", "Synchronization"}
BANNED_NAMES = re.compile(r"(^|/)(Utils?|Helpers?|Common|Misc)([./]|$)")
# Written in two halves so that this file does not find itself.
UNFINISHED = re.compile("FIX" + "ME|TO" + "DO|XX" + "X")
# The temporary folder and the folders of one particular machine.
MACHINE_PATHS = re.compile(r"(?<![\w.$}])/(work|farm|tmp)/[a-z]")


def tracked(*patterns):
    out = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns], cwd=ROOT,
                         capture_output=True, text=True, check=True).stdout
    return [pathlib.Path(name) for name in out.split("\0") if name and (ROOT / name).is_file()]


def text_of(path):
    try:
        return (ROOT / path).read_text()
    except (UnicodeDecodeError, FileNotFoundError):
        return ""


def imports_of(path):
    return re.findall(r"^\s*(?:@\w+(?:\(\w+\))?\s+)*(?:package |private |internal )?import\s+(?:\w+\s+)?(\w+)",
                      text_of(path), re.MULTILINE)


def check_no_foundation():
    for path in tracked("Sources/*.swift"):
        for name in imports_of(path):
            if name.startswith("Foundation") or name == "Dispatch":
                yield f"{path}: imports {name}; programs must stay small, see docs/decisions/0003"


def check_pure_modules():
    for path in tracked("Sources/*.swift"):
        module = path.parts[2] if len(path.parts) > 3 else ""
        if module not in PURE or LOADERS.search(str(path)):
            continue
        for name in set(imports_of(path)) & SYSTEM_MODULES:
            yield f"{path}: the pure module {module} imports {name}"
        for match in re.finditer(r"\b(\w+\.random\(|SystemRandomNumberGenerator|ContinuousClock|SuspendingClock)",
                                 text_of(path)):
            yield f"{path}: the pure module {module} uses {match.group(1)}"


def check_sizes():
    for path in tracked("*.swift", "*.py", "*.sh", "*.c"):
        lines = text_of(path).splitlines()
        if len(lines) > LINES_IN_A_FILE:
            yield f"{path}: {len(lines)} lines; at most {LINES_IN_A_FILE}"
        for number, line in enumerate(lines, 1):
            if len(line) > COLUMNS:
                yield f"{path}:{number}: {len(line)} columns; at most {COLUMNS}"


def check_unfinished():
    for path in tracked("*.swift", "*.py", "*.sh", "*.c", "*.md", "*.h"):
        for number, line in enumerate(text_of(path).splitlines(), 1):
            if UNFINISHED.search(line):
                yield f"{path}:{number}: unfinished: {line.strip()}"


def check_machine_paths():
    for path in tracked("*.swift", "*.py", "*.sh", "*.c", "*.md", "*.h", ".ci/*", "*.yaml", "*.service"):
        for number, line in enumerate(text_of(path).splitlines(), 1):
            if MACHINE_PATHS.search(line):
                yield f"{path}:{number}: a path of one machine: {line.strip()}"


def check_names():
    for path in tracked("Sources/*", "Tests/*", "perf/*", "deploy/*"):
        if BANNED_NAMES.search(str(path)):
            yield f"{path}: the name says nothing about what is in it"


def check_no_public():
    for path in tracked("Sources/*.swift"):
        for number, line in enumerate(text_of(path).splitlines(), 1):
            if re.match(r"\s*(public|open)\s+\w", line):
                yield f"{path}:{number}: access between our modules is package, not public"


def package_modules():
    """{module: set of our own modules it depends on}, from Package.swift."""
    text = text_of("Package.swift")
    found = {}
    for match in re.finditer(
            r"\b(module|program)\(\s*\"([\w-]+)\"\s*,(?:\s*in:\s*\"\w+\"\s*,?)?\s*(\[[^\]]*\])?", text):
        found[match.group(2)] = set(re.findall(r"\"([\w-]+)\"", match.group(3) or ""))
    for match in re.finditer(r"\bsystem\(\s*\"(\w+)\"", text):
        found[match.group(1)] = set()
    return found


def check_map():
    """Each target stands in the table of Sources/README.md with exactly its dependencies."""
    rows = {}
    for line in text_of("Sources/README.md").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and len(cells) >= 4 and re.fullmatch(r"`[\w-]+`", cells[0]):
            rows[cells[0].strip("`")] = set(re.findall(r"`([\w-]+)`", cells[3]))
    modules = package_modules()
    for name, dependencies in modules.items():
        if name not in rows:
            yield f"Sources/README.md: no row for the target {name} of Package.swift"
        elif rows[name] != dependencies:
            yield (f"Sources/README.md: {name} imports {sorted(rows[name])} there and "
                   f"{sorted(dependencies)} in Package.swift")
    for name in rows.keys() - modules.keys():
        yield f"Sources/README.md: a row for {name}, which is no target of Package.swift"


def check_control_and_data_apart():
    """Data never imports Control, and Control nothing of Data beyond the AMQP codec and the HTTP server."""
    folders = {path.parts[2]: path.parts[1] for path in tracked("Sources/*.swift") if len(path.parts) > 3}
    for module, dependencies in package_modules().items():
        for dependency in dependencies:
            arrow = (folders.get(module), folders.get(dependency))
            if arrow[0] in ("Data", "Contract") and arrow[1] == "Control":
                yield f"Package.swift: {module} ({arrow[0]}) depends on {dependency} (Control)"
            if arrow == ("Control", "Data") and dependency not in ("AMQPCodec", "AMQPEndpoints", "HTTPServer"):
                yield f"Package.swift: {module} (Control) depends on {dependency} (Data)"


def configured_attributes():
    """(type, attribute, notes, meaning) of docs/router-configuration.md, which a unit test holds to the schema."""
    page = text_of("docs/router-configuration.md")
    page = page.partition("## Configured types")[2].partition("## Types that report state")[0]
    for section in page.split("\n### ")[1:]:
        heading, _, text = section.partition("\n")
        description = text.strip().partition("\n")[0]
        for name, _, _, notes, meaning in re.findall(
                r"^\| `(\w+)` \| ([^|]*) \| ([^|]*) \| ([^|]*) \| (.*) \|$", text, re.MULTILINE):
            yield heading, name, notes, f"{description} {meaning}"


def check_attributes_have_an_effect():
    """What can be configured is read somewhere, or the reference page says that nothing comes of it.

    By name only: that an attribute of one type has an effect hides that it has none in another type.
    """
    contract = "Sources/Contract/RouterConfig"
    sources = "".join(text_of(path) for path in tracked(
        "Sources/Data/Router/*.swift", "Sources/Programs/skupper-router/*", f"{contract}/*File.swift"))
    # Before this, that file names attributes which have no effect.
    sources += text_of(f"{contract}/EffectOfAttributes.swift").partition("var speaksHTTP")[2]
    seen = 0
    for kind, name, notes, meaning in configured_attributes():
        seen += 1
        if re.search("read-only|ignored", notes) or re.search("reported only|without effect", meaning):
            continue
        # A name with a colon behind it is the key of a reply.
        if not re.search(rf"\"{name}\"(?!\s*:)", sources):
            yield (f"docs/router-configuration.md: {kind}.{name} is documented and nothing reads it; give it an "
                   "effect, or flag it as ignored in the schema")
    if seen < 100:
        yield f"docs/router-configuration.md: only {seen} attributes were found; the check no longer fits the page"


def check_manifests_of_parts():
    """The installation manifests for Kubernetes are made of the parts beside them."""
    out = subprocess.run(["bash", str(ROOT / "deploy/kubernetes/render.sh"), "--check"], capture_output=True, text=True)
    if out.returncode != 0:
        yield "\n".join((out.stderr.strip() or f"render.sh ended with status {out.returncode}").splitlines()[-5:])


CHECKS = [check_no_foundation, check_pure_modules, check_sizes, check_unfinished, check_machine_paths, check_names,
          check_no_public, check_map, check_control_and_data_apart, check_attributes_have_an_effect,
          check_manifests_of_parts]


def main():
    passed = failed = 0
    for check in CHECKS:
        breaches = list(check())
        for breach in breaches:
            print(breach)
        print(f"{'ok  ' if not breaches else 'FAIL'} {check.__name__}")
        passed, failed = (passed + 1, failed) if not breaches else (passed, failed + 1)
    pathlib.Path(sys.argv[1]).write_text(f"{passed} {failed} 0\n")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
