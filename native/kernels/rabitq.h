// A random rotation by Hadamard transforms, and the grid point nearest in direction to a row.
//
// Included inside NESTBIT_TARGET_BEGIN; `L`, a type of the including file's unnamed namespace,
// keeps the instances of files apart. Vectors of 16 values, whatever the registers hold, are
// summed in one order: every instruction set gives the same bits.
#pragma once

namespace nestbit {

template <typename L>
struct Rabitq {
    static constexpr size_t W = 16;
    typedef float Floats __attribute__((vector_size(64)));

    // Through memcpy: a row may lie anywhere.
    static inline NESTBIT_INLINE void load(const float* from, Floats& to) {
        __builtin_memcpy(&to, from, sizeof(to));
    }
    static inline NESTBIT_INLINE void store(float* to, const Floats& from) {
        __builtin_memcpy(to, &from, sizeof(from));
    }

    // The transform of 16 values inside a vector: steps of 1, 2, 4 and 8.
    static inline NESTBIT_INLINE void sixteen(Floats& v) {
        const Floats s1 = {1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1};
        const Floats s2 = {1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1};
        const Floats s4 = {1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1};
        const Floats s8 = {1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1};
        v = v * s1 + __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
        v = v * s2 + __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
        v = v * s4 + __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
        v = v * s8 + __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
    }

    // In place and unscaled; n is a power of two.
    static void transform(float* x, size_t n) {
        if (n < W) {
            for (size_t h = 1; h < n; h *= 2) {
                for (size_t i = 0; i < n; ++i) {
                    if (i & h) continue;
                    const float a = x[i], b = x[i + h];
                    x[i] = a + b;
                    x[i + h] = a - b;
                }
            }
            return;
        }
        for (size_t i = 0; i < n; i += W) {
            Floats v;
            load(x + i, v);
            sixteen(v);
            store(x + i, v);
        }
        size_t h = W;
        // Two steps share a pass over the row.
        for (; 4 * h <= n; h *= 4) {
            for (size_t i = 0; i < n; i += 4 * h) {
                for (size_t j = i; j < i + h; j += W) {
                    Floats a, b, c, d;
                    load(x + j, a);
                    load(x + j + h, b);
                    load(x + j + 2 * h, c);
                    load(x + j + 3 * h, d);
                    const Floats ab = a + b, a_b = a - b, cd = c + d, c_d = c - d;
                    store(x + j, ab + cd);
                    store(x + j + h, a_b + c_d);
                    store(x + j + 2 * h, ab - cd);
                    store(x + j + 3 * h, a_b - c_d);
                }
            }
        }
        if (2 * h > n) return;
        for (size_t j = 0; j < h; j += W) {
            Floats a, b;
            load(x + j, a);
            load(x + j + h, b);
            store(x + j, a + b);
            store(x + j + h, a - b);
        }
    }

    static void multiply(float* x, const float* by, size_t n) {
        for (size_t i = 0; i < n; ++i) x[i] *= by[i];
    }
    static void scale(float* x, float by, size_t n) {
        for (size_t i = 0; i < n; ++i) x[i] *= by;
    }

    // Sums and differences of the two halves; an odd value in the middle stays.
    static void mix(float* x, size_t n) {
        constexpr float kHalf = 0.70710678118654752f;
        const size_t half = n / 2;
        float* y = x + (n - half);
        for (size_t i = 0; i < half; ++i) {
            const float a = x[i], b = y[i];
            x[i] = (a + b) * kHalf;
            y[i] = (a - b) * kHalf;
        }
    }

    static void rotate(const Rotation& rotation, float* x) {
        const size_t n = rotation.dim, window = rotation.window;
        for (size_t step = 0; step < rotation.rounds; ++step) {
            const size_t round = rotation.inverse ? rotation.rounds - 1 - step : step;
            float* from = round % 2 ? x + (n - window) : x;
            const float* signs = rotation.signs + round * n;
            if (!rotation.inverse) multiply(x, signs, n);
            const bool mixed = window < n && round % 2;
            if (rotation.inverse && mixed) mix(x, n);
            transform(from, window);
            scale(from, rotation.scale, window);
            if (!rotation.inverse && mixed) mix(x, n);
            if (rotation.inverse) multiply(x, signs, n);
        }
    }

    static float sum(float* s) {
        for (size_t h = W / 2; h; h /= 2) {
            for (size_t l = 0; l < h; ++l) s[l] += s[l + h];
        }
        return s[0];
    }

    // Codes of z (r, zero-padded to whole vectors) on a grid of 2^bits points; `code` and `trial`
    // have room for whole vectors.
    static void grid(const float* z, size_t r, int bits, uint8_t* code, uint8_t* trial,
                     float* along, float* length2) {
        // Half-widths of the grid to try, in standard deviations of the row's coordinates.
        constexpr float kReaches[] = {3.0f, 1.6f, 1.9f, 2.2f, 2.5f, 2.8f, 3.4f, 3.9f};
        const size_t padded = round_up(r, W);
        const auto points = static_cast<float>(1 << bits);
        float squares[W] = {};
        for (size_t i = 0; i < padded; i += W) {
            for (size_t l = 0; l < W; ++l) squares[l] += z[i + l] * z[i + l];
        }
        const float spread = __builtin_sqrtf(sum(squares) / static_cast<float>(r));
        const float usable = spread > 0 ? spread : 1.0f;
        const float half = points / 2, most = points - 0.5f, centre = (points - 1) / 2;
        float best = 0;
        for (int t = 0; t < (bits == 1 ? 1 : 8); ++t) {
            const float inverse = points / (2 * kReaches[t] * usable);
            float a[W] = {}, b[W] = {};
            const auto add = [&](size_t i, size_t count) NESTBIT_INLINE {
                for (size_t l = 0; l < count; ++l) {
                    float at = z[i + l] * inverse + half;
                    at = at > 0.0f ? at : 0.0f;
                    at = at < most ? at : most;
                    const auto whole = static_cast<int32_t>(at);
                    trial[i + l] = static_cast<uint8_t>(whole);
                    const float point = static_cast<float>(whole) - centre;
                    a[l] += point * z[i + l];
                    b[l] += point * point;
                }
            };
            size_t i = 0;
            for (; i + W <= r; i += W) add(i, W);
            add(i, r - i);
            const float product = sum(a), square = sum(b);
            const float cosine = product / __builtin_sqrtf(square);
            if (t && !(cosine > best)) continue;
            best = cosine;
            *along = product;
            *length2 = square;
            __builtin_memcpy(code, trial, padded);
        }
    }
};

}  // namespace nestbit
