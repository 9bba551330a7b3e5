#!/bin/bash
# Compiles the samples and the load generator into build/examples; only what is older than its source.
# Run:    examples/build.sh [OUTPUT_DIRECTORY]
# Expect: a line per program that was compiled, nothing when all are up to date.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/../build/examples}
mkdir -p "$out"
out=$(cd "$out" && pwd)

# The samples know nothing of pfiber: this is the command line that any pthread program is built with.
compile() {
    local target=$out/$1 source sources=()
    shift
    for source in "$@"; do
        if [ "${source##*.}" = c ]; then sources+=("$source"); fi
    done
    for source in "$@"; do
        if [ "$here/$source" -nt "$target" ]; then
            printf '  CC    %s\n' "build/examples/${target##*/}" >&2
            # Through a name of its own, so that an interrupted compiler leaves no half program behind.
            (cd "$here" && ${CC:-cc} -O2 -Wall -Wextra -pthread -o "$target.new.$$" "${sources[@]}")
            mv -f "$target.new.$$" "$target"
            return
        fi
    done
}

for source in "$here"/*.c; do
    name=$(basename "$source" .c)
    case $name in
        load) compile load load.c load_protocols.c load.h ;;
        load_protocols) ;;
        *) compile "$name" "$name.c" ;;
    esac
done
