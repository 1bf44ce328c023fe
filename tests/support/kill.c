/* A preloaded witness for tests/crash.rs: counts the calls that change files below KILL_DIR and interferes with the one
 * it is told to.
 *
 *   KILL_AT=n KILL_MODE=before|torn|after   SIGKILL at the n-th call: before it, in the middle (half the bytes), after it
 *   FAIL_AT=n FAIL_ERRNO=28 [FAIL_STICKY=1] the n-th call (sticky: and every later one) fails with that errno
 *   KILL_TRACE=file                         one line per call: `number operation path`
 *
 * KILL_DIR must be a canonical path. Syncs are counted and not carried out: a SIGKILL loses nothing that the kernel has,
 * so waiting for the disk would only take time. What sqlite writes through its memory map (-shm) is not seen; it is
 * rebuilt from the log anyway.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long calls;
static const char *dir, *mode;
static long kill_at, fail_at;
static int fail_errno, fail_sticky, trace = -1;

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

__attribute__((constructor)) static void begin(void) {
    dir = getenv("KILL_DIR");
    mode = getenv("KILL_MODE");
    kill_at = number("KILL_AT");
    fail_at = number("FAIL_AT");
    fail_errno = (int)number("FAIL_ERRNO");
    fail_sticky = (int)number("FAIL_STICKY");
    const char *file = getenv("KILL_TRACE");
    if (file) trace = (int)syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
}

static int below(const char *path) { return dir && path && strncmp(path, dir, strlen(dir)) == 0; }

/* The path behind a descriptor; 0 when it has none. */
static int name_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    return 1;
}

/* The path of a name in an opened folder. */
static const char *inside(int at, const char *name, char *path) {
    if (!name || name[0] == '/' || at == AT_FDCWD || !name_of(at, path)) return name;
    size_t used = strlen(path);
    snprintf(path + used, PATH_MAX - used, "/%s", name);
    return path;
}

static _Noreturn void die(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

enum verdict { PASS, DIE_BEFORE, DIE_TORN, DIE_AFTER, FAIL };

static enum verdict judge(const char *operation, const char *path) {
    if (!below(path)) return PASS;
    long n = atomic_fetch_add(&calls, 1) + 1;
    if (trace >= 0) {
        char line[PATH_MAX + 64];
        int length = snprintf(line, sizeof line, "%ld %s %s\n", n, operation, path);
        syscall(SYS_write, trace, line, length);
    }
    if (fail_at && (n == fail_at || (fail_sticky && n > fail_at))) return FAIL;
    if (!kill_at || n != kill_at) return PASS;
    if (mode && strcmp(mode, "torn") == 0) return DIE_TORN;
    if (mode && strcmp(mode, "after") == 0) return DIE_AFTER;
    return DIE_BEFORE;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define GUARDED(operation, path, torn, call)                                                                           \
    switch (judge(operation, path)) {                                                                                  \
    case FAIL: errno = fail_errno; return -1;                                                                          \
    case DIE_BEFORE: die();                                                                                            \
    case DIE_TORN: torn; die();                                                                                        \
    case DIE_AFTER: (void)!(call); die();                                                                              \
    default: return call;                                                                                              \
    }

#define ON_FD(operation, fd, torn, call)                                                                               \
    char path[PATH_MAX];                                                                                               \
    if (!name_of(fd, path)) return call;                                                                               \
    GUARDED(operation, path, torn, call)

#define IN_FOLDER(operation, at, name, call)                                                                           \
    char path[PATH_MAX];                                                                                               \
    GUARDED(operation, inside(at, name, path), (void)0, call)

ssize_t write(int fd, const void *buf, size_t n) {
    ON_FD("write", fd, (void)!REAL(write)(fd, buf, n / 2), REAL(write)(fd, buf, n));
}
ssize_t writev(int fd, const struct iovec *parts, int n) {
    ON_FD("writev", fd, (void)!REAL(write)(fd, parts[0].iov_base, parts[0].iov_len / 2), REAL(writev)(fd, parts, n));
}
ssize_t pwrite64(int fd, const void *buf, size_t n, off64_t at) {
    ON_FD("pwrite", fd, (void)!REAL(pwrite64)(fd, buf, n / 2, at), REAL(pwrite64)(fd, buf, n, at));
}
ssize_t pwrite(int fd, const void *buf, size_t n, off_t at) {
    ON_FD("pwrite", fd, (void)!REAL(pwrite)(fd, buf, n / 2, at), REAL(pwrite)(fd, buf, n, at));
}
int fsync(int fd) { ON_FD("sync", fd, (void)0, 0); }
int fdatasync(int fd) { ON_FD("sync", fd, (void)0, 0); }
int ftruncate64(int fd, off64_t n) { ON_FD("truncate", fd, (void)0, REAL(ftruncate64)(fd, n)); }
int ftruncate(int fd, off_t n) { ON_FD("truncate", fd, (void)0, REAL(ftruncate)(fd, n)); }
int fallocate64(int fd, int how, off64_t at, off64_t n) {
    ON_FD("allocate", fd, (void)0, REAL(fallocate64)(fd, how, at, n));
}
int rename(const char *from, const char *to) { GUARDED("rename", to, (void)0, REAL(rename)(from, to)); }
int renameat(int a, const char *from, int b, const char *to) {
    IN_FOLDER("rename", b, to, REAL(renameat)(a, from, b, to));
}
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
    IN_FOLDER("rename", b, to, REAL(renameat2)(a, from, b, to, flags));
}
int link(const char *from, const char *to) { GUARDED("link", to, (void)0, REAL(link)(from, to)); }
int linkat(int a, const char *from, int b, const char *to, int flags) {
    IN_FOLDER("link", b, to, REAL(linkat)(a, from, b, to, flags));
}
int unlink(const char *name) { GUARDED("unlink", name, (void)0, REAL(unlink)(name)); }
int unlinkat(int at, const char *name, int flags) { IN_FOLDER("unlink", at, name, REAL(unlinkat)(at, name, flags)); }
int mkdir(const char *name, mode_t m) { GUARDED("mkdir", name, (void)0, REAL(mkdir)(name, m)); }
int mkdirat(int at, const char *name, mode_t m) { IN_FOLDER("mkdir", at, name, REAL(mkdirat)(at, name, m)); }

/* Opening changes a folder when it makes the file. */
static int makes(const char *path, int flags) {
    struct stat there;
    return (flags & O_CREAT) && below(path) && syscall(SYS_newfstatat, AT_FDCWD, path, &there, 0) != 0;
}

#define OPENING(at, name, flags, call)                                                                                 \
    mode_t m = 0;                                                                                                      \
    if (flags & (O_CREAT | O_TMPFILE)) {                                                                               \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        m = va_arg(rest, mode_t);                                                                                      \
        va_end(rest);                                                                                                  \
    }                                                                                                                  \
    char path[PATH_MAX];                                                                                               \
    const char *full = inside(at, name, path);                                                                         \
    if (!makes(full, flags)) return call;                                                                              \
    GUARDED("create", full, (void)0, call)

int open(const char *name, int flags, ...) { OPENING(AT_FDCWD, name, flags, REAL(open)(name, flags, m)); }
int open64(const char *name, int flags, ...) { OPENING(AT_FDCWD, name, flags, REAL(open64)(name, flags, m)); }
int openat(int at, const char *name, int flags, ...) { OPENING(at, name, flags, REAL(openat)(at, name, flags, m)); }
int openat64(int at, const char *name, int flags, ...) { OPENING(at, name, flags, REAL(openat64)(at, name, flags, m)); }
