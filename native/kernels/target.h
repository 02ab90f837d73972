// Compiles the code between BEGIN and END for more than the baseline instruction set.
//
// Include every header before BEGIN: an inline function of a header compiled inside could be
// the copy the linker keeps for the whole program, and would then need that instruction set.
#pragma once

#if defined(__clang__)
#define NESTBIT_DOTPROD "dotprod"
#else
#define NESTBIT_DOTPROD "arch=armv8.2-a+dotprod"
#endif

#define NESTBIT_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define NESTBIT_TARGET_BEGIN(isa) \
    NESTBIT_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define NESTBIT_TARGET_END NESTBIT_PRAGMA(clang attribute pop)
#else
#define NESTBIT_TARGET_BEGIN(isa) \
    NESTBIT_PRAGMA(GCC push_options) NESTBIT_PRAGMA(GCC target(isa))
#define NESTBIT_TARGET_END NESTBIT_PRAGMA(GCC pop_options)
#endif

// Small fixed loops over registers have to be unrolled before the registers are allocated.
#if defined(__clang__)
#define NESTBIT_UNROLL _Pragma("unroll")
#else
#define NESTBIT_UNROLL _Pragma("GCC unroll 16")
#endif
#define NESTBIT_NOINLINE __attribute__((noinline))
// Also after the parameters of a lambda. Whether a big function is inlined must not be left to
// chance where its vectors have to stay in registers.
#define NESTBIT_INLINE __attribute__((always_inline))
