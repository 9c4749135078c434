/* File operations of a process and its children below a folder: counted, and one of them made to fail, or to be the last.
 *
 * Preloaded before the C library (LD_PRELOAD), so that writes of GDAL, torch, Arrow and Rust are met like Python's own.
 * Counted is what changes the disk: a file opened to write, each write to it, renaming, removing, folders, links, flushing.
 * A file opened to read is counted where `reads` is asked for. What happens at an operation happens before it, except that
 * of a write half the bytes are written first. The counter is shared with all children forked from here. */
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
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT, FAIL_ONCE, FAIL_ON, KILL, SIGNAL_TWICE, PAUSE };

struct plan {
  char root[PATH_MAX];
  int action, code, reads, paused;
  pid_t owner;
  long at;
  _Atomic long seen;
};

#define DESCRIPTORS 65536
static struct plan *plan;
static _Atomic char watched[DESCRIPTORS];
static _Thread_local int inside;

static void *resolve(void **real, const char *name) {
  if (!*real) *real = dlsym(RTLD_NEXT, name);
  return *real;
}
#define REAL(name) ((__typeof__(real_##name))resolve((void **)&real_##name, #name))
#define DECLARE(type, name, ...) static type (*real_##name)(__VA_ARGS__)

__attribute__((constructor)) static void begin(void) {
  plan = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

/* Called from Python by ctypes. */
void faults_plan(const char *root, long at, int action, int code, int reads) {
  /* a plan of this process and the children it will have, apart from that of the process it was forked from */
  begin();
  memset((void *)watched, 0, sizeof watched);
  strncpy(plan->root, root, PATH_MAX - 1);
  plan->at = at, plan->action = action, plan->code = code, plan->reads = reads;
  plan->owner = getpid();
  plan->seen = plan->paused = 0;
}

long faults_seen(void) { return plan->seen; }

static int below(const char *path) {
  size_t length = strlen(plan->root);
  return length && !strncmp(path, plan->root, length) && (path[length] == '/' || !path[length]);
}

static int is_below(int folder, const char *path) {
  if (!plan || !plan->root[0] || !path || inside) return 0;
  if (path[0] == '/') return below(path);
  char link[64], whole[PATH_MAX];
  ssize_t length;
  if (folder == AT_FDCWD) strcpy(link, "/proc/self/cwd");
  else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
  if ((length = readlink(link, whole, PATH_MAX - 1)) < 0) return 0;
  snprintf(whole + length, PATH_MAX - length, "/%s", path);
  return below(whole);
}

static int is_watched(int descriptor) {
  return plan && plan->root[0] && !inside && descriptor >= 0 && descriptor < DESCRIPTORS && watched[descriptor];
}

static int watch(int descriptor, int yes) {
  if (descriptor >= 0 && descriptor < DESCRIPTORS) watched[descriptor] = (char)yes;
  return descriptor;
}

/* Counts an operation; true where it has to fail, with errno set. `half` does half of a write. */
static int meet(void (*half)(void *), void *given, int makes_room) {
  long place = plan->seen++;
  int now = place == plan->at;
  if (place < plan->at || plan->action == COUNT) return 0;
  inside = 1;
  if (plan->action == KILL) {
    if (half) half(given);
    kill(getpid(), SIGKILL);
    for (;;) pause();
  }
  int fails = (plan->action == FAIL_ONCE && now) || (plan->action == FAIL_ON && !(plan->code == ENOSPC && makes_room));
  if (fails && half && now) half(given);
  if (plan->action == SIGNAL_TWICE && place <= plan->at + 1) kill(getpid(), plan->code);
  /* not a process that it started, which nobody waits for to stop */
  if (plan->action == PAUSE && !plan->paused && getpid() == plan->owner) {
    plan->paused = 1;
    raise(SIGSTOP);
  }
  inside = 0;
  if (fails) errno = plan->code;
  return fails;
}

static int changes(int flags) { return (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC); }

static int met_at_opening(int folder, const char *path, int flags) {
  return is_below(folder, path) && (changes(flags) || plan->reads) && meet(NULL, NULL, 0);
}

#define OPEN(name)                                                                        \
  DECLARE(int, name, const char *, int, ...);                                             \
  int name(const char *path, int flags, ...) {                                            \
    va_list rest;                                                                         \
    va_start(rest, flags);                                                                \
    int mode = va_arg(rest, int);                                                         \
    va_end(rest);                                                                         \
    if (met_at_opening(AT_FDCWD, path, flags)) return -1;                                 \
    int opened = REAL(name)(path, flags, mode);                                           \
    return watch(opened, is_below(AT_FDCWD, path) && changes(flags));                     \
  }
OPEN(open) OPEN(open64)

#define OPENAT(name)                                                                      \
  DECLARE(int, name, int, const char *, int, ...);                                        \
  int name(int folder, const char *path, int flags, ...) {                                \
    va_list rest;                                                                         \
    va_start(rest, flags);                                                                \
    int mode = va_arg(rest, int);                                                         \
    va_end(rest);                                                                         \
    if (met_at_opening(folder, path, flags)) return -1;                                   \
    int opened = REAL(name)(folder, path, flags, mode);                                   \
    return watch(opened, is_below(folder, path) && changes(flags));                       \
  }
OPENAT(openat) OPENAT(openat64)

#define FOPEN(name)                                                                       \
  DECLARE(FILE *, name, const char *, const char *);                                      \
  FILE *name(const char *path, const char *mode) {                                        \
    int flags = strpbrk(mode, "wa+") ? O_RDWR : O_RDONLY;                                 \
    if (met_at_opening(AT_FDCWD, path, flags)) return NULL;                               \
    FILE *file = REAL(name)(path, mode);                                                  \
    if (file) watch(fileno(file), is_below(AT_FDCWD, path) && flags == O_RDWR);           \
    return file;                                                                          \
  }
FOPEN(fopen) FOPEN(fopen64)

DECLARE(int, close, int);
int close(int descriptor) {
  watch(descriptor, 0);
  return REAL(close)(descriptor);
}

DECLARE(int, fclose, FILE *);
int fclose(FILE *file) {
  int descriptor = fileno(file), failed = REAL(fclose)(file);
  watch(descriptor, 0);
  return failed;
}

struct write { int descriptor; const void *data; size_t size; off64_t place; FILE *file; };

DECLARE(ssize_t, write, int, const void *, size_t);
DECLARE(ssize_t, pwrite64, int, const void *, size_t, off64_t);
DECLARE(size_t, fwrite, const void *, size_t, size_t, FILE *);

static void half_write(void *given) {
  struct write *asked = given;
  ssize_t done = asked->place < 0 ? REAL(write)(asked->descriptor, asked->data, asked->size / 2)
                                  : REAL(pwrite64)(asked->descriptor, asked->data, asked->size / 2, asked->place);
  (void)done;
}

static void half_fwrite(void *given) {
  struct write *asked = given;
  size_t done = REAL(fwrite)(asked->data, 1, asked->size / 2, asked->file);
  (void)done;
  fflush(asked->file);
}

ssize_t write(int descriptor, const void *data, size_t size) {
  struct write asked = {descriptor, data, size, -1, NULL};
  if (is_watched(descriptor) && meet(half_write, &asked, 0)) return -1;
  return REAL(write)(descriptor, data, size);
}

#define PWRITE(name, offset)                                                              \
  DECLARE(ssize_t, name, int, const void *, size_t, offset);                              \
  ssize_t name(int descriptor, const void *data, size_t size, offset place) {             \
    struct write asked = {descriptor, data, size, place, NULL};                           \
    if (is_watched(descriptor) && meet(half_write, &asked, 0)) return -1;                 \
    return REAL(name)(descriptor, data, size, place);                                     \
  }
PWRITE(pwrite, off_t) PWRITE(pwrite64, off64_t)

size_t fwrite(const void *data, size_t size, size_t count, FILE *file) {
  struct write asked = {-1, data, size * count, -1, file};
  if (is_watched(fileno(file)) && meet(half_fwrite, &asked, 0)) return 0;
  return REAL(fwrite)(data, size, count, file);
}

/* An operation on a descriptor, and one on a path: nothing of it is done where it fails. */
#define ON_DESCRIPTOR(type, name, descriptor, makes_room, declared, ...)                  \
  DECLARE(type, name, declared);                                                          \
  type name(declared) {                                                                   \
    if (is_watched(descriptor) && meet(NULL, NULL, makes_room)) return -1;                \
    return REAL(name)(__VA_ARGS__);                                                       \
  }
#define ON_PATH(name, folder, path, makes_room, declared, ...)                            \
  DECLARE(int, name, declared);                                                           \
  int name(declared) {                                                                    \
    if (is_below(folder, path) && meet(NULL, NULL, makes_room)) return -1;                \
    return REAL(name)(__VA_ARGS__);                                                       \
  }
#define _(...) __VA_ARGS__

ON_DESCRIPTOR(ssize_t, writev, d, 0, _(int d, const struct iovec *v, int n), d, v, n)
ON_DESCRIPTOR(ssize_t, sendfile, d, 0, _(int d, int from, off_t *at, size_t n), d, from, at, n)
ON_DESCRIPTOR(ssize_t, sendfile64, d, 0, _(int d, int from, off64_t *at, size_t n), d, from, at, n)
ON_DESCRIPTOR(int, ftruncate, d, 1, _(int d, off_t n), d, n)
ON_DESCRIPTOR(int, ftruncate64, d, 1, _(int d, off64_t n), d, n)
ON_DESCRIPTOR(int, fdatasync, d, 0, _(int d), d)

/* Flushed through a descriptor that is open to read, and folders too, so asked by name. */
int fsync(int descriptor) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t length = readlink(link, path, PATH_MAX - 1);
  if (length > 0) path[length] = 0;
  if (length > 0 && is_below(AT_FDCWD, path) && meet(NULL, NULL, 0)) return -1;
  return 0; /* no attack cuts the power, and flushing takes 10 ms */
}

ON_PATH(rename, AT_FDCWD, to, 1, _(const char *from, const char *to), from, to)
ON_PATH(renameat, e, to, 1, _(int d, const char *from, int e, const char *to), d, from, e, to)
ON_PATH(unlink, AT_FDCWD, path, 1, _(const char *path), path)
ON_PATH(unlinkat, d, path, 1, _(int d, const char *path, int flags), d, path, flags)
ON_PATH(rmdir, AT_FDCWD, path, 1, _(const char *path), path)
ON_PATH(mkdir, AT_FDCWD, path, 0, _(const char *path, mode_t mode), path, mode)
ON_PATH(mkdirat, d, path, 0, _(int d, const char *path, mode_t mode), d, path, mode)
ON_PATH(link, AT_FDCWD, to, 0, _(const char *from, const char *to), from, to)
ON_PATH(symlink, AT_FDCWD, to, 0, _(const char *from, const char *to), from, to)
