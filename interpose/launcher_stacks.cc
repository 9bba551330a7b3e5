// `pfiber dump --stacks PID`: what the process copied (scheduler/base/stack_record.h), unwound and
// printed.  Neither the process nor its files are changed or locked for it.
#include "interpose/launcher_stacks.h"

#include <stdio.h>
#include <string.h>

#include <vector>

#include "interpose/launcher_objects.h"
#include "scheduler/base/stack_record.h"
#include "scheduler/host/backtrace.h"
#include "scheduler/host/report.h"

namespace pfiber {

namespace {

constexpr int kMostFrames = 64;
constexpr int kOwnFrames = 32;  // of the library, which are left out
constexpr char kIndent[] = "    ";

// Takes plain data off the front.
class Reader {
  public:
    explicit Reader(const std::string& bytes) : at_(bytes.data()), left_(bytes.size()) {}
    const char* take(size_t size) {
        if (size > left_) return nullptr;
        const char* taken = at_;
        at_ += size;
        left_ -= size;
        return taken;
    }
    template <class T>
    bool take(T* value) {
        const char* bytes = take(sizeof(T));
        if (bytes == nullptr) return false;
        memcpy(static_cast<void*>(value), bytes, sizeof(T));
        return true;
    }

  private:
    const char* at_;
    size_t left_;
};

struct CopiedStack {
    const ProcessObjects* objects;
    struct Part {
        uint64_t address, size;
        const char* bytes;
    };
    std::vector<Part> parts;
};

bool read_copied(void* client, uint64_t address, void* bytes, size_t size) {
    const auto* stack = static_cast<const CopiedStack*>(client);
    for (const CopiedStack::Part& part : stack->parts) {
        if (address < part.address || address - part.address > part.size ||
            size > part.size - (address - part.address))
            continue;
        memcpy(bytes, part.bytes + (address - part.address), size);
        return true;
    }
    return stack->objects->read(address, bytes, size);
}

bool find_table(void* client, uint64_t ip, host::UnwindTable* table) {
    return static_cast<const CopiedStack*>(client)->objects->find_table(ip, table);
}

bool is_own(const std::string& path) {
    constexpr char kName[] = "/libpfiber.so";
    const size_t at = path.rfind(kName);
    return at != std::string::npos && path.find('/', at + 1) == std::string::npos;
}

// The runtime parks and starts every fiber alike: of its frames at either end only the function
// that the program called is told.
void print_frames(const StackRecord& record, CopiedStack* stack) {
    host::Frame frames[kMostFrames + kOwnFrames];
    const int most = kMostFrames + kOwnFrames;
    const host::BacktraceView view{stack, read_copied, find_table};
    const int count = host::backtrace(record.registers, view, frames, most);
    const auto address = [&frames](int i) {
        return frames[i].is_call ? frames[i].ip - 1 : frames[i].ip;
    };
    const auto is_runtime = [&](int i) { return is_own(stack->objects->path_of(address(i))); };
    int first = 0, end = count;
    while (first + 1 < count && is_runtime(first) && is_runtime(first + 1)) first++;
    while (end > first && is_runtime(end - 1)) end--;
    for (int i = first; i < end && i < first + kMostFrames; i++) {
        const std::string text = stack->objects->describe(frames[i].ip, address(i));
        const bool is_hook = is_runtime(i) && text.compare(0, 3, "pf_") == 0;
        printf("%s%s\n", kIndent, text.c_str() + (is_hook ? 3 : 0));
    }
    if (count == 0)
        printf("%s(its stack cannot be read)\n", kIndent);
    else if (first == end)
        printf("%s(in none of the program's functions)\n", kIndent);
    if (end > first + kMostFrames || count == most) printf("%s...\n", kIndent);
}

// False: it is not all there.
bool print_record(Reader* reader, const ProcessObjects& objects, bool* is_last) {
    StackRecord record;
    if (!reader->take(&record)) return false;
    *is_last = record.kind == StackKind::kEnd;
    if (*is_last) return true;
    CopiedStack stack{&objects, {}};
    for (uint32_t i = 0; i < record.part_count; i++) {
        StackPart part;
        if (!reader->take(&part)) return false;
        const char* bytes = reader->take(part.size);
        if (bytes == nullptr) return false;
        stack.parts.push_back({part.address, part.size, bytes});
    }
    record.line[sizeof record.line - 1] = '\0';
    printf("\n%s\n", record.line);
    switch (record.kind) {
        case StackKind::kCopied:
            print_frames(record, &stack);
            break;
        case StackKind::kRuns:
            printf("%s(running now: its registers are in a processor)\n", kIndent);
            break;
        case StackKind::kInCall:
            printf("%s(in a system call: its registers are in the kernel)\n", kIndent);
            break;
        case StackKind::kChanged:
            printf("%s(it ran while it was looked at)\n", kIndent);
            break;
        case StackKind::kEnd:
            break;
    }
    return true;
}

}  // namespace

bool can_print_stacks() {
    const char* why = nullptr;
    if (host::backtrace_open(&why)) return true;
    host::error("dump: no stacks without libunwind (package libunwind8): %s", why);
    return false;
}

bool print_stacks(pid_t process, const std::string& bytes) {
    Reader reader(bytes);
    StackStream stream;
    if (!reader.take(&stream) || stream.version != kStackStreamVersion) {
        host::error("dump: process %d sends no stacks: its libpfiber.so is another version",
                    static_cast<int>(process));
        return false;
    }
    if (stream.error != 0) {
        host::error("dump: process %d sends no stacks: %s", static_cast<int>(process),
                    strerror(static_cast<int>(stream.error)));
        return false;
    }
    const ProcessObjects objects(process);
    for (bool is_last = false; !is_last;) {
        if (print_record(&reader, objects, &is_last)) continue;
        fflush(stdout);
        host::error("dump: process %d ended, or stopped sending", static_cast<int>(process));
        return false;
    }
    return true;
}

}  // namespace pfiber
