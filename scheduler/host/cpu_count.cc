// Finds the affinity mask's size and the cgroup's CPU limit; cpu_count.h has the rule.
//
// /proc/self/cgroup says which group we are in, /proc/self/mountinfo where its files are to be
// seen: in a container the mount shows a subtree, whose root is then cut off the group's path.
// Lines longer than the buffer are skipped: those of cgroup mounts are short, those of overlays are
// not.
#include "scheduler/host/cpu_count.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "scheduler/host/report.h"
#include "scheduler/host/call_filter.h"
#include "scheduler/host/syscall.h"

namespace pfiber::host {
namespace {

constexpr size_t kPathSize = CpuGroup::kPathSize;
constexpr size_t kLineSize = 4096;

int open_for_reading(const char* path) {
    return static_cast<int>(
        optional_syscall(kOpenat, SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0));
}

// Lines of a small text file, in a buffer that belongs to the reader.
class LineReader {
  public:
    explicit LineReader(const char* path) : fd_(open_for_reading(path)) {}
    ~LineReader() {
        if (fd_ >= 0) raw_close(fd_);
    }
    LineReader(const LineReader&) = delete;
    LineReader& operator=(const LineReader&) = delete;

    // The next line that fits, zero-terminated, or nullptr at the end; valid until the next call.
    char* next() {
        for (;;) {
            char* start = buffer_ + start_;
            auto* end = static_cast<char*>(memchr(start, '\n', end_ - start_));
            if (end == nullptr) {
                if (fill()) continue;
                if (start_ == end_) return nullptr;
                end = buffer_ + end_;  // a last line without newline; fill() left room
            }
            *end = '\0';
            start = buffer_ + start_;
            size_t after = static_cast<size_t>(end - buffer_) + 1;
            start_ = after < end_ ? after : end_;
            bool was_cut = is_cut_;
            is_cut_ = false;
            if (!was_cut) return start;
        }
    }

  private:
    // Reads more behind the unread part; false at the end of the file.
    bool fill() {
        if (fd_ < 0) return false;
        memmove(buffer_, buffer_ + start_, end_ - start_);
        end_ -= start_;
        start_ = 0;
        if (end_ == kLineSize) {  // no newline in a whole buffer: drop it and the rest of its line
            end_ = 0;
            is_cut_ = true;
        }
        long size;
        do {
            size = raw_read(fd_, buffer_ + end_, kLineSize - end_);
        } while (size == -EINTR);
        if (size <= 0) return false;
        end_ += static_cast<size_t>(size);
        return true;
    }

    int fd_;
    size_t start_ = 0;
    size_t end_ = 0;
    bool is_cut_ = false;
    char buffer_[kLineSize + 1];
};

// Cuts the text at the next separator and returns what stood before it; nullptr when used up.
char* next_field(char*& rest, char separator) {
    if (rest == nullptr) return nullptr;
    char* field = rest;
    rest = strchr(rest, separator);
    if (rest != nullptr) *rest++ = '\0';
    return field;
}

// Whether `word` is one of the comma-separated words of `list`.
bool has_word(const char* list, const char* word) {
    size_t size = strlen(word);
    for (const char* at = list; at != nullptr; at = strchr(at, ',')) {
        if (*at == ',') at++;
        if (strncmp(at, word, size) == 0 && (at[size] == ',' || at[size] == '\0')) return true;
    }
    return false;
}

// mountinfo writes blanks and backslashes in paths as \ooo.
void decode_octal(char* text) {
    char* out = text;
    auto digit = [](char c) { return c >= '0' && c <= '7'; };
    while (*text != '\0') {
        if (text[0] == '\\' && digit(text[1]) && digit(text[2]) && digit(text[3])) {
            *out++ = static_cast<char>((text[1] - '0') * 64 + (text[2] - '0') * 8 + text[3] - '0');
            text += 4;
        } else {
            *out++ = *text++;
        }
    }
    *out = '\0';
}

bool copy_path(char* out, const char* path) {
    size_t size = strlen(path);
    if (size >= kPathSize) return false;
    memcpy(out, path, size + 1);
    return true;
}

// Lines "<id>:<controllers>:<path>"; version 2 has id 0 and no controllers.
bool find_group(const char* proc_self, CpuGroup* out) {
    Line name;
    LineReader lines(name.add("%s/cgroup", proc_self).text());
    bool is_found = false;
    while (char* rest = lines.next()) {
        char* id = next_field(rest, ':');
        char* controllers = next_field(rest, ':');
        if (rest == nullptr) continue;
        bool is_version_1 = has_word(controllers, "cpu");
        bool is_version_2 = strcmp(id, "0") == 0 && controllers[0] == '\0';
        if (!is_version_1 && !is_version_2) continue;
        if (!copy_path(out->path, rest)) continue;
        out->is_version_1 = is_version_1;
        is_found = true;
        if (is_version_1) break;  // it goes before version 2 wherever that stands
    }
    return is_found;
}

// Replaces the group's path by that of its folder in the file system.  Lines
// "<id> <parent> <device> <root> <mount point> <options> [<tag>…] - <type> <source> <super
// options>".
bool find_folder(const char* proc_self, CpuGroup* group) {
    Line name;
    LineReader lines(name.add("%s/mountinfo", proc_self).text());
    while (char* rest = lines.next()) {
        char* tail = strstr(rest, " - ");
        if (tail == nullptr) continue;
        *tail = '\0';
        tail += 3;
        const char* type = next_field(tail, ' ');
        next_field(tail, ' ');  // the source
        const char* super_options = tail != nullptr ? tail : "";
        if (strcmp(type, group->is_version_1 ? "cgroup" : "cgroup2") != 0) continue;
        if (group->is_version_1 && !has_word(super_options, "cpu")) continue;
        for (int i = 0; i < 3; i++) next_field(rest, ' ');
        char* root = next_field(rest, ' ');
        char* mount_point = next_field(rest, ' ');
        if (root == nullptr || mount_point == nullptr) continue;
        decode_octal(root);
        decode_octal(mount_point);
        size_t root_size = strcmp(root, "/") == 0 ? 0 : strlen(root);
        if (strncmp(group->path, root, root_size) != 0) continue;
        const char* below = group->path + root_size;
        if (below[0] != '\0' && below[0] != '/') continue;
        size_t mount_size = strlen(mount_point);
        size_t below_size = strcmp(below, "/") == 0 ? 0 : strlen(below);
        if (mount_size + below_size >= kPathSize) continue;
        memmove(group->path + mount_size, below, below_size);
        memcpy(group->path, mount_point, mount_size);
        group->path[mount_size + below_size] = '\0';
        return true;
    }
    return false;
}

// Digits only; -1 for anything else ("max", "-1").
int64_t parse_number(const char* text) {
    int64_t value = 0;
    if (text == nullptr || *text == '\0') return -1;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || value > INT64_MAX / 10 - 1) return -1;
        value = value * 10 + (*text - '0');
    }
    return value;
}

// Leaves the path as it was.  -1 where the file is missing or says "no limit".
int64_t read_number_file(char* folder, const char* file) {
    size_t size = strlen(folder);
    if (size + strlen(file) >= kPathSize) return -1;
    strcpy(folder + size, file);
    LineReader lines(folder);
    folder[size] = '\0';
    return parse_number(lines.next());
}

CpuLimit read_version_2(char* folder) {
    CpuLimit limit;
    const size_t size = strlen(folder);
    if (size + sizeof "/cpu.max" > kPathSize) return limit;
    strcpy(folder + size, "/cpu.max");
    LineReader lines(folder);
    folder[size] = '\0';
    char* rest = lines.next();
    char* quota = next_field(rest, ' ');
    limit.quota_us = parse_number(quota);
    limit.period_us = parse_number(rest);
    return limit;
}

}  // namespace

int affinity_cpu_count() {
    uint64_t mask[kCpuCountMax * 8 / 64];  // room for 8,192 CPUs: the kernel refuses a short buffer
    long size = optional_syscall(kSchedGetaffinity, SYS_sched_getaffinity, 0, sizeof mask, mask);
    if (is_error(size)) {
        warn(
            "the CPUs cannot be counted (sched_getaffinity: error %ld); using 1 processor; "
            "GOMAXPROCS sets it",
            -size);
        return 1;
    }
    int count = 0;
    for (size_t i = 0; i < static_cast<size_t>(size) / sizeof mask[0]; i++) {
        count += __builtin_popcountll(mask[i]);
    }
    return count > 0 ? count : 1;
}

void find_cpu_group(const char* proc_self, CpuGroup* group) {
    group->is_sought = true;
    group->is_found = find_group(proc_self, group) && find_folder(proc_self, group);
}

CpuLimit read_limit(CpuGroup* group) {
    CpuLimit limit;
    if (!group->is_found) return limit;
    if (group->is_version_1) {
        limit.quota_us = read_number_file(group->path, "/cpu.cfs_quota_us");
        limit.period_us = read_number_file(group->path, "/cpu.cfs_period_us");
    } else {
        limit = read_version_2(group->path);
    }
    if (limit.quota_us <= 0 || limit.period_us <= 0) limit = CpuLimit();
    return limit;
}

CpuLimit read_cgroup_limit(const char* proc_self) {
    CpuGroup group;
    find_cpu_group(proc_self, &group);
    return read_limit(&group);
}

int processor_count_for(int cpu_count, CpuLimit limit) {
    int64_t count = cpu_count;
    if (limit.period_us > 0) {
        int64_t whole = limit.quota_us / limit.period_us;
        if (limit.quota_us % limit.period_us != 0) whole++;
        if (whole < 2) whole = 2;
        if (whole < count) count = whole;
    }
    if (count < 1) count = 1;
    return static_cast<int>(count < kCpuCountMax ? count : kCpuCountMax);
}

int default_processor_count(CpuGroup* group, const char* proc_self) {
    if (!group->is_sought) find_cpu_group(proc_self, group);
    return processor_count_for(affinity_cpu_count(), read_limit(group));
}

int default_processor_count() {
    CpuGroup group;
    return default_processor_count(&group);
}

}  // namespace pfiber::host
