// Reads the head of a program file to tell whether LD_PRELOAD will reach it.
//
// A program that preloading misses would run natively and silently, which is the one outcome a user
// of the launcher does not expect; hence a sentence and no start.  Must not know the runtime.
#include "interpose/launcher_program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <vector>

namespace pfiber {
namespace {

constexpr int kScriptDepthMax = 5;  // the kernel's own limit

bool read_exactly(int fd, void* out, size_t size, off_t offset) {
    return pread(fd, out, size, offset) == static_cast<ssize_t>(size);
}

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// Whether exec gives the file other rights than ours, so that the loader drops LD_PRELOAD.
std::string why_secure(const std::string& path) {
    struct stat file;
    struct statvfs system;
    if (stat(path.c_str(), &file) != 0) return "";
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1) return "";
    if (statvfs(path.c_str(), &system) == 0 && (system.f_flag & ST_NOSUID) != 0) return "";
    const char* why = nullptr;
    if ((file.st_mode & S_ISUID) != 0 && file.st_uid != getuid()) why = "is set-user-id";
    constexpr mode_t kSetGroup = S_ISGID | S_IXGRP;  // without the x bit it means record locking
    if ((file.st_mode & kSetGroup) == kSetGroup && file.st_gid != getgid()) why = "is set-group-id";
    if (getuid() != 0 && getxattr(path.c_str(), "security.capability", nullptr, 0) > 0) {
        why = "has file capabilities";
    }
    if (why == nullptr) return "";
    return std::string(why) + ": the loader ignores LD_PRELOAD for it; run it directly";
}

std::string why_foreign_elf(int fd, const std::string& path) {
    Elf64_Ehdr header;
    if (!read_exactly(fd, &header, sizeof header, 0)) return "is not a complete ELF file";
    if (header.e_ident[EI_CLASS] != ELFCLASS64) {
        return "is a 32-bit program: pfiber serves x86-64 only; run it directly";
    }
    if (header.e_machine != EM_X86_64 || header.e_ident[EI_DATA] != ELFDATA2LSB) {
        return "is built for another machine: pfiber serves x86-64 only";
    }
    // The loader as a program ("ld-linux-x86-64.so.2 PROGRAM") has no loader of its own and
    // preloads.
    if (base_name(path).compare(0, 8, "ld-linux") == 0) return "";
    for (int i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr segment;
        auto offset = static_cast<off_t>(header.e_phoff + static_cast<size_t>(i) * sizeof segment);
        if (!read_exactly(fd, &segment, sizeof segment, offset)) break;
        if (segment.p_type != PT_INTERP) continue;
        std::string loader(segment.p_filesz < 4096 ? segment.p_filesz : 0, '\0');
        if (!read_exactly(fd, &loader[0], loader.size(), static_cast<off_t>(segment.p_offset))) {
            break;
        }
        loader = loader.c_str();
        if (base_name(loader).compare(0, 8, "ld-linux") == 0) return "";
        return "is loaded by " + loader + ": pfiber needs glibc; run it directly";
    }
    return "is statically linked: LD_PRELOAD does not reach it; run it directly";
}

// The interpreter of a `#!` line; for `env NAME` the program of that name.
std::string script_interpreter(const std::string& line) {
    const char* kBlank = " \t";
    size_t start = line.find_first_not_of(kBlank, 2);
    if (start == std::string::npos) return "/bin/sh";
    size_t end = line.find_first_of(kBlank, start);
    std::string interpreter = line.substr(start, end - start);
    if (base_name(interpreter) != "env" || end == std::string::npos) return interpreter;
    start = line.find_first_not_of(kBlank, end);
    if (start == std::string::npos) return interpreter;
    std::string argument = line.substr(start, line.find_first_of(kBlank, start) - start);
    // Options and assignments of env: who runs in the end is not ours to guess.
    if (argument[0] == '-' || argument.find('=') != std::string::npos) return interpreter;
    std::string found = find_program(argument).path;
    return found.empty() ? interpreter : found;
}

}  // namespace

FoundProgram find_program(const std::string& name) {
    FoundProgram result;
    auto forbid = [&](const char* why) {
        result.status = kExitCannotRun;
        result.why = why;
        return false;
    };
    auto try_path = [&](const std::string& path) {
        struct stat file;
        if (stat(path.c_str(), &file) != 0) {
            return errno == EACCES ? forbid("is in a folder that may not be searched") : false;
        }
        if (S_ISDIR(file.st_mode)) return forbid("is a directory");
        if (!S_ISREG(file.st_mode)) return forbid("is no program");
        if (access(path.c_str(), X_OK) != 0) return forbid("may not be executed");
        result.path = path;
        result.status = 0;
        return true;
    };
    result.status = kExitNotFound;
    result.why =
        name.find('/') == std::string::npos ? "was not found along PATH" : "does not exist";
    if (name.find('/') != std::string::npos || name.empty()) {
        if (!name.empty()) try_path(name);
        return result;
    }
    const char* variable = getenv("PATH");
    std::string rest = variable != nullptr ? variable : "/usr/local/bin:/usr/bin:/bin";
    for (size_t start = 0; start <= rest.size();) {
        size_t end = rest.find(':', start);
        if (end == std::string::npos) end = rest.size();
        std::string folder = rest.substr(start, end - start);
        if (folder.empty()) folder = ".";
        if (try_path(folder + "/" + name)) break;
        start = end + 1;
    }
    return result;
}

std::string why_out_of_reach(std::string* path) {
    for (int depth = 0; depth < kScriptDepthMax; depth++) {
        std::string why = why_secure(*path);
        int fd = open(path->c_str(), O_RDONLY | O_CLOEXEC);
        if (fd < 0) return why;  // executable but not readable: the kernel will tell
        char head[256];
        ssize_t size = pread(fd, head, sizeof head, 0);
        bool is_elf = size >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0;
        bool is_script = size >= 2 && memcmp(head, "#!", 2) == 0;
        if (is_elf && why.empty()) why = why_foreign_elf(fd, *path);
        close(fd);
        if (is_elf) return why;
        // A script's own set-user-id bit has no effect; its interpreter counts.  Text without
        // `#!` goes to the shell, as execvp does it.
        std::string line(head, static_cast<size_t>(size < 0 ? 0 : size));
        line = line.substr(0, line.find('\n'));
        *path = is_script ? script_interpreter(line) : "/bin/sh";
    }
    return "";
}

bool is_sanitizer(const std::string& object) {
    const std::string name = base_name(object);
    for (const char* prefix : {"libasan.", "libtsan.", "libubsan.", "liblsan.", "libclang_rt."})
        if (name.compare(0, strlen(prefix), prefix) == 0) return true;
    return false;
}

std::string needed_sanitizer(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    const auto at = [&bytes](size_t offset, auto* value) {
        if (offset > bytes.size() || bytes.size() - offset < sizeof *value) return false;
        memcpy(value, bytes.data() + offset, sizeof *value);
        return true;
    };
    Elf64_Ehdr header;
    if (!at(0, &header) || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return "";
    std::vector<Elf64_Phdr> segments;
    Elf64_Phdr segment;
    for (int i = 0; i < header.e_phnum; i++)
        if (at(header.e_phoff + static_cast<size_t>(i) * sizeof segment, &segment))
            segments.push_back(segment);
    std::vector<size_t> names;  // offsets into the table of strings
    size_t strings = 0;
    for (const Elf64_Phdr& dynamic : segments) {
        Elf64_Dyn entry;
        if (dynamic.p_type != PT_DYNAMIC) continue;
        for (size_t i = 0; i < dynamic.p_filesz && at(dynamic.p_offset + i, &entry);
             i += sizeof entry) {
            if (entry.d_tag == DT_NEEDED) names.push_back(entry.d_un.d_val);
            if (entry.d_tag == DT_STRTAB) strings = entry.d_un.d_ptr;
        }
    }
    for (const Elf64_Phdr& loaded : segments) {
        if (loaded.p_type != PT_LOAD || strings - loaded.p_vaddr >= loaded.p_filesz) continue;
        for (const size_t name : names) {
            const size_t offset = strings - loaded.p_vaddr + loaded.p_offset + name;
            const size_t end = bytes.find('\0', offset);
            if (offset >= bytes.size() || end == std::string::npos) continue;
            if (is_sanitizer(bytes.substr(offset, end - offset)))
                return bytes.substr(offset, end - offset);
        }
    }
    return "";
}

}  // namespace pfiber
