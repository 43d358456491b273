/* Makes one system call of a process fail: the n-th write, sync, rename, link or removal below one folder.
   Preloaded, so that the database's and the object store's own calls are met too. See tests/faults/__main__.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_int calls, at = -1, code;
static char root[4096], what[64];

void fault_arm(const char *folder, int n, int error) {
  strncpy(root, folder, sizeof root - 1);
  calls = 0, code = error, what[0] = 0, at = n;
}
int fault_disarm(void) { at = -1, root[0] = 0; return calls; }
const char *fault_what(void) { return what; }

static int fails(const char *name, const char *path) {
  if (!root[0] || strncmp(path, root, strlen(root))) return 0;
  if (atomic_fetch_add(&calls, 1) != at) return 0;
  const char *last = strrchr(path, '/');
  snprintf(what, sizeof what, "%s %.40s", name, last ? last + 1 : path);
  errno = code;
  return 1;
}
static int fails_fd(const char *name, int fd) {
  char link[64], path[4096];
  if (!root[0]) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return fails(name, path);
}
#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *b, size_t n) { REAL(write); return fails_fd("write", fd) ? -1 : real(fd, b, n); }
ssize_t pwrite(int fd, const void *b, size_t n, off_t o) { REAL(pwrite); return fails_fd("pwrite", fd) ? -1 : real(fd, b, n, o); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t o) { REAL(pwrite64); return fails_fd("pwrite", fd) ? -1 : real(fd, b, n, o); }
int fsync(int fd) { REAL(fsync); return fails_fd("fsync", fd) ? -1 : real(fd); }
int fdatasync(int fd) { REAL(fdatasync); return fails_fd("fdatasync", fd) ? -1 : real(fd); }
int rename(const char *a, const char *b) { REAL(rename); return fails("rename", a) ? -1 : real(a, b); }
int link(const char *a, const char *b) { REAL(link); return fails("link", a) ? -1 : real(a, b); }
int linkat(int x, const char *a, int y, const char *b, int f) { REAL(linkat); return fails("link", a) ? -1 : real(x, a, y, b, f); }
int unlink(const char *a) { REAL(unlink); return fails("unlink", a) ? -1 : real(a); }
