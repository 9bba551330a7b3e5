// The parser of the environment and the texts made from options.def; options.h has the contract.
//
// One table of rows drives all of it, so that a new row needs no code.  Text values are copied,
// since programs that set their process title write over the environment.  Rejected: getenv in each
// user (a value could change half-way, nobody could list what exists) and silence about misspelt
// names.
#include "scheduler/base/options.h"

#include <string.h>

#include "scheduler/host/report.h"

namespace pfiber {

namespace detail {
Options g_options;
}

namespace {

using host::Line;

enum class Kind {
    Int,
    IntOrZero,
    Signal,
    Seed,
    Bool,
    Text,
#define PFIBER_CHOICES(type, list) type,
#include "scheduler/base/options.def"
#undef PFIBER_CHOICES
};
constexpr int kChoiceFirst = static_cast<int>(Kind::Text) + 1;

// The words of each choice, ended by nullptr.
#define CHOICE(enumerator, text) text,
#define PFIBER_CHOICES(type, list) constexpr const char* k##type##Words[] = {list nullptr};
#include "scheduler/base/options.def"
#undef PFIBER_CHOICES
#undef CHOICE
constexpr const char* const* kChoiceWords[] = {
#define PFIBER_CHOICES(type, list) k##type##Words,
#include "scheduler/base/options.def"
#undef PFIBER_CHOICES
};
#define PFIBER_CHOICES(type, list) static_assert(sizeof(type) == sizeof(int), "stored as an int");
#include "scheduler/base/options.def"
#undef PFIBER_CHOICES

struct Row {
    Kind kind;
    const char* variable;
    size_t offset;  // of the member in Options
    int64_t minimum;
    int64_t maximum;
    const char* unit;
    const char* help;
};

constexpr Row kRows[] = {
#define PFIBER_OPTION(kind, member, variable, value, minimum, maximum, unit, help) \
    {Kind::kind, variable, offsetof(Options, member), minimum, maximum, unit, help},
#include "scheduler/base/options.def"
#undef PFIBER_OPTION
};
constexpr size_t kRowCount = sizeof kRows / sizeof kRows[0];

constexpr char kPrefix[] = "PFIBER_";
constexpr size_t kPrefixSize = sizeof kPrefix - 1;
constexpr size_t kTextSizeMax = 4096;  // all Text values together

constexpr Options kDefaults;
bool g_is_from_environment[kRowCount];
char g_text[kTextSizeMax];
size_t g_text_size;

template <typename T>
T& member_of(Options& target, const Row& row) {
    return *reinterpret_cast<T*>(reinterpret_cast<char*>(&target) + row.offset);
}
template <typename T>
const T& member_of(const Options& source, const Row& row) {
    return *reinterpret_cast<const T*>(reinterpret_cast<const char*>(&source) + row.offset);
}

bool is_choice(const Row& row) { return static_cast<int>(row.kind) >= kChoiceFirst; }
const char* const* choice_words(const Row& row) {
    return kChoiceWords[static_cast<int>(row.kind) - kChoiceFirst];
}

// Whether the default is "let pfiber decide".
bool is_automatic(const Row& row, int64_t value) {
    return row.kind == Kind::Int && (value < row.minimum || value > row.maximum);
}

// ---- reading a value ----

// Decimal digits only: no sign, blank, exponent or base.
bool parse_digits(const char* text, uint64_t* out) {
    uint64_t value = 0;
    if (*text == '\0') return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') return false;
        uint64_t digit = static_cast<uint64_t>(*text - '0');
        if (value > (UINT64_MAX - digit) / 10) return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

// SIGKILL and SIGSTOP cannot be caught, libc keeps 32 and 33, and a fault must stay a fault.
bool is_usable_signal(uint64_t number) {
    constexpr uint64_t kUnusable = 1ull << 4 | 1ull << 5 | 1ull << 6 | 1ull << 7 | 1ull << 8 |
                                   1ull << 9 | 1ull << 11 | 1ull << 19 | 1ull << 31 | 1ull << 32 |
                                   1ull << 33;
    return number >= 64 || (kUnusable >> number & 1) == 0;
}

bool parse_bool(const char* text, bool* out) {
    static constexpr const char* kNo[] = {"0", "no", "off", "false"};
    static constexpr const char* kYes[] = {"1", "yes", "on", "true"};
    for (const char* word : kNo) {
        if (strcmp(text, word) == 0) return *out = false, true;
    }
    for (const char* word : kYes) {
        if (strcmp(text, word) == 0) return *out = true, true;
    }
    return false;
}

bool parse_choice(const Row& row, const char* text, int* out) {
    const char* const* words = choice_words(row);
    for (int i = 0; words[i] != nullptr; i++) {
        if (strcmp(text, words[i]) == 0) return *out = i, true;
    }
    return false;
}

bool parse_integer(const Row& row, const char* text, int64_t* out) {
    uint64_t number = 0;
    if (!parse_digits(text, &number)) return false;
    bool is_in_range = number >= static_cast<uint64_t>(row.minimum) &&
                       number <= static_cast<uint64_t>(row.maximum);
    if (row.kind == Kind::IntOrZero && number == 0) is_in_range = true;
    if (row.kind == Kind::Signal && !is_usable_signal(number)) is_in_range = false;
    if (is_in_range) *out = static_cast<int64_t>(number);
    return is_in_range;
}

bool parse_text(const char* text, const char** out) {
    size_t size = strlen(text) + 1;
    if (size > kTextSizeMax - g_text_size) return false;
    *out = static_cast<const char*>(memcpy(g_text + g_text_size, text, size));
    g_text_size += size;
    return true;
}

// Stores the value if it is a legal one.
bool parse_value(const Row& row, const char* text, Options* out) {
    if (is_choice(row)) return parse_choice(row, text, &member_of<int>(*out, row));
    switch (row.kind) {
        case Kind::Bool:
            return parse_bool(text, &member_of<bool>(*out, row));
        case Kind::Seed:
            return parse_digits(text, &member_of<uint64_t>(*out, row));
        case Kind::Text:
            return parse_text(text, &member_of<const char*>(*out, row));
        default:
            return parse_integer(row, text, &member_of<int64_t>(*out, row));
    }
}

// ---- printing rows ----

void add_value(Line& line, const Row& row, const Options& source) {
    if (is_choice(row)) {
        line.add("%s", choice_words(row)[member_of<int>(source, row)]);
    } else if (row.kind == Kind::Bool) {
        line.add("%d", member_of<bool>(source, row) ? 1 : 0);
    } else if (row.kind == Kind::Seed) {
        line.add("%llu", static_cast<unsigned long long>(member_of<uint64_t>(source, row)));
    } else if (row.kind == Kind::Text) {
        const char* text = member_of<const char*>(source, row);
        line.add("%s", *text != '\0' ? text : "none");
    } else {
        int64_t value = member_of<int64_t>(source, row);
        if (is_automatic(row, value)) {
            line.add("automatic");
        } else {
            line.add("%lld", static_cast<long long>(value));
        }
    }
}

// "1..1000 ms", "auto|timer|tgkill|off".
void add_range(Line& line, const Row& row) {
    if (is_choice(row)) {
        const char* separator = "";
        for (const char* const* word = choice_words(row); *word != nullptr; word++) {
            line.add("%s%s", separator, *word);
            separator = "|";
        }
    } else if (row.kind == Kind::Bool) {
        line.add("0|1");
    } else if (row.kind == Kind::Seed) {
        line.add("0..%llu", static_cast<unsigned long long>(UINT64_MAX));
    } else if (row.kind == Kind::Text) {
        line.add("%s of at most %zu bytes", row.unit, kTextSizeMax - 1);
    } else {
        line.add("%s%lld..%lld", row.kind == Kind::IntOrZero ? "0 or " : "",
                 static_cast<long long>(row.minimum), static_cast<long long>(row.maximum));
        if (*row.unit != '\0') line.add(" %s", row.unit);
        if (row.kind == Kind::Signal) line.add(" without 4-9, 11, 19, 31-33");
    }
}

// Text from the environment: short, and without what could break the line.
void add_foreign(Line& line, const char* text) {
    constexpr size_t kSizeMax = 64;
    size_t size = strnlen(text, kSizeMax + 1);
    for (size_t i = 0; i < size && i < kSizeMax; i++) {
        auto byte = static_cast<unsigned char>(text[i]);
        line.add("%c", byte < ' ' || byte == 127 ? '?' : text[i]);
    }
    if (size > kSizeMax) line.add("...");
}

void warn_value(const Row& row, const char* text) {
    Line line;
    line.add("%s=", row.variable);
    add_foreign(line, text);
    line.add(" is malformed or out of range; allowed: ");
    add_range(line, row);
    line.add("; using ");
    add_value(line, row, kDefaults);
    host::warn("%s", line.text());
}

void warn_unknown(const char* entry, size_t name_size) {
    char name[128];
    if (name_size >= sizeof name) name_size = sizeof name - 1;
    memcpy(name, entry, name_size);
    name[name_size] = '\0';
    Line line;
    add_foreign(line, name);
    host::warn("%s is no variable of pfiber and has no effect; the nearest is %s", line.text(),
               option_nearest(name));
}

// ---- names ----

const Row* find_row(const char* name, size_t size) {
    for (const Row& row : kRows) {
        if (strncmp(row.variable, name, size) == 0 && row.variable[size] == '\0') return &row;
    }
    return nullptr;
}

const char* without_prefix(const char* name) {
    return strncmp(name, kPrefix, kPrefixSize) == 0 ? name + kPrefixSize : name;
}

// Levenshtein's distance without regard to case, on at most 63 characters of each.
int edit_distance(const char* a, const char* b) {
    constexpr size_t kSizeMax = 63;
    auto upper = [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; };
    size_t b_size = strnlen(b, kSizeMax);
    int row[kSizeMax + 1];
    for (size_t j = 0; j <= b_size; j++) row[j] = static_cast<int>(j);
    for (size_t i = 0; i < kSizeMax && a[i] != '\0'; i++) {
        int diagonal = row[0];
        row[0] = static_cast<int>(i) + 1;
        for (size_t j = 0; j < b_size; j++) {
            int replaced = diagonal + (upper(a[i]) != upper(b[j]));
            int shifted = 1 + (row[j] < row[j + 1] ? row[j] : row[j + 1]);
            diagonal = row[j + 1];
            row[j + 1] = replaced < shifted ? replaced : shifted;
        }
    }
    return row[b_size];
}

// The first entry of that name, as getenv would find it; nullptr if none or empty.
const char* find_value(char** envp, const char* variable) {
    size_t size = strlen(variable);
    for (; *envp != nullptr; envp++) {
        if (strncmp(*envp, variable, size) == 0 && (*envp)[size] == '=') {
            const char* value = *envp + size + 1;
            return *value != '\0' ? value : nullptr;
        }
    }
    return nullptr;
}

void parse_all(char** envp, Options* out, bool with_warnings) {
    *out = kDefaults;
    g_text_size = 0;
    for (size_t i = 0; i < kRowCount; i++) {
        const char* value = find_value(envp, kRows[i].variable);
        g_is_from_environment[i] = value != nullptr && parse_value(kRows[i], value, out);
        if (with_warnings && value != nullptr && !g_is_from_environment[i]) {
            warn_value(kRows[i], value);
        }
    }
}

void sink_line(TextSink sink, Line& line) {
    const char* text = line.text();
    sink.write(sink.context, text, line.size());
    sink.write(sink.context, "\n", 1);
    line.clear();
}

// The help sentence in lines of at most 76 columns.
void sink_wrapped(TextSink sink, const char* text) {
    constexpr size_t kWidth = 68;
    while (*text != '\0') {
        size_t size = strlen(text);
        if (size > kWidth) {
            size = kWidth;
            while (size > 1 && text[size] != ' ') size--;
        }
        Line line;
        line.add("        %.*s", static_cast<int>(size), text);
        sink_line(sink, line);
        text += size;
        while (*text == ' ') text++;
    }
}

}  // namespace

void options_parse(char** envp, bool is_secure) {
    static char* empty[] = {nullptr};
    if (is_secure || envp == nullptr) envp = empty;
    // Twice, since the warnings go where PFIBER_LOG says.
    Options& target = detail::g_options;
    parse_all(envp, &target, false);
    host::report_init(target.log);
    host::report_set_verbose(target.verbose);
    parse_all(envp, &target, true);
    for (; *envp != nullptr; envp++) {
        const char* end = strchr(*envp, '=');
        if (end == nullptr || strncmp(*envp, kPrefix, kPrefixSize) != 0) continue;
        auto size = static_cast<size_t>(end - *envp);
        if (find_row(*envp, size) == nullptr) warn_unknown(*envp, size);
    }
}

void options_print() {
    for (size_t i = 0; i < kRowCount; i++) {
        Line line;
        add_value(line, kRows[i], detail::g_options);
        host::info("%s=%s (%s)", kRows[i].variable, line.text(),
                   g_is_from_environment[i] ? "environment" : "default");
    }
}

void options_help(TextSink sink) {
    for (const Row& row : kRows) {
        Line line;
        line.add("    %s=", row.variable);
        add_range(line, row);
        line.add("  [");
        add_value(line, row, kDefaults);
        line.add("]");
        sink_line(sink, line);
        sink_wrapped(sink, row.help);
    }
}

void options_markdown(TextSink sink) {
    Line line;
    line.add("| Variable | Values | Default | Meaning |\n|---|---|---|---|");
    sink_line(sink, line);
    for (const Row& row : kRows) {
        line.add("| `%s` | ", row.variable);
        Line range;
        add_range(range, row);
        for (const char* at = range.text(); *at != '\0'; at++) {
            if (*at == '|') {
                line.add(", ");
            } else {
                line.add("%c", *at);
            }
        }
        line.add(" | ");
        add_value(line, row, kDefaults);
        line.add(" | %s |", row.help);
        sink_line(sink, line);
    }
}

bool option_is_known(const char* variable) {
    return find_row(variable, strlen(variable)) != nullptr;
}

const char* option_nearest(const char* variable) {
    const char* nearest = kRows[0].variable;
    int distance_min = INT32_MAX;
    for (const Row& row : kRows) {
        int distance = edit_distance(without_prefix(variable), without_prefix(row.variable));
        if (distance < distance_min) {
            distance_min = distance;
            nearest = row.variable;
        }
    }
    return nearest;
}

}  // namespace pfiber
