// Counts a program's heap allocations, copies and system calls, for the gates: loaded with LD_PRELOAD.
//
// The counters lie in the file that CALLS_FILE names, 8 octets each in the order of `enum counter`, and can be read
// while the program runs. Only calls that go through the C library's functions are seen; the router makes no others
// where it carries data.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

// perf/gates.py has the same order.
enum counter {
    ALLOCATIONS, ALLOCATED_OCTETS, COPIED_OCTETS, READ, WRITE, WRITEV, EPOLL_WAIT, EPOLL_CTL, ACCEPT, CLOSE, SHUTDOWN,
    SETSOCKOPT, GETSOCKOPT, SOCKET, CONNECT, COUNTERS
};

static uint64_t before_start[COUNTERS];
static uint64_t *counters = before_start;

static void add(enum counter which, uint64_t amount) {
    __atomic_fetch_add(&counters[which], amount, __ATOMIC_RELAXED);
}

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("CALLS_FILE");
    if (path == NULL) return;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof before_start) != 0) return;
    void *shared = mmap(NULL, sizeof before_start, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shared != MAP_FAILED) counters = shared;
    syscall(SYS_close, fd);
}

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static void allocated(size_t count) {
    add(ALLOCATIONS, 1);
    add(ALLOCATED_OCTETS, count);
}

void *malloc(size_t count) {
    allocated(count);
    return __libc_malloc(count);
}

void *calloc(size_t items, size_t size) {
    allocated(items * size);
    return __libc_calloc(items, size);
}

void *realloc(void *old, size_t count) {
    allocated(count);
    return __libc_realloc(old, count);
}

int posix_memalign(void **result, size_t alignment, size_t count) {
    allocated(count);
    *result = __libc_memalign(alignment, count);
    return *result == NULL ? 12 : 0;
}

void *aligned_alloc(size_t alignment, size_t count) {
    allocated(count);
    return __libc_memalign(alignment, count);
}

// Copies of payload; shorter ones are heads and fields.
enum { SHORTEST_COPY = 256 };

static void copy_up(void *to, const void *from, size_t count) {
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

void *memcpy(void *restrict to, const void *restrict from, size_t count) {
    if (count >= SHORTEST_COPY) add(COPIED_OCTETS, count);
    copy_up(to, from, count);
    return to;
}

void *memmove(void *to, const void *from, size_t count) {
    if (count >= SHORTEST_COPY) add(COPIED_OCTETS, count);
    if ((uintptr_t)to - (uintptr_t)from >= count) {
        copy_up(to, from, count);
    } else {
        char *target = to;
        const volatile char *source = from;  // volatile: the compiler must not make a memmove of it
        while (count-- > 0) target[count] = source[count];
    }
    return to;
}

#define COUNTED(counter, result, name, number, parameters, ...) \
    result name parameters {                                    \
        add(counter, 1);                                        \
        return (result)syscall(number, __VA_ARGS__);            \
    }

COUNTED(READ, ssize_t, read, SYS_read, (int fd, void *buffer, size_t count), fd, buffer, count)
COUNTED(WRITE, ssize_t, write, SYS_write, (int fd, const void *buffer, size_t count), fd, buffer, count)
COUNTED(WRITEV, ssize_t, writev, SYS_writev, (int fd, const struct iovec *parts, int count), fd, parts, count)
// A look that neither sleeps nor finds anything is not counted: how many there are is a matter of time.
int epoll_wait(int fd, struct epoll_event *events, int maximum, int wait) {
    int found = (int)syscall(SYS_epoll_wait, fd, events, maximum, wait);
    if (wait != 0 || found != 0) add(EPOLL_WAIT, 1);
    return found;
}
COUNTED(EPOLL_CTL, int, epoll_ctl, SYS_epoll_ctl, (int fd, int operation, int what, struct epoll_event *event), fd,
        operation, what, event)
COUNTED(ACCEPT, int, accept4, SYS_accept4, (int fd, struct sockaddr *address, socklen_t *length, int flags), fd,
        address, length, flags)
COUNTED(CLOSE, int, close, SYS_close, (int fd), fd)
COUNTED(SHUTDOWN, int, shutdown, SYS_shutdown, (int fd, int how), fd, how)
COUNTED(SETSOCKOPT, int, setsockopt, SYS_setsockopt,
        (int fd, int level, int option, const void *value, socklen_t length), fd, level, option, value, length)
COUNTED(GETSOCKOPT, int, getsockopt, SYS_getsockopt, (int fd, int level, int option, void *value, socklen_t *length),
        fd, level, option, value, length)
COUNTED(SOCKET, int, socket, SYS_socket, (int domain, int type, int protocol), domain, type, protocol)
COUNTED(CONNECT, int, connect, SYS_connect, (int fd, const struct sockaddr *address, socklen_t length), fd, address,
        length)
