// What the native tests share.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>
#include <random>
#include <string>
#include <utility>

#include "kernels.h"

extern std::mt19937_64 random_engine;
extern int failures;

void check(bool ok, const std::string& what);

// walk_tests.cpp
void test_searches(const nestbit::KernelTable& table);

// `size` random bytes right before a page that may not be read.
class Block {
public:
    explicit Block(size_t size) {
        const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
        mapped_ = (size + page - 1) / page * page + page;
        void* map = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (map == MAP_FAILED) throw std::bad_alloc();
        map_ = static_cast<uint8_t*>(map);
        data_ = map_ + mapped_ - page - size;
        for (size_t i = 0; i < size; i += 8) {
            const uint64_t word = random_engine();
            std::memcpy(data_ + i, &word, std::min<size_t>(8, size - i));
        }
        if (mprotect(map_ + mapped_ - page, page, PROT_NONE) != 0) throw std::bad_alloc();
    }
    ~Block() {
        if (map_) munmap(map_, mapped_);
    }
    Block(Block&& other) noexcept : map_(std::exchange(other.map_, nullptr)), data_(other.data_), mapped_(other.mapped_) {}
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;
    uint8_t* get() const { return data_; }

private:
    uint8_t *map_, *data_;
    size_t mapped_;
};
