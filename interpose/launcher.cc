// The command `pfiber PROGRAM ARGS…`: puts the library beside it into LD_PRELOAD and executes.
//
// An ordinary program: it uses only the .def files' texts and never the runtime.  Messages have the
// form of the library's own.  Exit status as env(1): 125 for a mistake in the command line, 126 for
// a program that cannot run under pfiber, 127 for one that is not there, else the program's.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <string>

#include "interpose/launcher_program.h"
#include "scheduler/base/options.h"
#include "scheduler/host/report.h"

namespace pfiber {

// launcher_hooks.cc
void print_hooks();
void print_hooks_markdown();
int dump_process(const char* pid, bool wants_stacks);  // launcher_dump.cc; an exit status

namespace {

constexpr char kVersion[] = "0.1.0";
constexpr char kLibrary[] = "libpfiber.so";

constexpr char kUsage[] =
    "usage: pfiber [options] PROGRAM [ARGUMENTS...]   run the program's threads as fibers\n"
    "       pfiber dump [--stacks] PID                print the fibers of a running process,\n"
    "                                                 with their call stacks (by libunwind)\n"
    "\n"
    "options:\n"
    "    --gomaxprocs N       run on N processors (sets GOMAXPROCS)\n"
    "    -e NAME=VALUE        set one of the variables below for the program\n"
    "    --hooks              print how each libc function is served\n"
    "    --options-markdown, --hooks-markdown\n"
    "                         print the tables of README.md\n"
    "    --version, --help\n"
    "\n"
    "variables  [default]:\n";

void write_stdout(void*, const char* text, size_t size) { fwrite(text, 1, size, stdout); }

int finish_output() {
    if (fflush(stdout) == 0) return 0;
    host::error("cannot write the output: %s", strerror(errno));
    return 1;
}

// ---- LD_PRELOAD ----

bool is_file(const std::string& path) { return access(path.c_str(), R_OK) == 0; }

// Beside this command, or in ../lib as after an installation; "" if in neither.
std::string find_library() {
    char path[4096];
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
    if (size <= 0) return "";
    std::string folder(path, static_cast<size_t>(size));
    folder.resize(folder.rfind('/'));
    std::string beside = folder + "/" + kLibrary;
    if (is_file(beside)) return beside;
    std::string installed = folder.substr(0, folder.rfind('/')) + "/lib/" + kLibrary;
    return is_file(installed) ? installed : "";
}

// Sanitizers, then ours, then what was there, each in its old order.
std::string preload_with(const std::string& library, const char* before) {
    std::string sanitizers;
    std::string others;
    const char* kSeparators = ": ";
    std::string rest = before != nullptr ? before : "";
    for (size_t start = rest.find_first_not_of(kSeparators); start != std::string::npos;) {
        size_t end = rest.find_first_of(kSeparators, start);
        std::string entry = rest.substr(start, end - start);
        if (is_sanitizer(entry)) {
            sanitizers += entry + ":";
        } else if (entry != library) {
            others += ":" + entry;
        }
        start = end == std::string::npos ? end : rest.find_first_not_of(kSeparators, end);
    }
    return sanitizers + library + others;
}

int run(char** arguments) {
    std::string name = arguments[0];
    std::string library = find_library();
    if (library.empty()) {
        host::error("%s is neither beside this command nor in ../lib; build it with make",
                    kLibrary);
        return kExitUsage;
    }
    if (library.find_first_of(": ") != std::string::npos) {
        host::error("%s: LD_PRELOAD cannot hold a path with a blank or colon; move it",
                    library.c_str());
        return kExitUsage;
    }
    FoundProgram program = find_program(name);
    if (program.path.empty()) {
        host::error("%s %s", name.c_str(), program.why);
        return program.status;
    }
    std::string subject = program.path;
    std::string why = why_out_of_reach(&subject);
    if (!why.empty()) {
        std::string script = subject == program.path ? "" : program.path + ": its interpreter ";
        host::error("%s%s %s", script.c_str(), subject.c_str(), why.c_str());
        return kExitCannotRun;
    }
    const char* others = getenv("LD_PRELOAD");
    const std::string before = needed_sanitizer(subject) + ":" + (others != nullptr ? others : "");
    setenv("LD_PRELOAD", preload_with(library, before.c_str()).c_str(), 1);
    // By path, with a slash, so that the file that was looked at is the one that runs; execvp for
    // its way with text files that have no `#!`.
    execvp(program.path.c_str(), arguments);
    int status = errno == ENOENT ? kExitNotFound : kExitCannotRun;
    host::error("%s: %s", program.path.c_str(), strerror(errno));
    return status;
}

// ---- the command line ----

// NAME=VALUE of -e, NAME with or without PFIBER_.
bool set_variable(const std::string& assignment) {
    size_t equals = assignment.find('=');
    if (equals == std::string::npos || equals == 0) {
        host::error("-e %s: expected NAME=VALUE", assignment.c_str());
        return false;
    }
    std::string name = assignment.substr(0, equals);
    if (!option_is_known(name.c_str()) && option_is_known(("PFIBER_" + name).c_str())) {
        name = "PFIBER_" + name;
    }
    if (!option_is_known(name.c_str())) {
        host::error("-e %s: no variable of pfiber; the nearest is %s", name.c_str(),
                    option_nearest(name.c_str()));
        return false;
    }
    setenv(name.c_str(), assignment.c_str() + equals + 1, 1);
    return true;
}

int print_help() {
    fputs(kUsage, stdout);
    options_help({write_stdout, nullptr});
    return finish_output();
}

int usage_error(const char* what, const char* argument) {
    host::error("%s%s; see pfiber --help", what, argument);
    return kExitUsage;
}

// The value of an option: behind `=`, or the next argument.  nullptr: this is not that option, or
// (with *index advanced beyond the end) the value is missing.
const char* option_value(char** argv, int* index, const char* option, bool* is_match) {
    const char* argument = argv[*index];
    size_t size = strlen(option);
    *is_match = strncmp(argument, option, size) == 0 &&
                (argument[size] == '\0' || (argument[size] == '=' && option[1] == '-'));
    if (!*is_match) return nullptr;
    if (argument[size] == '=') return argument + size + 1;
    return argv[++*index];
}

int main_command(char** argv) {
    int i = 1;
    for (; argv[i] != nullptr && argv[i][0] == '-'; i++) {
        std::string argument = argv[i];
        bool is_match = false;
        if (argument == "--") {
            i++;
            break;
        }
        if (argument == "--help" || argument == "-h") return print_help();
        if (argument == "--hooks" || argument == "--hooks-markdown") {
            argument == "--hooks" ? print_hooks() : print_hooks_markdown();
            return finish_output();
        }
        if (argument == "--version") {
            printf("pfiber %s\n", kVersion);
            return finish_output();
        }
        if (argument == "--options-markdown") {
            options_markdown({write_stdout, nullptr});
            return finish_output();
        }
        const char* value = option_value(argv, &i, "--gomaxprocs", &is_match);
        if (is_match) {
            if (value == nullptr) return usage_error("--gomaxprocs needs a number", "");
            setenv("GOMAXPROCS", value, 1);
            continue;
        }
        value = option_value(argv, &i, "-e", &is_match);
        if (is_match) {
            if (value == nullptr) return usage_error("-e needs NAME=VALUE", "");
            if (!set_variable(value)) return kExitUsage;
            continue;
        }
        return usage_error("unknown option ", argv[i]);
    }
    if (argv[i] == nullptr) return usage_error("no program given", "");
    if (i == 1 && strcmp(argv[i], "dump") == 0) {
        const bool wants_stacks = argv[i + 1] != nullptr && strcmp(argv[i + 1], "--stacks") == 0;
        if (wants_stacks) i++;
        if (argv[i + 1] == nullptr || argv[i + 2] != nullptr) {
            return usage_error("dump needs one process id", "");
        }
        return dump_process(argv[i + 1], wants_stacks);
    }
    return run(argv + i);
}

}  // namespace
}  // namespace pfiber

int main(int argc, char** argv) {
    if (argc < 1) return pfiber::kExitUsage;
    return pfiber::main_command(argv);
}
