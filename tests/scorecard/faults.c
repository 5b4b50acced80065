/* Fails the N-th file operation below a folder, for programs that are tested with it.

   Loaded with LD_PRELOAD; armed by fault_arm(n, errno, stays, folder). n = 0 only counts.
   errno = -1 is a power cut: the process ends before its N-th operation, and leaves in
   the file of fault_log(path) which inodes were written ("1 inode") and synced ("0"), a
   folder being written where a name in it changes. */
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

#define EVENTS 65536
static struct { unsigned long inode; int written; } events[EVENTS];
static long event_count;
static char log_path[PATH_MAX];
void fault_log(const char *path) { snprintf(log_path, sizeof log_path, "%s", path); }

static void note(unsigned long inode, int written) {
  long i = __atomic_fetch_add(&event_count, 1, __ATOMIC_SEQ_CST);
  if (i < EVENTS) { events[i].inode = inode; events[i].written = written; }
}
static void note_fd(int fd, int written) {
  struct stat seen;
  if (log_path[0] && !fstat(fd, &seen)) note(seen.st_ino, written);
}
static void note_parent(const char *path) {
  char parent[PATH_MAX];
  struct stat seen;
  if (!log_path[0]) return;
  snprintf(parent, sizeof parent, "%s", path);
  char *slash = strrchr(parent, '/');
  if (!slash) return;
  *slash = 0;
  if (!stat(parent, &seen)) note(seen.st_ino, 1);
}
void fault_cut(int status) {
  static int cut;
  if (__atomic_exchange_n(&cut, 1, __ATOMIC_SEQ_CST)) pause();
  FILE *out = fopen(log_path, "w");
  for (long i = 0; out && i < event_count && i < EVENTS; i++)
    fprintf(out, "%d %lu\n", events[i].written, events[i].inode);
  if (out) fclose(out);
  _exit(status);
}

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
  if (target && now >= target && code < 0) fault_cut(137);
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
    if ((flags & (O_WRONLY | O_RDWR | O_CREAT)) && below(path)) { \
      if (fails()) return -1;                                          \
      if (flags & O_CREAT) note_parent(path);                          \
    }                                                                  \
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
    if ((flags & (O_WRONLY | O_RDWR | O_CREAT)) && ours) { \
      if (fails()) return -1;                                          \
      if (flags & O_CREAT) path[0] == '/' ? note_parent(path) : note_fd(at, 1); \
    }                                                                  \
    return real(at, path, flags, mode);                                \
  }
OPENAT(openat)
OPENAT(openat64)
/* Written before it is: an operation that was cut off counts. */
static int broken(int fd) {
  if (!below_fd(fd)) return 0;
  if (fails()) return 1;
  note_fd(fd, 1);
  return 0;
}
static int synced(int fd, int result) {
  if (!result && below_fd(fd)) note_fd(fd, 0);
  return result;
}
ssize_t write(int fd, const void *data, size_t size) {
  REAL(write);
  return broken(fd) ? -1 : real(fd, data, size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
  REAL(pwrite);
  return broken(fd) ? -1 : real(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
  REAL(pwrite64);
  return broken(fd) ? -1 : real(fd, data, size, at);
}
ssize_t writev(int fd, const struct iovec *parts, int n) {
  REAL(writev);
  return broken(fd) ? -1 : real(fd, parts, n);
}
int fsync(int fd) {
  REAL(fsync);
  return below_fd(fd) && fails() ? -1 : synced(fd, real(fd));
}
int fdatasync(int fd) {
  REAL(fdatasync);
  return below_fd(fd) && fails() ? -1 : synced(fd, real(fd));
}
static int moves(const char *a, const char *b) {
  if (!below(a) && !below(b)) return 0;
  if (fails()) return 1;
  note_parent(a);
  note_parent(b);
  return 0;
}
int rename(const char *a, const char *b) {
  REAL(rename);
  return moves(a, b) ? -1 : real(a, b);
}
int renameat(int x, const char *a, int y, const char *b) {
  REAL(renameat);
  if (below(a) || below(b)) return moves(a, b) ? -1 : real(x, a, y, b);
  return x >= 0 && broken(x) ? -1 : real(x, a, y, b);
}
int mkdir(const char *path, mode_t mode) {
  REAL(mkdir);
  if (below(path)) {
    if (fails()) return -1;
    note_parent(path);
  }
  return real(path, mode);
}
int ftruncate(int fd, off_t size) {
  REAL(ftruncate);
  return broken(fd) ? -1 : real(fd, size);
}
