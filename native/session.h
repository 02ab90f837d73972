// The per-thread set-up of an instruction set, for as long as this lives.
#pragma once

#include "kernels.h"

namespace nestbit {

class Session {
public:
    explicit Session(const KernelTable& table) : table_(table) {
        if (table_.enter) table_.enter();
    }
    ~Session() {
        if (table_.leave) table_.leave();
    }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

private:
    const KernelTable& table_;
};

}  // namespace nestbit
