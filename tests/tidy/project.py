"""What the checks share: the files of the project, the ledger, comments taken out of C++."""
import functools
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LIBRARY_FOLDERS = ("scheduler", "shim", "interpose")


@functools.lru_cache(maxsize=None)
def files():
    """Paths relative to the root; without git everything but what was built."""
    done = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True)
    if done.returncode == 0:
        names = done.stdout.splitlines()
    else:
        names = [str(p.relative_to(ROOT)) for p in ROOT.rglob("*")
                 if p.relative_to(ROOT).parts[0] not in (".git", "build")]
    return sorted(name for name in set(names) if (ROOT / name).is_file())


@functools.lru_cache(maxsize=None)
def read(name):
    return (ROOT / name).read_text(encoding="utf-8", errors="replace")


def is_launcher(name):
    """The command is an ordinary program; the rules about the preloaded object do not bind it."""
    return name.startswith("interpose/launcher")


def library_sources(*suffixes):
    suffixes = suffixes or (".cc", ".h", ".S", ".def")
    return [name for name in files() if name.split("/")[0] in LIBRARY_FOLDERS and name.endswith(suffixes)]


CODE = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code_only(text, keep_strings=False):
    """Comments, and on request strings, become blanks; line numbers stay."""
    def blank(match):
        found = match[0]
        if found[0] in "\"'" and keep_strings:
            return found
        return re.sub(r"[^\n]", " ", found)
    return CODE.sub(blank, text)


ROW = re.compile(r"^(HOOK|PRIVATE_HOOK|ALIAS|INNER)\(\s*(\w+)", re.M)


def ledger():
    """{symbol: kind of row}"""
    return {symbol: kind for kind, symbol in ROW.findall(read("interpose/hooks.def"))}


def exported_rows():
    return {symbol for symbol, kind in ledger().items() if kind != "INNER"}
