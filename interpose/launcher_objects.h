// What is mapped into another process: its files' bytes, unwind tables and function names.
#pragma once

#include <elf.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "scheduler/host/backtrace.h"

namespace pfiber {

// An ELF file, mapped for reading.
class ObjectFile {
  public:
    explicit ObjectFile(const std::string& path);
    ~ObjectFile();
    ObjectFile(const ObjectFile&) = delete;
    ObjectFile& operator=(const ObjectFile&) = delete;

    // `size` bytes at `offset`, or null.
    const char* at(uint64_t offset, uint64_t size) const;
    // The function around an address as the file counts them; "" and untouched: none is known.
    std::string function_at(uint64_t address, uint64_t* offset) const;

  private:
    struct Function {
        uint64_t address, size;
        const char* name;
    };
    void read_functions();

    const char* bytes_ = nullptr;
    uint64_t size_ = 0;
    std::vector<Function> functions_;  // by address
};

class ProcessObjects {
  public:
    explicit ProcessObjects(pid_t process);

    // From the file where it is that of the mapping and cannot be changed there, else from the
    // process, if the kernel lets us.
    bool read(uint64_t address, void* bytes, size_t size) const;
    bool find_table(uint64_t ip, host::UnwindTable* table) const;
    // "function+0x1a in /path"; the function is looked up for `address`, the offset is ip's.
    std::string describe(uint64_t ip, uint64_t address) const;
    // Path of the mapped file, "" for other memory.
    const std::string& path_of(uint64_t address) const;

  private:
    struct Mapping {
        uint64_t low = 0, high = 0, offset = 0;
        bool is_writable = false;
        std::string path;
        const ObjectFile* file = nullptr;
        size_t first = 0;  // the object's lowest mapping
    };
    const Mapping* mapping_of(uint64_t address) const;
    // Program headers out of the process, whose addresses are `bias` above the file's.
    bool headers_of(const Mapping& mapping, std::vector<Elf64_Phdr>* headers, uint64_t* bias) const;

    pid_t process_;
    std::vector<Mapping> mappings_;  // by address
    std::map<std::string, std::unique_ptr<ObjectFile>> files_;
};

}  // namespace pfiber
