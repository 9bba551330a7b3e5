"""Checks of interpose/hooks.def against tests/tidy/libc_symbols and the twins."""
import re

from project import code_only, files, ledger, read

ROWS = re.compile(r"^(HOOK|PRIVATE_HOOK|ALIAS|INNER)\(([^,]+),([^,]+),(.*)\)\s*$", re.M)
CLASSES = {"FIBER", "READY", "TIMER", "MAYBE", "BLOCKING", "TRACK"}
# Which classes of a row fit what the symbol asks for.
FIT = {
    "ready": {"READY", "MAYBE", "BLOCKING", "TRACK"},
    "timer": {"TIMER"},
    "sync": {"FIBER", "MAYBE", "TRACK", "BLOCKING"},
    "fiber": {"FIBER", "TRACK", "BLOCKING"},
    "handoff": CLASSES - {"TIMER"},
    "locked": {"TRACK", "BLOCKING"},
    "private": CLASSES,
}
# {(symbol, class): reason} of rows that say more than their section asks for.
UNFIT = {
    ("ioctl", "MAYBE"): "some requests wait for a device",
    ("syscall", "MAYBE"): "whatever its number asks for",
}

# No program calls them by name, and why every twin is one of theirs.
UNNAMED = {
    "__libc_start_main": "every program starts through it",
    "__lll_lock_wait_private": "a lock of a stream that another thread holds",
    "__lll_lock_wake_private": "the same",
}


def rows():
    return [(kind, symbol.strip(), second.strip(), rest) for kind, symbol, second, rest in
            ROWS.findall(read("interpose/hooks.def"))]


def wanted_symbols():
    """{symbol: section} of libc_symbols"""
    found, section = {}, None
    for line in read("tests/tidy/libc_symbols").splitlines():
        if line.startswith("["):
            section = line.strip("[] ")
        elif not line.startswith("#"):
            found.update(dict.fromkeys(line.split(), section))
    return found


def ledger_rows_are_in_order():
    found = rows()
    bodies = {symbol: kind for kind, symbol, _, _ in found}
    seen = set()
    for kind, symbol, second, rest in found:
        if symbol in seen:
            yield f"{symbol} has two rows"
        seen.add(symbol)
        if kind == "ALIAS":
            if bodies.get(second) not in ("HOOK", "PRIVATE_HOOK"):
                yield f"{symbol} is an alias of {second}, which has no row with a body"
        elif second not in CLASSES:
            yield f"{symbol}: {second} is no class"
        if kind != "INNER" and rest.split(",")[0].strip() not in ("R", "N"):
            yield f"{symbol}: the redirect column is R or N"
    lines = [line for line in read("interpose/hooks.def").splitlines() if re.match(r"[A-Z_]+\(", line)]
    if len(lines) != len(found):
        yield f"{len(lines) - len(found)} rows do not fit on one line of the form KIND(symbol, column, …)"


def every_symbol_of_libc_has_a_row():
    found = rows()
    served = {symbol: second for _, symbol, second, _ in found}
    for symbol, section in wanted_symbols().items():
        row = served.get(symbol)
        if row is None:
            yield f"{symbol} ({section}) has no row in interpose/hooks.def"
            continue
        row = served.get(row, row) if row not in CLASSES else row
        if row not in FIT[section] and (symbol, row) not in UNFIT:
            yield f"{symbol} is of the section {section}, its row says {row}"


def every_hook_occurs_in_a_twin():
    """A program calls it by name, in code; comments do not count.  An alias is a spelling of its own."""
    words = set()
    for name in files():
        if name.startswith("tests/conformance/") and name.endswith((".c", ".cc", ".inc")):
            words |= set(re.findall(r"\w+", code_only(read(name), keep_strings=True)))
    for symbol, kind in ledger().items():
        if kind != "INNER" and symbol not in words and symbol not in UNNAMED:
            yield f"{symbol} occurs in no twin of tests/conformance"


def every_skip_is_listed():
    """Each SKIP(reason) of a twin has its line in tests/skips, and each line its SKIP."""
    listed = set()
    for line in read("tests/skips").splitlines():
        if line and not line.startswith("#"):
            parts = [part.strip() for part in line.split("|")]
            if len(parts) != 4:
                yield f"tests/skips: '{line}' has not four columns"
            elif parts[0] == "conformance":
                listed.add((parts[1], parts[2]))
    found = set()
    for name in files():
        if name.startswith("tests/conformance/") and name.endswith((".c", ".cc")):
            test = name[len("tests/conformance/"):].rsplit(".", 1)[0]
            found |= {(test, reason) for reason in re.findall(r'\bSKIP\("([^"]*)"\)', read(name))}
    for test, reason in sorted(found - listed):
        yield f"{test} may be skipped ({reason}), but tests/skips does not list it"
    for test, reason in sorted(listed - found):
        yield f"tests/skips lists {test} ({reason}), which skips for no such reason"
