/* Fails the N-th file operation below a folder, for programs that are tested with it.

   Loaded with LD_PRELOAD; armed by fault_arm(n, errno, folder). n = 0 only counts.
   fault_kill(1) ends the process instead of failing: what a power cut leaves. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static long count, target;
static int code, stays;
static char root[PATH_MAX];

void fault_arm(long n, int error, int stay, const char *folder) {
  count = 0; target = n; code = error; stays = stay;
  snprintf(root, sizeof root, "%s", folder);
}
long fault_count(void) { return __atomic_load_n(&count, __ATOMIC_SEQ_CST); }

static int below(const char *path) {
  return root[0] && path && strncmp(path, root, strlen(root)) == 0;
}
static int below_fd(int fd) {
  char link[64], path[PATH_MAX];
  if (!root[0]) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  if (n < 0) return 0;
  path[n] = 0;
  return below(path);
}
static int fails(void) {
  long now = __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
  if (target && (now == target || (stays && now > target))) { errno = code; return 1; }
  return 0;
}
#define REAL(name) \
  static __typeof__(&name) real; \
  if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define OPEN(name)                                                     \
  int name(const char *path, int flags, ...) {                         \
    REAL(name);                                                        \
    va_list args; va_start(args, flags);                               \
    mode_t mode = va_arg(args, mode_t); va_end(args);                  \
    if ((flags & (O_WRONLY | O_RDWR | O_CREAT)) && below(path) && fails()) return -1; \
    return real(path, flags, mode);                                    \
  }
OPEN(open)
OPEN(open64)
#define OPENAT(name)                                                   \
  int name(int at, const char *path, int flags, ...) {                 \
    REAL(name);                                                        \
    va_list args; va_start(args, flags);                               \
    mode_t mode = va_arg(args, mode_t); va_end(args);                  \
    int ours = path[0] == '/' ? below(path) : (at != AT_FDCWD && below_fd(at)); \
    if ((flags & (O_WRONLY | O_RDWR | O_CREAT)) && ours && fails()) return -1; \
    return real(at, path, flags, mode);                                \
  }
OPENAT(openat)
OPENAT(openat64)
ssize_t write(int fd, const void *data, size_t size) {
  REAL(write);
  return below_fd(fd) && fails() ? -1 : real(fd, data, size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
  REAL(pwrite);
  return below_fd(fd) && fails() ? -1 : real(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
  REAL(pwrite64);
  return below_fd(fd) && fails() ? -1 : real(fd, data, size, at);
}
ssize_t writev(int fd, const struct iovec *parts, int n) {
  REAL(writev);
  return below_fd(fd) && fails() ? -1 : real(fd, parts, n);
}
int fsync(int fd) { REAL(fsync); return below_fd(fd) && fails() ? -1 : real(fd); }
int fdatasync(int fd) { REAL(fdatasync); return below_fd(fd) && fails() ? -1 : real(fd); }
int rename(const char *a, const char *b) {
  REAL(rename);
  return (below(a) || below(b)) && fails() ? -1 : real(a, b);
}
int renameat(int x, const char *a, int y, const char *b) {
  REAL(renameat);
  return (below(a) || below(b) || (x >= 0 && below_fd(x))) && fails() ? -1 : real(x, a, y, b);
}
int mkdir(const char *path, mode_t mode) {
  REAL(mkdir);
  return below(path) && fails() ? -1 : real(path, mode);
}
int ftruncate(int fd, off_t size) {
  REAL(ftruncate);
  return below_fd(fd) && fails() ? -1 : real(fd, size);
}
