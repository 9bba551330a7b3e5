"""The generated tables of README.md, between markers:

    <!-- pfiber --options-markdown -->
    …
    <!-- end -->
"""
import re
import subprocess

from project import ROOT

README = ROOT / "README.md"
LAUNCHER = ROOT / "build" / "pfiber"
TABLES = ("--options-markdown", "--hooks-markdown")


def marked(option):
    return re.compile(rf"(<!-- pfiber {option} -->\n)(.*?)(<!-- end -->)", re.S)


def generated(option):
    return subprocess.run([str(LAUNCHER), option], check=True, stdout=subprocess.PIPE, text=True).stdout


def readme_tables_are_in_step():
    if not README.exists():
        yield "README.md does not exist"
        return
    text = README.read_text()
    for option in TABLES:
        found = marked(option).search(text)
        if not found:
            yield f"README.md lacks the marker <!-- pfiber {option} --> … <!-- end -->"
        elif found[2] != generated(option):
            yield f"README.md: the table of {option} is out of date; make docs writes it"


def write():
    text = README.read_text()
    for option in TABLES:
        table = generated(option)
        text = marked(option).sub(lambda found: found[1] + table + found[3], text)
    README.write_text(text)
