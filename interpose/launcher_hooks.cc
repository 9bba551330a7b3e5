// `pfiber --hooks`: the ledger as a table, one line for each libc symbol that pfiber serves; and
// the summary of it that stands in README.md.
//
// Only expands interpose/hooks.def; what the classes mean is told here once, for readers of either.
#include <stdio.h>
#include <string.h>

#include <string>

namespace pfiber {
namespace {

struct Row {
    const char* symbol;
    const char* served;  // the class; of an alias, the row that serves it
    const char* redirect;
    const char* note;
    bool is_alias;
};

const Row kRows[] = {
#define HOOK(symbol, class, redirect, note) {#symbol, #class, #redirect, note, false},
#define PRIVATE_HOOK(symbol, class, redirect, note) {#symbol, #class, #redirect, note, false},
#define ALIAS(symbol, target, redirect, note) {#symbol, #target, #redirect, note, true},
#define INNER(symbol, class, note) {#symbol, #class, "inside", note, false},
#include "interpose/hooks.def"
};

struct Class {
    const char* name;
    const char* meaning;
};

const Class kClasses[] = {
    {"FIBER", "served in user space"},
    {"READY", "tried, then the fiber is parked until a descriptor is ready"},
    {"TIMER", "the fiber is parked until a time"},
    {"MAYBE", "called; the processor is retaken if the call lasts"},
    {"BLOCKING", "the processor is handed off before the call"},
    {"TRACK", "never blocks; pfiber takes notes or translates"},
};

const Row* find_row(const char* symbol) {
    for (const Row& row : kRows) {
        if (!row.is_alias && strcmp(row.symbol, symbol) == 0) return &row;
    }
    return nullptr;
}

const char* class_of(const Row& row) {
    const Row* target = row.is_alias ? find_row(row.served) : &row;
    return target != nullptr ? target->served : "?";
}

bool is_redirected(const Row& row) { return strcmp(row.redirect, "R") == 0; }
// libc's own function serves it, by way of the rows that it calls.
bool is_inner(const Row& row) { return strcmp(row.redirect, "inside") == 0; }

void print_row(const Row& row) {
    std::string note = row.is_alias ? std::string("as ") + row.served : "";
    if (row.note[0] != '\0') note += (note.empty() ? "" : "; ") + std::string(row.note);
    printf("%-32s %-9s %-10s%s%s\n", row.symbol, class_of(row),
           is_inner(row)        ? "inside"
           : is_redirected(row) ? "yes"
                                : "no",
           note.empty() ? "" : " ", note.c_str());
}

}  // namespace

void print_hooks() {
    printf("%-32s %-9s %-10s %s\n", "symbol", "class", "redirected", "note");
    for (const Row& row : kRows) print_row(row);
    printf("\n");
    for (const Class& c : kClasses) printf("%-9s %s\n", c.name, c.meaning);
    printf(
        "redirected: yes: calls from inside libc arrive here too; inside: libc's own function, "
        "whose\n");
    printf("            calls arrive at the rows marked yes, or which waits for nothing\n");
}

void print_hooks_markdown() {
    printf(
        "| class | what happens to the calling thread | hooked | redirected | inside |\n"
        "|---|---|---|---|---|\n");
    int total[3] = {};
    for (const Class& c : kClasses) {
        int count[3] = {};
        for (const Row& row : kRows) {
            if (strcmp(class_of(row), c.name) != 0) continue;
            count[0] += is_inner(row) ? 0 : 1;
            count[1] += is_redirected(row) ? 1 : 0;
            count[2] += is_inner(row) ? 1 : 0;
        }
        printf("| %s | %s | %d | %d | %d |\n", c.name, c.meaning, count[0], count[1], count[2]);
        for (int i = 0; i < 3; i++) total[i] += count[i];
    }
    printf("| all | | %d | %d | %d |\n", total[0], total[1], total[2]);
}

}  // namespace pfiber
