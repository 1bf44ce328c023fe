/* A preloaded witness for tests/crash.rs: counts the calls that change files below KILL_DIR and ends the process with
 * SIGKILL at the KILL_AT-th one - before it, in the middle of it (half the bytes written), or after it. Without KILL_AT it
 * only counts; the count is appended to the file KILL_COUNT at every call, so that it survives any end.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long calls;

enum mode { BEFORE, TORN, AFTER };

static enum mode wanted_mode(void) {
    const char *mode = getenv("KILL_MODE");
    if (mode && strcmp(mode, "torn") == 0) return TORN;
    if (mode && strcmp(mode, "after") == 0) return AFTER;
    return BEFORE;
}

static int below(const char *path) {
    const char *dir = getenv("KILL_DIR");
    return dir && path && strncmp(path, dir, strlen(dir)) == 0;
}

static int watched(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    return below(path);
}

static void die(void) { syscall(SYS_kill, getpid(), SIGKILL); for (;;) pause(); }

/* 1: this is the call to die at. */
static int reached(void) {
    long n = atomic_fetch_add(&calls, 1) + 1;
    const char *count = getenv("KILL_COUNT");
    if (count) {
        char text[32];
        int len = snprintf(text, sizeof text, "%ld", n);
        int fd = syscall(SYS_openat, AT_FDCWD, count, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (fd >= 0) {
            syscall(SYS_write, fd, text, len);
            syscall(SYS_close, fd);
        }
    }
    const char *at = getenv("KILL_AT");
    return at && n == atol(at);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define GUARDED(watch, torn, call)                                                                                     \
    do {                                                                                                               \
        if (!(watch) || !reached()) return call;                                                                       \
        if (wanted_mode() == BEFORE) die();                                                                            \
        if (wanted_mode() == TORN) { torn; die(); }                                                                    \
        (void)!(call);                                                                                                 \
        die();                                                                                                         \
        return -1;                                                                                                     \
    } while (0)

ssize_t write(int fd, const void *buf, size_t n) {
    GUARDED(watched(fd), (void)!REAL(write)(fd, buf, n / 2), REAL(write)(fd, buf, n));
}
ssize_t pwrite64(int fd, const void *buf, size_t n, off64_t at) {
    GUARDED(watched(fd), (void)!REAL(pwrite64)(fd, buf, n / 2, at), REAL(pwrite64)(fd, buf, n, at));
}
ssize_t pwrite(int fd, const void *buf, size_t n, off_t at) {
    GUARDED(watched(fd), (void)!REAL(pwrite)(fd, buf, n / 2, at), REAL(pwrite)(fd, buf, n, at));
}
int fsync(int fd) { GUARDED(watched(fd), (void)0, REAL(fsync)(fd)); }
int fdatasync(int fd) { GUARDED(watched(fd), (void)0, REAL(fdatasync)(fd)); }
int ftruncate64(int fd, off64_t n) { GUARDED(watched(fd), (void)0, REAL(ftruncate64)(fd, n)); }
int ftruncate(int fd, off_t n) { GUARDED(watched(fd), (void)0, REAL(ftruncate)(fd, n)); }
int rename(const char *from, const char *to) { GUARDED(below(to), (void)0, REAL(rename)(from, to)); }
int renameat(int a, const char *from, int b, const char *to) { GUARDED(below(to), (void)0, REAL(renameat)(a, from, b, to)); }
int unlink(const char *path) { GUARDED(below(path), (void)0, REAL(unlink)(path)); }
int mkdir(const char *path, mode_t mode) { GUARDED(below(path), (void)0, REAL(mkdir)(path, mode)); }
int link(const char *from, const char *to) { GUARDED(below(to), (void)0, REAL(link)(from, to)); }
int linkat(int a, const char *from, int b, const char *to, int flags) {
    GUARDED(below(to), (void)0, REAL(linkat)(a, from, b, to, flags));
}
