// Preloaded into a process, counts its changes to files under one directory (writes, syncs,
// renames, removals, truncations, creations; SQLite's own too) and makes one of them fail.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

// KILL_WITHIN counts writes alone: to be killed within any other step is to be killed before the
// next one.
enum { KILL_BEFORE, KILL_WITHIN, DISK_FULL, IO_ERROR };

static char directory[4096];
static long target = -1, counted = 0;
static int mode = KILL_BEFORE;

// From now on the change number `at` (from 0) under `path` fails; at < 0 only counts.
void fault_arm(const char *path, long at, int how) {
    snprintf(directory, sizeof directory, "%s", path);
    target = at;
    mode = how;
    counted = 0;
}

long fault_count(void) { return counted; }

void fault_disarm(void) { directory[0] = 0; }

static int under(const char *path) {
    return directory[0] && path && !strncmp(path, directory, strlen(directory));
}

static int under_fd(int fd) {
    char link[64], path[4096];
    if (!directory[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return under(path);
}

// 0: go on; 1: go on and then die; -1: fail with errno set. Kills at once where it must.
static int step(int relevant) {
    if (!relevant) return 0;
    long n = counted++;
    if (mode == DISK_FULL && target >= 0 && n >= target) {
        errno = ENOSPC;
        return -1;
    }
    if (n != target) return 0;
    if (mode == KILL_BEFORE) kill(getpid(), SIGKILL);
    if (mode == IO_ERROR) {
        errno = EIO;
        return -1;
    }
    return 1;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    pause();
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define AROUND(relevant, type, call)   \
    int what = step(relevant);         \
    if (what < 0) return -1;           \
    type result = call;                \
    if (what > 0) die();               \
    return result

// A write that is killed within leaves half of its bytes.
ssize_t write(int fd, const void *data, size_t n) {
    int what = step(under_fd(fd));
    if (what < 0) return -1;
    ssize_t result = REAL(write)(fd, data, what > 0 ? n / 2 : n);
    if (what > 0) die();
    return result;
}
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) {
    int what = step(under_fd(fd));
    if (what < 0) return -1;
    ssize_t result = REAL(pwrite64)(fd, data, what > 0 ? n / 2 : n, at);
    if (what > 0) die();
    return result;
}
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) { return pwrite64(fd, data, n, at); }

int fsync(int fd) { AROUND(under_fd(fd) && mode != KILL_WITHIN, int, REAL(fsync)(fd)); }
int fdatasync(int fd) { AROUND(under_fd(fd) && mode != KILL_WITHIN, int, REAL(fdatasync)(fd)); }
int ftruncate64(int fd, off64_t n) { AROUND(under_fd(fd) && mode != KILL_WITHIN, int, REAL(ftruncate64)(fd, n)); }
int ftruncate(int fd, off_t n) { return ftruncate64(fd, n); }

// A full disk still lets files be removed and renamed.
int rename(const char *a, const char *b) {
    AROUND(under(b) && mode != DISK_FULL && mode != KILL_WITHIN, int, REAL(rename)(a, b));
}
int unlink(const char *path) {
    AROUND(under(path) && mode == KILL_BEFORE, int, REAL(unlink)(path));
}
int mkdir(const char *path, mode_t m) { AROUND(under(path) && mode != KILL_WITHIN, int, REAL(mkdir)(path, m)); }

#define OPEN(name)                                                        \
    int name(const char *path, int flags, ...) {                          \
        va_list more;                                                     \
        va_start(more, flags);                                            \
        mode_t m = va_arg(more, mode_t);                                  \
        va_end(more);                                                     \
        int creates = (flags & O_CREAT) && under(path) && access(path, F_OK); \
        AROUND(creates && mode != KILL_WITHIN, int, REAL(name)(path, flags, m));                 \
    }
OPEN(open)
OPEN(open64)
