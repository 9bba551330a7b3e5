"""Checks of what was built: build/release/**.o and build/libpfiber.so."""
import functools
import re
import subprocess

from project import ROOT, exported_rows, is_launcher, read

LIBRARY = ROOT / "build" / "libpfiber.so"
OBJECTS = ROOT / "build" / "release"
NEEDED = {"libc.so.6", "ld-linux-x86-64.so.2"}
# References to our own hooks that are meant: {(object's source, symbol): reason}.
OWN_HOOKS = {}
# Archives that are linked in were not written with our ledger in mind: {symbol: reason}.
ARCHIVES = {}
ALLOCATION = {"malloc", "calloc", "realloc", "free", "posix_memalign", "aligned_alloc", "_Znwm", "_Znam", "_ZdlPv",
              "_ZdaPv", "_ZdlPvm"}
ALLOCATES = {
    ("scheduler/host/identity.cc", "free"): "TLS blocks that libc's loader allocated",
    ("scheduler/host/malloc_cache.cc", "free"): "what malloc kept for a thread that has ended",
    ("scheduler/host/malloc_cache.cc", "malloc"): "the probe thread finds out where that lies",
    ("shim/thread.cc", "free"): "blocks of keys that libc allocated",
}


def output(*command):
    return subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True).stdout


def api_names():
    """Names of pfiber.h, where it exists."""
    headers = [path for path in ("pfiber.h", "interpose/pfiber.h", "shim/pfiber.h") if (ROOT / path).exists()]
    return {name for header in headers for name in re.findall(r"\b(pfiber_\w+),?\s*\(", read(header))}


@functools.lru_cache(maxsize=None)
def undefined_by_source():
    """[(source, undefined symbols)] of the library's objects that still have their source."""
    found = {}
    paths = [path for path in sorted(OBJECTS.rglob("*.o"))]
    for line in output("nm", "-A", "-u", *paths).splitlines():
        path, _, name = line.partition(":")
        found.setdefault(path, set()).add(name.split()[-1].split("@")[0])
    sources = {str(path): str(path.relative_to(OBJECTS))[:-2] for path in paths}
    return [(sources[path], names) for path, names in found.items()
            if not is_launcher(sources[path]) and (ROOT / sources[path]).exists()]


def no_object_calls_a_hook():
    hooks = exported_rows()
    unused = set(OWN_HOOKS)
    for source, names in undefined_by_source():
        for name in sorted(names & hooks):
            if (source, name) in OWN_HOOKS:
                unused.discard((source, name))
            else:
                yield f"{source} refers to {name}, which is our own hook; use real() or the raw call"
    for source, name in unused:
        yield f"tests/tidy/objects.py: {source} no longer needs its exception for {name}"


def no_object_allocates():
    for source, names in undefined_by_source():
        for name in sorted(names & ALLOCATION):
            if (source, name) not in ALLOCATES:
                yield f"{source} refers to {name}: the program's allocator may be in the middle of a call"


def no_archive_calls_a_hook():
    """Relocations of the whole library: what libstdc++ and libgcc brought in counts too."""
    hooks = exported_rows()
    used = set()
    for line in output("readelf", "-rW", LIBRARY).splitlines():
        found = re.search(r"R_X86_64_(?:JUMP_SLO\w*|GLOB_DAT|64)\s+[0-9a-f]*\s+([\w.]+)", line)
        name = found[1] if found else ""
        if name in hooks and name not in used:
            used.add(name)
            if name not in ARCHIVES:
                yield f"something linked into libpfiber.so calls {name} through its own export"
    for name in ARCHIVES.keys() - used:
        yield f"tests/tidy/objects.py: nothing linked in calls {name} any more; drop its exception"


def exports_equal_the_ledger():
    exported = {line.split()[0].split("@")[0] for line in output("nm", "-D", "--defined-only", "-f", "posix", LIBRARY).splitlines()}
    wanted = exported_rows() | api_names()
    for name in sorted(wanted - exported):
        yield f"{name} has a row but is not exported"
    for name in sorted(exported - wanted):
        yield f"{name} is exported without a row"


def needs_only_libc():
    dynamic = output("readelf", "-dW", LIBRARY)
    for name in sorted(set(re.findall(r"NEEDED.*\[(.*)\]", dynamic)) - NEEDED):
        yield f"NEEDED {name}: only libc and its loader may be"
    if "TEXTREL" in dynamic:
        yield "TEXTREL: the text would be writable while it is relocated"
    if "RPATH" in dynamic or "RUNPATH" in dynamic:
        yield "a run path is set"
    if not re.search(r"FLAGS_1.*NODELETE", dynamic):
        yield "not linked with -z nodelete: fibers outlive a dlclose"
    stack = re.search(r"GNU_STACK.*\n?.*?\b(RWE|RW)\b", output("readelf", "-lW", LIBRARY))
    if stack and stack[1] == "RWE":
        yield "the stack would be executable (an assembly file lacks its .note.GNU-stack)"


def thread_locals_are_initial_exec():
    """A block that is found through __tls_get_addr would be allocated by malloc at its first use."""
    for source, names in undefined_by_source():
        if "__tls_get_addr" in names:
            yield f"{source} calls __tls_get_addr: build it with -ftls-model=initial-exec"
