// See launcher_objects.h.
#include "interpose/launcher_objects.h"

#include <cxxabi.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace pfiber {

namespace {

// A C function's name may be a type's encoding: f is float.
std::string demangled(const char* name) {
    if (strncmp(name, "_Z", 2) != 0) return name;
    int status = 0;
    char* text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
    std::string result = status == 0 && text != nullptr ? text : name;
    free(text);
    return result;
}

std::string hexadecimal(uint64_t value) {
    char text[24];
    snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
    return text;
}

}  // namespace

ObjectFile::ObjectFile(const std::string& path) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return;
    struct stat status;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0) {
        const auto size = static_cast<size_t>(status.st_size);
        void* mapped = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (mapped != MAP_FAILED) {
            bytes_ = static_cast<const char*>(mapped);
            size_ = size;
        }
    }
    close(fd);
    read_functions();
}

ObjectFile::~ObjectFile() {
    if (bytes_ != nullptr) munmap(const_cast<char*>(bytes_), size_);
}

const char* ObjectFile::at(uint64_t offset, uint64_t size) const {
    return offset <= size_ && size <= size_ - offset ? bytes_ + offset : nullptr;
}

// Both tables: .symtab has the static functions too, and stripped files have .dynsym only.
void ObjectFile::read_functions() {
    const auto* header = reinterpret_cast<const Elf64_Ehdr*>(at(0, sizeof(Elf64_Ehdr)));
    if (header == nullptr || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
        header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_shentsize != sizeof(Elf64_Shdr))
        return;
    const auto* sections = reinterpret_cast<const Elf64_Shdr*>(
        at(header->e_shoff, uint64_t{header->e_shnum} * sizeof(Elf64_Shdr)));
    if (sections == nullptr) return;
    for (size_t i = 0; i < header->e_shnum; i++) {
        const Elf64_Shdr& table = sections[i];
        if ((table.sh_type != SHT_SYMTAB && table.sh_type != SHT_DYNSYM) ||
            table.sh_link >= header->e_shnum)
            continue;
        const Elf64_Shdr& strings = sections[table.sh_link];
        const char* names = at(strings.sh_offset, strings.sh_size);
        const auto* symbols =
            reinterpret_cast<const Elf64_Sym*>(at(table.sh_offset, table.sh_size));
        if (symbols == nullptr || names == nullptr || strings.sh_size == 0 ||
            names[strings.sh_size - 1] != '\0')
            continue;
        for (size_t k = 0; k < table.sh_size / sizeof(Elf64_Sym); k++) {
            const Elf64_Sym& symbol = symbols[k];
            const int type = ELF64_ST_TYPE(symbol.st_info);
            if ((type != STT_FUNC && type != STT_GNU_IFUNC) || symbol.st_shndx == SHN_UNDEF ||
                symbol.st_size == 0 || symbol.st_name >= strings.sh_size)
                continue;
            functions_.push_back({symbol.st_value, symbol.st_size, names + symbol.st_name});
        }
    }
    // Of several names at one address the shortest, and it is found first: read, not __read.
    std::sort(functions_.begin(), functions_.end(), [](const Function& a, const Function& b) {
        if (a.address != b.address) return a.address < b.address;
        return strlen(a.name) > strlen(b.name);
    });
}

std::string ObjectFile::function_at(uint64_t address, uint64_t* offset) const {
    auto after = std::upper_bound(
        functions_.begin(), functions_.end(), address,
        [](uint64_t wanted, const Function& function) { return wanted < function.address; });
    if (after == functions_.begin()) return "";
    const Function& function = *--after;
    if (address - function.address >= function.size) return "";
    *offset = address - function.address;
    return demangled(function.name);
}

ProcessObjects::ProcessObjects(pid_t process) : process_(process) {
    const std::string proc = "/proc/" + std::to_string(process);
    std::ifstream maps(proc + "/maps");
    std::string line;
    while (std::getline(maps, line)) {
        Mapping mapping;
        char rights[8] = {};
        int path_at = 0;
        unsigned long long low = 0, high = 0, offset = 0;
        if (sscanf(line.c_str(), "%llx-%llx %7s %llx %*s %*s %n", &low, &high, rights, &offset,
                   &path_at) < 4)
            continue;
        mapping.low = low;
        mapping.high = high;
        mapping.offset = offset;
        mapping.is_writable = rights[1] == 'w';
        if (path_at > 0 && line.c_str()[path_at] == '/') mapping.path = line.substr(path_at);
        mapping.first = mappings_.size();
        if (!mapping.path.empty() && offset != 0)
            for (size_t i = mappings_.size(); i-- > 0;)
                if (mappings_[i].path == mapping.path) {
                    mapping.first = mappings_[i].first;
                    break;
                }
        mappings_.push_back(mapping);
    }
    constexpr char kDeleted[] = " (deleted)";
    constexpr size_t kDeletedSize = sizeof kDeleted - 1;
    for (Mapping& mapping : mappings_) {
        const std::string& path = mapping.path;
        if (path.empty() || (path.size() > kDeletedSize &&
                             path.compare(path.size() - kDeletedSize, kDeletedSize, kDeleted) == 0))
            continue;
        std::unique_ptr<ObjectFile>& file = files_[path];
        if (file == nullptr) {
            // As the process sees the path, which may have another root.
            const std::string seen = proc + "/root" + path;
            file = std::make_unique<ObjectFile>(access(seen.c_str(), R_OK) == 0 ? seen : path);
        }
        mapping.file = file.get();
    }
}

const ProcessObjects::Mapping* ProcessObjects::mapping_of(uint64_t address) const {
    auto after = std::upper_bound(
        mappings_.begin(), mappings_.end(), address,
        [](uint64_t wanted, const Mapping& mapping) { return wanted < mapping.low; });
    if (after == mappings_.begin()) return nullptr;
    --after;
    return address < after->high ? &*after : nullptr;
}

bool ProcessObjects::read(uint64_t address, void* bytes, size_t size) const {
    const Mapping* mapping = mapping_of(address);
    if (mapping != nullptr && mapping->file != nullptr && !mapping->is_writable &&
        size <= mapping->high - address) {
        const char* found = mapping->file->at(mapping->offset + (address - mapping->low), size);
        if (found != nullptr) {
            memcpy(bytes, found, size);
            return true;
        }
    }
    const iovec local{bytes, size}, remote{reinterpret_cast<void*>(address), size};
    return process_vm_readv(process_, &local, 1, &remote, 1, 0) == static_cast<ssize_t>(size);
}

bool ProcessObjects::headers_of(const Mapping& mapping, std::vector<Elf64_Phdr>* headers,
                                uint64_t* bias) const {
    constexpr size_t kMostHeaders = 256;
    const Mapping& first = mappings_[mapping.first];
    Elf64_Ehdr header;
    if (first.offset != 0 || !read(first.low, &header, sizeof header) ||
        memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_phentsize != sizeof(Elf64_Phdr) ||
        header.e_phnum > kMostHeaders)
        return false;
    headers->resize(header.e_phnum);
    if (!read(first.low + header.e_phoff, headers->data(), header.e_phnum * sizeof(Elf64_Phdr)))
        return false;
    for (const Elf64_Phdr& one : *headers) {
        if (one.p_type != PT_LOAD || one.p_offset != 0) continue;
        *bias = first.low - one.p_vaddr;
        return true;
    }
    return false;
}

bool ProcessObjects::find_table(uint64_t ip, host::UnwindTable* table) const {
    const Mapping* mapping = mapping_of(ip);
    std::vector<Elf64_Phdr> headers;
    uint64_t bias = 0;
    if (mapping == nullptr || !headers_of(*mapping, &headers, &bias)) return false;
    bool has_table = false;
    for (const Elf64_Phdr& one : headers) {
        const uint64_t low = bias + one.p_vaddr;
        if (one.p_type == PT_LOAD && ip >= low && ip - low < one.p_memsz) {
            table->low = low;
            table->high = low + one.p_memsz;
        }
        if (one.p_type == PT_GNU_EH_FRAME) {
            table->header = low;
            has_table = true;
        }
    }
    return has_table && table->high != 0;
}

std::string ProcessObjects::describe(uint64_t ip, uint64_t address) const {
    const Mapping* mapping = mapping_of(address);
    if (mapping == nullptr || mapping->path.empty()) return hexadecimal(ip);
    std::vector<Elf64_Phdr> headers;
    uint64_t bias = 0, offset = 0;
    if (!headers_of(*mapping, &headers, &bias)) bias = mappings_[mapping->first].low;
    std::string name;
    if (mapping->file != nullptr) name = mapping->file->function_at(address - bias, &offset);
    if (name.empty()) return hexadecimal(ip - bias) + " in " + mapping->path;
    return name + "+" + hexadecimal(offset + (ip - address)) + " in " + mapping->path;
}

const std::string& ProcessObjects::path_of(uint64_t address) const {
    static const std::string none;
    const Mapping* mapping = mapping_of(address);
    return mapping == nullptr ? none : mapping->path;
}

}  // namespace pfiber
