"""Checks that only read the sources."""
import ast
import re

from project import LIBRARY_FOLDERS, code_only, files, is_launcher, library_sources, read

# ---- include directions

LAYERS = [("scheduler/host/", 0), ("scheduler/base/", 1), ("scheduler/", 2), ("shim/", 3), ("interpose/", 4)]
# Upward includes that are meant: {file: (header, reason)}.
UPWARD = {}


def layer(name):
    return next((rank for prefix, rank in LAYERS if name.startswith(prefix)), None)


def includes_follow_the_layers():
    present = set(files())
    for name in library_sources():
        for line, text in enumerate(read(name).splitlines(), 1):
            found = re.match(r'\s*#\s*include\s*"([^"]+)"', text)
            if not found:
                continue
            header = found[1]
            if layer(header) is None or header not in present:
                yield f"{name}:{line}: {header} is no file of a layer (write its path from the root)"
            elif layer(header) > layer(name) and UPWARD.get(name, ("",))[0] != header:
                yield f"{name}:{line}: includes {header}, which is a layer above"
    for name in present:
        if name.startswith(("examples/", "tests/conformance/")) and name.endswith((".c", ".cc", ".h")):
            for header in re.findall(r'#\s*include\s*"([^"]+)"', read(name)):
                if layer(header) is not None:
                    yield f"{name}: includes {header}; a sample must be a plain pthread program"


# ---- machine knowledge stays in scheduler/host/

MACHINE = {
    "Boost": r"\bboost::|<boost/|\b(make|jump|ontop)_fcontext\b",
    "asm": r"\b(asm|__asm__)\b(?=\s*(volatile|__volatile__|goto)?\s*\()",
    "ucontext_t": r"\b(ucontext_t|mcontext_t|gregs)\b",
    "dlsym": r"\bdlv?sym\s*\(",
}
# Where else, and why.
MACHINE_ELSEWHERE = {
    ("dlsym", "interpose/pfiber.h"): "is the program's, which looks for the preloaded library",
    ("dlsym", "shim/self.cc"): "finds where libc keeps a thread's id, for threads that are no fibers",
    ("dlsym", "shim/thread.cc"): "finds libc's table of keys and its destructors of thread-locals",
}


def machine_knowledge_stays_in_host():
    used = set()
    for name in library_sources(".cc", ".h"):
        if name.startswith("scheduler/host/") or is_launcher(name):
            continue
        code = code_only(read(name), keep_strings=True)
        for subject, pattern in MACHINE.items():
            for found in re.finditer(pattern, code):
                if (subject, name) in MACHINE_ELSEWHERE:
                    used.add((subject, name))
                    continue
                yield f"{name}:{code.count(chr(10), 0, found.start()) + 1}: {subject} belongs into scheduler/host/"
    # Assembly files outside host/ are entries of the ledger's symbols: one per machine, named after it.
    for name in library_sources(".S"):
        if not name.startswith("scheduler/host/") and not re.search(r"_amd64\.S$|/exports\.S$", name):
            yield f"{name}: assembly outside scheduler/host/ is named after its machine (_amd64.S)"
    for subject, name in MACHINE_ELSEWHERE.keys() - used:
        if name in set(files()):
            yield f"tests/tidy/sources.py: {name} no longer needs its exception for {subject}"


# ---- what the library must not use

BANNED = {
    "a lock or thread of the C++ library": r"\bstd::(mutex|recursive_mutex|shared_mutex|thread|jthread|condition_variable"
                                           r"|once_flag|call_once|future|async|lock_guard|unique_lock)\b"
                                           r"|<(mutex|thread|condition_variable|future|shared_mutex)>",
    "iostreams": r"\bstd::(cout|cerr|clog|ostream|stringstream|ofstream)\b|<(iostream|fstream|sstream)>",
    "malloc": r"(?<![\w.:>])(::|std::)?(malloc|calloc|realloc|free|strdup|aligned_alloc|posix_memalign)\s*\(",
    "operator new": r"\bnew\s+(?!\()[A-Z:]\w*",
    "a container that allocates": r"\bstd::(string|vector|map|unordered_map|set|deque|list|function|shared_ptr|unique_ptr)\b",
}
# Where else, and why.
BANNED_ELSEWHERE = {
    ("malloc", "scheduler/host/identity.cc"): "frees TLS blocks that libc's loader allocated",
    ("malloc", "shim/thread.cc"): "frees blocks of keys that libc allocated",
}


def library_brings_no_other_runtime():
    for name in library_sources(".cc", ".h"):
        if is_launcher(name):
            continue
        code = code_only(read(name))
        for subject, pattern in BANNED.items():
            if (subject, name) in BANNED_ELSEWHERE:
                continue
            for found in re.finditer(pattern, code):
                line = code.count("\n", 0, found.start()) + 1
                yield f"{name}:{line}: {found[0].strip()}: the library does without {subject}"


# ---- variables


def variables_are_in_the_changelog():
    for name in re.findall(r'^PFIBER_OPTION\(\w+, \w+, "(\w+)"', read("scheduler/base/options.def"), re.M):
        if not re.search(rf"\b{name}\b", read("CHANGELOG.md")):
            yield f"{name}: CHANGELOG.md does not say who needs it"


# ---- words that do not belong into the tree

# In pieces, so that this file does not contain them.
PATHS = re.compile("|".join((r"(?<![\w.])/wo" + r"rk/", "/tmp/" + r"wt\b", r"(?<![\w.])/ho" + r"me/\w+", r"(?<![\w.])/ro" + r"ot/\w+")))
UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX")) + r")\b")
REGISTRIES = re.compile("|".join((
    "registry" + r"\.npmjs", "npm" + r"js\.(org|com)", "(files|test)" + r"\.python" + r"hosted", "py" + r"pi\.org",
    "crates" + r"\.io", "docker" + r"\.io", r"\b(ghcr|gcr|quay)" + r"\.io", "proxy" + r"\.golang", "deb" + r"\.debian\.org",
    "rubygems" + r"\.org")))


def no_stray_words():
    for name in files():
        for line, text in enumerate(read(name).splitlines(), 1):
            for pattern, what in ((PATHS, "a path of one machine"), (UNFINISHED, "unfinished work"),
                                  (REGISTRIES, "a package registry")):
                found = pattern.search(text)
                if found:
                    yield f"{name}:{line}: {found[0]}: {what}"


def python_parses():
    for name in files():
        text = read(name)
        if name.endswith(".py") or re.match(r"#!.*python", text):
            try:
                ast.parse(text)
            except SyntaxError as error:
                yield f"{name}:{error.lineno}: {error.msg}"


# ---- sizes: warnings only


def size_warnings():
    for name in files():
        text = read(name)
        lines = text.splitlines()
        is_test = name.startswith("tests/") or name.endswith(".py")
        limit = None
        if name.endswith(".def"):
            continue
        if is_test and name.endswith((".cc", ".c", ".py")):
            limit = 700
        elif name.endswith(".h"):
            limit = 250
        elif name.endswith((".cc", ".c")):
            limit = 500
        elif name.endswith(".S"):
            limit = 150
        elif name.endswith("README.md"):
            limit = 300 if "/" in name else 150
        if limit and len(lines) > limit:
            yield f"{name}: {len(lines)} lines, guide {limit}"
        if name.endswith((".cc", ".h")) and name.split("/")[0] in LIBRARY_FOLDERS:
            yield from function_warnings(name, lines)


def function_warnings(name, lines, guide=70):
    """Functions as clang-format leaves them: an opening brace ends a line, the closing one begins one."""
    start = None
    for number, text in enumerate(lines, 1):
        if text and not text[0].isspace() and text.endswith("{"):
            start = number if "(" in text and "namespace" not in text else None
        elif text == "}" and start:
            if number - start > guide:
                yield f"{name}:{start}: a function of {number - start} lines, guide {guide}"
            start = None
