// Small-request load: a server that answers 64 octets with 64 octets, and two kinds of client. One thread, epoll.
//
//   load serve PORT                          until it is ended
//   load latency PORT CONNECTIONS SECONDS    kept-alive connections, one request outstanding on each
//   load connect PORT CONNECTIONS SECONDS    a new connection for every request, CONNECTIONS at a time
//
// SECONDS may be a number of requests instead, written with an n behind it: 2000n.
//
// Clients print one line of JSON: requests, failures, rate in 1/s, and the 50th and 99th percentile in microseconds,
// for `connect` from the connect call to the last octet of the answer.
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
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE = 64, EVENTS = 256, MAX_DESCRIPTORS = 65536 };

// One histogram bin for each microsecond up to a second: exact percentiles without keeping every sample.
enum { BINS = 1000001 };
static uint32_t bins[BINS];

struct slot {
    uint64_t started;  // nanoseconds
    int received;      // octets of the answer so far
    int connecting;    // connect has not finished
};
static struct slot slots[MAX_DESCRIPTORS];
static int epoll_fd;

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

// --- server ----------------------------------------------------------------------------------------------------------

static void answer(int fd) {
    char buffer[MESSAGE * 64];
    ssize_t n = recv(fd, buffer, sizeof buffer, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        close(fd);
        return;
    }
    // A message that came in two pieces is answered when its last octet is here.
    slots[fd].received += (int)n;
    int whole = slots[fd].received / MESSAGE * MESSAGE;
    slots[fd].received -= whole;
    if (whole > 0 && send(fd, buffer, (size_t)(whole < (int)sizeof buffer ? whole : (int)sizeof buffer),
                          MSG_NOSIGNAL) < 0) {
        close(fd);
    }
}

static void serve(int port) {
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in a = loopback(port);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&a, sizeof a) != 0) fail("bind");
    if (listen(listener, 4096) != 0) fail("listen");
    watch(listener, EPOLLIN, EPOLL_CTL_ADD);
    for (;;) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd != listener) {
                answer(fd);
                continue;
            }
            while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                if (fd >= MAX_DESCRIPTORS) {
                    close(fd);
                    continue;
                }
                slots[fd] = (struct slot){0};
                no_delay(fd);
                watch(fd, EPOLLIN, EPOLL_CTL_ADD);
            }
        }
    }
}

// --- clients ---------------------------------------------------------------------------------------------------------

static uint64_t requests, failures;
static struct sockaddr_in target;

static void count(uint64_t nanoseconds) {
    uint64_t microseconds = nanoseconds / 1000;
    bins[microseconds < BINS ? microseconds : BINS - 1]++;
    requests++;
}

static double percentile(double share) {
    uint64_t wanted = (uint64_t)(share * (double)requests), seen = 0;
    for (int i = 0; i < BINS; i++) {
        seen += bins[i];
        if (seen > wanted) return i;
    }
    return BINS - 1;
}

static int ask(int fd) {
    static const char message[MESSAGE] = "request";
    return send(fd, message, MESSAGE, MSG_NOSIGNAL) == MESSAGE;
}

static void dial(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0 || fd >= MAX_DESCRIPTORS) fail("socket");
    no_delay(fd);
    slots[fd] = (struct slot){.started = now(), .connecting = 1};
    if (connect(fd, (struct sockaddr *)&target, sizeof target) != 0 && errno != EINPROGRESS) fail("connect");
    watch(fd, EPOLLOUT, EPOLL_CTL_ADD);
}

// The connection is there: ask. Returns 0 when it failed.
static int established(int fd) {
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0 || !ask(fd)) return 0;
    slots[fd].connecting = 0;
    watch(fd, EPOLLIN, EPOLL_CTL_MOD);
    return 1;
}

// Takes in what came; returns 1 for a whole answer, 0 for not yet, -1 for a failure.
static int take(int fd) {
    char buffer[MESSAGE];
    ssize_t n = recv(fd, buffer, (size_t)(MESSAGE - slots[fd].received), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (n <= 0) return -1;
    slots[fd].received += (int)n;
    return slots[fd].received == MESSAGE;
}

static void replace(int fd, int failed) {
    failures += (uint64_t)failed;
    close(fd);
    // A dead target must not turn this into a busy loop of refused connections.
    if (failures > 10000) {
        fprintf(stderr, "more than 10000 failures; giving up\n");
        exit(1);
    }
    dial();
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
                if (!established(fd)) replace(fd, 1);
                // Kept-alive connections are timed for each request, without their connect.
                else if (!reconnect) slots[fd].started = now();
                continue;
            }
            int got = take(fd);
            if (got < 0) replace(fd, 1);
            if (got <= 0) continue;
            uint64_t t = now();
            count(t - slots[fd].started);
            if (reconnect) {
                replace(fd, 0);
            } else {
                slots[fd].received = 0;
                slots[fd].started = t;
                if (!ask(fd)) replace(fd, 1);
            }
        }
    }
    double took = (double)(now() - start) / 1e9;
    printf("{\"requests\": %llu, \"failures\": %llu, \"rate\": %.1f, \"p50_us\": %.0f, \"p99_us\": %.0f}\n",
           (unsigned long long)requests, (unsigned long long)failures, (double)requests / took, percentile(0.5),
           percentile(0.99));
}

int main(int argc, char **argv) {
    epoll_fd = epoll_create1(0);
    if (argc == 3 && strcmp(argv[1], "serve") == 0) serve(atoi(argv[2]));
    if (argc == 5 && (strcmp(argv[1], "latency") == 0 || strcmp(argv[1], "connect") == 0)) {
        target = loopback(atoi(argv[2]));
        int counted = strchr(argv[4], 'n') != NULL;
        run_client(atoi(argv[3]), counted ? 3600 : atof(argv[4]), counted ? strtoull(argv[4], NULL, 10) : UINT64_MAX,
                   argv[1][0] == 'c');
        return 0;
    }
    fprintf(stderr, "usage: load serve PORT | load latency|connect PORT CONNECTIONS SECONDS\n");
    return 2;
}
