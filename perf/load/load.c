// Small-request load: a server, and clients that ask it in different ways. One thread, epoll.
//
//   load serve PORT                               until it is ended
//   load latency PORT CONNECTIONS SECONDS         kept-alive connections, one request outstanding on each
//   load paced PORT CONNECTIONS SECONDS RATE      the same at RATE requests a second, timed from when each was due
//   load connect PORT CONNECTIONS SECONDS         a new connection for every request, CONNECTIONS at a time
//   load bulk PORT COUNT OCTETS                   COUNT requests of OCTETS octets, one after the other
//   load page PORT COUNT                          COUNT pages: a document, then 24 parts of 16 KB over 6 connections
//   load hold PORT CONNECTIONS                    one request on each, then idle until standard input ends
//   load slow PORT CONNECTIONS                    asks for 4 MB on each and reads nothing until standard input ends
//   load serve PORT small, load slow PORT CONNECTIONS small
//                                                 the same with small kernel buffers of their own
//
// SECONDS may be a number of requests instead, written with an n behind it: 2000n. Clients print one line of JSON:
// requests, failures, rate in 1/s, and the 50th and 99th percentile in microseconds; `connect` and `page` are timed
// from the connect call. A request is 64 octets or more: two numbers of 4 octets, its own length and the length of the
// answer, then anything.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE = 64, EVENTS = 256, MAX_DESCRIPTORS = 65536, CHUNK = 65536 };
enum { PAGE_CONNECTIONS = 6, PAGE_PARTS = 24, PAGE_PART = 16384, SLOW_ANSWER = 4 << 20 };

// One histogram bin for each ten microseconds up to ten seconds: percentiles without keeping every sample.
enum { BINS = 1000001, BIN_NANOSECONDS = 10000, FINE_BINS = 100001 };
static uint32_t bins[BINS], fine_bins[FINE_BINS];  // fine: one for each 0.1 microseconds, below 10 milliseconds

struct slot {
    uint64_t started;   // nanoseconds
    uint32_t expected;  // octets of the answer, or of the request at the server
    uint32_t received;  // of these
    uint32_t owed;      // server: octets of the answer to come
    uint32_t answer;    // server: octets of the answer to the request that is arriving
    char head[8];
    int connecting;     // connect has not finished
};
static struct slot slots[MAX_DESCRIPTORS];
static char chunk[CHUNK];
static int epoll_fd;
// Stands for a far end on another machine: what it leaves in kernel buffers must not fill this one's.
static int small_buffers;
enum { SMALL_BUFFER = 8192 };  // the kernel doubles it

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static void watch(int fd, uint32_t events, int operation) {
    struct epoll_event e = {.events = events, .data.fd = fd};
    if (epoll_ctl(epoll_fd, operation, fd, &e) != 0) fail("epoll_ctl");
}

static void no_delay(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static void bound_buffer(int fd, int option) {
    int size = SMALL_BUFFER;
    if (small_buffers) setsockopt(fd, SOL_SOCKET, option, &size, sizeof size);
}

// --- server ----------------------------------------------------------------------------------------------------------

// Sends what is owed as far as the socket takes it. Returns 0 when the connection is dead.
static int pay(int fd) {
    while (slots[fd].owed > 0) {
        size_t part = slots[fd].owed < CHUNK ? slots[fd].owed : CHUNK;
        ssize_t n = send(fd, chunk, part, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            watch(fd, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
            return 1;
        }
        if (n < 0) return 0;
        slots[fd].owed -= (uint32_t)n;
    }
    return 1;
}

// Takes in octets of requests; a request is answered when its last octet is here. Returns 0 for a request that is none.
static int take_requests(struct slot *s, const char *bytes, size_t count) {
    while (count > 0) {
        if (s->received < 8) {
            size_t part = count < 8 - s->received ? count : 8 - s->received;
            memcpy(s->head + s->received, bytes, part);
            s->received += (uint32_t)part;
            bytes += part;
            count -= part;
            if (s->received < 8) return 1;
            memcpy(&s->expected, s->head, 4);
            memcpy(&s->answer, s->head + 4, 4);
            if (s->expected < MESSAGE) return 0;
        }
        size_t part = count < s->expected - s->received ? count : s->expected - s->received;
        s->received += (uint32_t)part;
        bytes += part;
        count -= part;
        if (s->received == s->expected) {
            s->owed += s->answer;
            s->received = 0;
        }
    }
    return 1;
}

static void serve_one(int fd, uint32_t events) {
    static char buffer[4 * CHUNK];
    if (events & EPOLLOUT) {
        watch(fd, EPOLLIN, EPOLL_CTL_MOD);
        if (!pay(fd)) {
            close(fd);
            return;
        }
    }
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    ssize_t n = recv(fd, buffer, sizeof buffer, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0 || !take_requests(&slots[fd], buffer, (size_t)n) || !pay(fd)) close(fd);
}

static void serve(int port) {
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in a = loopback(port);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&a, sizeof a) != 0) fail("bind");
    no_delay(listener);  // accepted sockets inherit it
    bound_buffer(listener, SO_SNDBUF);
    if (listen(listener, 4096) != 0) fail("listen");
    watch(listener, EPOLLIN, EPOLL_CTL_ADD);
    for (;;) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd != listener) {
                serve_one(fd, events[i].events);
                continue;
            }
            while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                if (fd >= MAX_DESCRIPTORS) {
                    close(fd);
                    continue;
                }
                slots[fd] = (struct slot){0};
                watch(fd, EPOLLIN, EPOLL_CTL_ADD);
            }
        }
    }
}

// --- clients ---------------------------------------------------------------------------------------------------------

static uint64_t requests, failures;
static struct sockaddr_in target;
static uint32_t answer_size = MESSAGE;

static void count(uint64_t nanoseconds) {
    uint64_t bin = nanoseconds / BIN_NANOSECONDS;
    bins[bin < BINS ? bin : BINS - 1]++;
    if (nanoseconds / 100 < FINE_BINS) fine_bins[nanoseconds / 100]++;
    requests++;
}

static double percentile(double share) {
    uint64_t wanted = (uint64_t)(share * (double)requests), seen = 0;
    for (int i = 0; i < FINE_BINS; i++) {
        seen += fine_bins[i];
        if (seen > wanted) return i / 10.0;
    }
    seen = 0;
    for (int i = 0; i < BINS; i++) {
        seen += bins[i];
        if (seen > wanted) return i * (BIN_NANOSECONDS / 1000.0);
    }
    return BINS * (BIN_NANOSECONDS / 1000.0);
}

static void report(double seconds) {
    printf("{\"requests\": %llu, \"failures\": %llu, \"rate\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
           (unsigned long long)requests, (unsigned long long)failures, (double)requests / seconds, percentile(0.5),
           percentile(0.99));
}

static int ask(int fd, uint32_t answer) {
    char message[MESSAGE] = {0};
    uint32_t numbers[2] = {MESSAGE, answer};
    memcpy(message, numbers, sizeof numbers);
    slots[fd].expected = answer;
    slots[fd].received = 0;
    return send(fd, message, MESSAGE, MSG_NOSIGNAL) == MESSAGE;
}

// Watched once for everything, edge-triggered: the fewer system calls the generator makes, the more of the machine is
// left to what is measured.
static int dial(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0 || fd >= MAX_DESCRIPTORS) fail("socket");
    bound_buffer(fd, SO_RCVBUF);
    slots[fd] = (struct slot){.started = now(), .connecting = 1};
    if (connect(fd, (struct sockaddr *)&target, sizeof target) != 0 && errno != EINPROGRESS) fail("connect");
    watch(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, EPOLL_CTL_ADD);
    return fd;
}

// The connect has ended: 0 when it failed.
static int established(int fd, uint32_t events) {
    if (events & (EPOLLERR | EPOLLHUP)) return 0;
    slots[fd].connecting = 0;
    return 1;
}

// Takes in what came; returns 1 for a whole answer, 0 for not yet, -1 for a failure.
static int take(int fd) {
    char buffer[CHUNK];
    uint32_t left = slots[fd].expected - slots[fd].received;
    ssize_t n = recv(fd, buffer, left < CHUNK ? left : CHUNK, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (n <= 0) return -1;
    slots[fd].received += (uint32_t)n;
    return slots[fd].received == slots[fd].expected;
}

static int failed(int fd) {
    failures++;
    close(fd);
    // A dead target must not turn this into a busy loop of refused connections.
    if (failures > 10000) {
        fprintf(stderr, "more than 10000 failures; giving up\n");
        exit(1);
    }
    return dial();
}

static void run_client(int connections, double seconds, uint64_t limit, int reconnect) {
    for (int i = 0; i < connections; i++) dial();
    uint64_t start = now(), end = start + (uint64_t)(seconds * 1e9);
    while (now() < end && requests < limit) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(epoll_fd, events, EVENTS, 100);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (slots[fd].connecting) {
                // Kept-alive connections are timed for each request, without their connect.
                if (!established(fd, events[i].events) || !ask(fd, answer_size)) {
                    failed(fd);
                    continue;
                }
                if (!reconnect) slots[fd].started = now();
                if (!(events[i].events & EPOLLIN)) continue;  // otherwise its end has come already
            }
            int got = take(fd);
            if (got < 0) failed(fd);
            if (got <= 0) continue;
            uint64_t t = now();
            count(t - slots[fd].started);
            if (reconnect) {
                close(fd);
                dial();
            } else {
                slots[fd].started = t;
                if (!ask(fd, answer_size)) failed(fd);
            }
        }
    }
    report((double)(now() - start) / 1e9);
}

// Requests are due at fixed times, whether the answers before them have come or not; one that finds no free connection
// waits, and its waiting counts.
static void run_paced(int connections, double seconds, double rate) {
    int idle[MAX_DESCRIPTORS], idle_count = 0;
    for (int i = 0; i < connections; i++) dial();
    uint64_t start = now() + 200000000, end = start + (uint64_t)(seconds * 1e9), sent = 0;
    for (;;) {
        uint64_t t = now();
        if (t >= end) break;
        uint64_t due = start + (uint64_t)((double)sent * 1e9 / rate);
        while (idle_count > 0 && due <= t) {
            int fd = idle[--idle_count];
            slots[fd].started = due;
            if (!ask(fd, answer_size)) failed(fd);
            due = start + (uint64_t)((double)++sent * 1e9 / rate);
        }
        int64_t wait = idle_count > 0 ? (int64_t)(due - t) : 100000000;
        struct timespec pause = {.tv_nsec = wait < 0 ? 0 : wait > 100000000 ? 100000000 : wait};
        struct epoll_event events[EVENTS];
        int n = epoll_pwait2(epoll_fd, events, EVENTS, &pause, NULL);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (slots[fd].connecting) {
                if (established(fd, events[i].events)) idle[idle_count++] = fd;
                else failed(fd);
                continue;
            }
            int got = take(fd);
            if (got < 0) failed(fd);
            if (got <= 0) continue;
            count(now() - slots[fd].started);
            idle[idle_count++] = fd;
        }
    }
    report(seconds);
}

// --- blocking clients ------------------------------------------------------------------------------------------------

static int dial_blocking(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&target, sizeof target) != 0) fail("connect");
    no_delay(fd);
    return fd;
}

static void read_answer(int fd, uint32_t size) {
    char buffer[CHUNK];
    while (size > 0) {
        ssize_t n = recv(fd, buffer, size < CHUNK ? size : CHUNK, 0);
        if (n <= 0) fail("the answer");
        size -= (uint32_t)n;
    }
}

static void run_bulk(uint64_t times, uint32_t octets) {
    char *request = calloc(1, octets);
    uint32_t numbers[2] = {octets, MESSAGE};
    if (request == NULL || octets < MESSAGE) fail("octets");
    memcpy(request, numbers, sizeof numbers);
    int fd = dial_blocking();
    uint64_t start = now();
    for (uint64_t i = 0; i < times; i++) {
        uint64_t t = now();
        for (uint32_t sent = 0; sent < octets;) {
            ssize_t n = send(fd, request + sent, octets - sent, MSG_NOSIGNAL);
            if (n <= 0) fail("send");
            sent += (uint32_t)n;
        }
        read_answer(fd, MESSAGE);
        count(now() - t);
    }
    report((double)(now() - start) / 1e9);
}

// The document on a new connection, then the parts: each connection asks for its next one when it has the last.
static void run_page(uint64_t pages) {
    uint64_t start = now();
    for (uint64_t page = 0; page < pages; page++) {
        uint64_t t = now();
        int document = dial_blocking(), asked = 0, done = 0;
        if (!ask(document, PAGE_PART)) fail("the document");
        read_answer(document, PAGE_PART);
        watch(document, EPOLLIN, EPOLL_CTL_ADD);
        if (!ask(document, PAGE_PART)) fail("a part");
        for (asked = 1; asked < PAGE_CONNECTIONS; asked++) dial();
        int open[PAGE_CONNECTIONS], open_count = 0;
        while (done < PAGE_PARTS) {
            struct epoll_event events[EVENTS];
            int n = epoll_wait(epoll_fd, events, EVENTS, 60000);
            if (n <= 0) fail("a part of the page");
            for (int i = 0; i < n; i++) {
                int fd = events[i].data.fd;
                if (slots[fd].connecting) {
                    if (!established(fd, events[i].events) || !ask(fd, PAGE_PART)) fail("a part");
                    continue;
                }
                int got = take(fd);
                if (got < 0) fail("a part");
                if (got == 0) continue;
                done++;
                if (asked < PAGE_PARTS) {
                    asked++;
                    if (!ask(fd, PAGE_PART)) fail("a part");
                } else {
                    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
                    open[open_count++] = fd;
                }
            }
        }
        count(now() - t);
        while (open_count > 0) close(open[--open_count]);
    }
    report((double)(now() - start) / 1e9);
}

// Opens many connections, 64 at a time, and keeps them. `slow` ones ask for much and read nothing.
static void run_hold(int connections, int slow) {
    int opened = 0, ready = 0;
    char end;
    uint64_t deadline = now() + 120000000000u;
    while (ready + (int)failures < connections && now() < deadline) {
        while (opened < connections && opened - ready - (int)failures < 64) {
            dial();
            opened++;
        }
        struct epoll_event events[EVENTS];
        int n = epoll_wait(epoll_fd, events, EVENTS, 1000);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd, bad = 0;
            if (slots[fd].connecting) {
                bad = !established(fd, events[i].events) || !ask(fd, slow ? SLOW_ANSWER : MESSAGE);
            } else {
                // A slow reader has taken its first octets: the stream is established.
                int got = slow ? (recv(fd, chunk, 1, 0) == 1 ? 1 : -1) : take(fd);
                bad = got < 0;
                if (got > 0) {
                    ready++;
                    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
                }
            }
            if (bad) {
                failures++;
                close(fd);
            }
        }
    }
    printf("{\"open\": %d, \"failures\": %llu}\n", ready, (unsigned long long)failures);
    fflush(stdout);
    while (read(0, &end, 1) > 0) continue;
}

int main(int argc, char **argv) {
    struct rlimit limit = {MAX_DESCRIPTORS, MAX_DESCRIPTORS};
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    epoll_fd = epoll_create1(0);
    const char *kind = argc > 2 ? argv[1] : "";
    if (argc > 3 && strcmp(argv[argc - 1], "small") == 0) {
        small_buffers = 1;
        argc--;
    }
    if (argc > 2) target = loopback(atoi(argv[2]));
    if (argc == 3 && strcmp(kind, "serve") == 0) serve(atoi(argv[2]));
    if (argc == 5 && (strcmp(kind, "latency") == 0 || strcmp(kind, "connect") == 0)) {
        int counted = strchr(argv[4], 'n') != NULL;
        run_client(atoi(argv[3]), counted ? 3600 : atof(argv[4]), counted ? strtoull(argv[4], NULL, 10) : UINT64_MAX,
                   kind[0] == 'c');
    } else if (argc == 6 && strcmp(kind, "paced") == 0) {
        run_paced(atoi(argv[3]), atof(argv[4]), atof(argv[5]));
    } else if (argc == 5 && strcmp(kind, "bulk") == 0) {
        run_bulk(strtoull(argv[3], NULL, 10), (uint32_t)strtoul(argv[4], NULL, 10));
    } else if (argc == 4 && strcmp(kind, "page") == 0) {
        run_page(strtoull(argv[3], NULL, 10));
    } else if (argc == 4 && (strcmp(kind, "hold") == 0 || strcmp(kind, "slow") == 0)) {
        run_hold(atoi(argv[3]), kind[0] == 's');
    } else {
        fprintf(stderr, "usage: see the head of perf/load/load.c\n");
        return 2;
    }
    return 0;
}
