// What the launcher must know about a program file before it preloads into it.
#pragma once

#include <string>

namespace pfiber {

// Exit statuses as env(1) and the shell use them.
enum ExitStatus { kExitUsage = 125, kExitCannotRun = 126, kExitNotFound = 127 };

// The file that execvp would run for this name: as given if it has a slash, else the first
// executable one along PATH.  On failure `path` is empty and `status` says whether it was missing
// or forbidden.
struct FoundProgram {
    std::string path;
    int status = 0;
    const char* why = "";  // "is a directory", for the message
};
FoundProgram find_program(const std::string& name);

// Why a preloaded object does not reach this program ("is statically linked: …"), or "" if it does.
// Follows `#!` lines; `path` becomes the file that the sentence is about.
std::string why_out_of_reach(std::string* path);

// Whether an object of that name is a sanitizer's runtime, which refuses to work unless it is
// loaded first.
bool is_sanitizer(const std::string& object);
// The one that this program is linked with, or "".
std::string needed_sanitizer(const std::string& path);

}  // namespace pfiber
