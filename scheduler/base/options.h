// The settings of this process: one constant struct, generated from options.def, read from the
// environment once.  Nobody else looks at the environment.
//
// A value that is malformed or out of range is never fatal: one warning names variable, value,
// range and what is used instead.  An unknown PFIBER_* variable gets one with the nearest known
// name. Must not know who uses an option.  Usable before libc is initialised: neither getenv nor
// malloc.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "scheduler/host/syscall.h"

namespace pfiber {

#define CHOICE(enumerator, text) enumerator,
#define PFIBER_CHOICES(type, list) enum class type { list };
#include "scheduler/base/options.def"
#undef PFIBER_CHOICES
#undef CHOICE

namespace option_kind {  // how each kind of row is kept
using Int = int64_t;
using IntOrZero = int64_t;
using Signal = int64_t;
using Seed = uint64_t;
using Bool = bool;
using Text = const char*;
using pfiber::Pollers;
using pfiber::Preempt;
}  // namespace option_kind

struct Options {
#define PFIBER_OPTION(kind, member, variable, value, minimum, maximum, unit, help) \
    option_kind::kind member = value;
#include "scheduler/base/options.def"
#undef PFIBER_OPTION
};

namespace detail {
extern Options g_options;
}

// The defaults until options_parse() ran.  Any thread, signal handlers included.
inline const Options& options() { return detail::g_options; }

// Reads the variables (the first of equal names counts, as with getenv), copies what it keeps,
// calls report_init() and report_set_verbose(), then warns.  Called once by start-up, on one
// thread; a second call (tests) starts from the defaults again.  A secure process keeps all
// defaults.
void options_parse(char** envp, bool is_secure = host::process_is_secure());

// For PFIBER_VERBOSE: one line "pfiber: info: PFIBER_SLICE_MS=10 (default)" for each row.
void options_print();

// Text output for the launcher: receives pieces in order.
struct TextSink {
    void (*write)(void* context, const char* text, size_t size);
    void* context;
};
void options_help(TextSink sink);      // the variables' part of `pfiber --help`
void options_markdown(TextSink sink);  // the table of the README

// Whether there is a row for this variable ("PFIBER_OFF"); for `pfiber -e`.
bool option_is_known(const char* variable);
// The row nearest in spelling.
const char* option_nearest(const char* variable);

}  // namespace pfiber
