// A delay line: a TCP proxy that holds octets back as a long path would, the same for every system that is measured.
//
//   delay PORT TARGET FILE
//
// FILE holds the round trip in milliseconds; SIGHUP makes it be read again. Each direction delays by half of it, and
// carries 1 Gbit/s with a queue of 1 MB in front, so the path has a rate of its own. A new connection's first octets
// wait a round trip longer: the three-way handshake, which a proxy answers at once, would have taken it.
// One thread, epoll. What is under way is bounded by rate × delay.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, CHUNK = 65536, QUEUE = 1 << 20 };
static const double RATE = 125e6;  // octets a second

struct chunk {
    struct chunk *next;
    uint64_t due;
    size_t start, end;  // end == 0: the end of the stream
    char bytes[];
};

struct side {
    int fd;
    struct pipe *pipe;
    // Octets that come in here and go out at the other side.
    struct chunk *head, *tail;
    int is_reading, has_ended, wants_write, is_connected;
};

struct pipe {
    struct side sides[2];
    uint64_t opened;
    struct pipe *next, *previous;
    int is_dead;
};

static int epoll_fd;
static struct pipe *pipes;
static struct sockaddr_in target;
static volatile sig_atomic_t reload = 1;
static uint64_t round_trip;
static uint64_t line_free[2];  // when each direction's line can take the next octet

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void on_hangup(int number) {
    (void)number;
    reload = 1;
}

static void read_delay(const char *path) {
    double milliseconds = 0;
    FILE *file = fopen(path, "r");
    if (file == NULL || fscanf(file, "%lf", &milliseconds) != 1) fail(path);
    fclose(file);
    round_trip = (uint64_t)(milliseconds * 1e6);
    reload = 0;
}

static void watch(struct side *s) {
    struct epoll_event e = {.data.ptr = s};
    if (s->is_reading) e.events |= EPOLLIN;
    if (s->wants_write || !s->is_connected) e.events |= EPOLLOUT;
    if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, s->fd, &e) != 0) fail("epoll_ctl");
}

static struct side *other(struct side *s) { return &s->pipe->sides[s == &s->pipe->sides[0]]; }

static void add_side(struct pipe *p, int index, int fd, int is_connected) {
    int one = 1;
    p->sides[index] = (struct side){.fd = fd, .pipe = p, .is_reading = 1, .is_connected = is_connected};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event e = {.events = EPOLLIN | (is_connected ? 0 : EPOLLOUT), .data.ptr = &p->sides[index]};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e) != 0) fail("epoll_ctl");
}

static void accept_one(int listener) {
    int near = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (near < 0) return;
    int far = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (far < 0) fail("socket");
    if (connect(far, (struct sockaddr *)&target, sizeof target) != 0 && errno != EINPROGRESS) fail("connect");
    struct pipe *p = calloc(1, sizeof *p);
    if (p == NULL) fail("memory");
    p->opened = now();
    p->next = pipes;
    if (pipes != NULL) pipes->previous = p;
    pipes = p;
    add_side(p, 0, near, 1);
    add_side(p, 1, far, 0);
}

static void die(struct pipe *p) {
    if (p->is_dead) return;
    p->is_dead = 1;
    for (int i = 0; i < 2; i++) {
        close(p->sides[i].fd);
        for (struct chunk *c = p->sides[i].head; c != NULL;) {
            struct chunk *next = c->next;
            free(c);
            c = next;
        }
    }
    if (p->previous != NULL) p->previous->next = p->next;
    else pipes = p->next;
    if (p->next != NULL) p->next->previous = p->previous;
}

static void take_in(struct side *s) {
    static char buffer[CHUNK];
    int direction = s == &s->pipe->sides[1];
    uint64_t t = now();
    if (line_free[direction] > t && (double)(line_free[direction] - t) * RATE / 1e9 > QUEUE) {
        s->is_reading = 0;  // the queue in front of the line is full; the timer of the main loop goes on reading
        watch(s);
        return;
    }
    ssize_t n = recv(s->fd, buffer, sizeof buffer, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n < 0) {
        die(s->pipe);
        return;
    }
    struct chunk *c = malloc(sizeof *c + (size_t)n);
    if (c == NULL) fail("memory");
    *c = (struct chunk){.end = (size_t)n};
    memcpy(c->bytes, buffer, (size_t)n);
    if (line_free[direction] < t) line_free[direction] = t;
    line_free[direction] += (uint64_t)((double)n / RATE * 1e9);
    c->due = line_free[direction] + round_trip / 2;
    if (c->due < s->pipe->opened + round_trip + round_trip / 2) c->due = s->pipe->opened + round_trip + round_trip / 2;
    if (s->tail != NULL && c->due < s->tail->due) c->due = s->tail->due;
    if (s->tail != NULL) s->tail->next = c;
    else s->head = c;
    s->tail = c;
    if (n == 0) {
        s->has_ended = 1;
        s->is_reading = 0;
        watch(s);
    }
}

// Passes on what is due from `s`. Returns when the next octet is due, or UINT64_MAX.
static uint64_t pass_on(struct side *s, uint64_t t) {
    struct side *out = other(s);
    while (s->head != NULL && out->is_connected && !out->wants_write) {
        struct chunk *c = s->head;
        if (c->due > t) return c->due;
        if (c->end == 0) {
            shutdown(out->fd, SHUT_WR);
        } else {
            ssize_t n = send(out->fd, c->bytes + c->start, c->end - c->start, MSG_NOSIGNAL);
            if (n < 0 && errno == EAGAIN) {
                out->wants_write = 1;
                watch(out);
                return UINT64_MAX;
            }
            if (n < 0) {
                die(s->pipe);
                return UINT64_MAX;
            }
            c->start += (size_t)n;
            if (c->start < c->end) continue;
        }
        s->head = c->next;
        if (s->head == NULL) s->tail = NULL;
        free(c);
    }
    if (s->has_ended && out->has_ended && s->head == NULL && out->head == NULL) die(s->pipe);
    return UINT64_MAX;
}

// Passes on everything that is due. Returns when there is something to do again.
static uint64_t turn(void) {
    uint64_t t = now(), wake = UINT64_MAX;
    for (struct pipe *p = pipes, *next; p != NULL; p = next) {
        next = p->next;
        for (int i = 0; i < 2 && !p->is_dead; i++) {
            struct side *s = &p->sides[i];
            if (!s->is_reading && !s->has_ended) {
                uint64_t room = line_free[i] - (uint64_t)(QUEUE / RATE * 0.5e9);
                if (line_free[i] <= t || room <= t) {
                    s->is_reading = 1;
                    watch(s);
                } else if (room < wake) {
                    wake = room;
                }
            }
            uint64_t due = pass_on(s, t);
            if (due < wake) wake = due;
        }
    }
    return wake;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: delay PORT TARGET FILE\n");
        return 2;
    }
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    target = a;
    target.sin_port = htons((uint16_t)atoi(argv[2]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&a, sizeof a) != 0 || listen(listener, 4096) != 0) fail("listen");
    signal(SIGHUP, on_hangup);
    signal(SIGPIPE, SIG_IGN);
    epoll_fd = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &e) != 0) fail("epoll_ctl");
    for (;;) {
        if (reload) read_delay(argv[3]);
        uint64_t wake = turn(), t = now();
        uint64_t wait = wake == UINT64_MAX ? 100000000 : wake > t ? wake - t : 0;
        struct timespec pause = {.tv_nsec = (long)(wait > 100000000 ? 100000000 : wait)};
        struct epoll_event events[EVENTS];
        int n = epoll_pwait2(epoll_fd, events, EVENTS, &pause, NULL);
        for (int i = 0; i < n; i++) {
            struct side *s = events[i].data.ptr;
            if (s == NULL) {
                accept_one(listener);
                continue;
            }
            if (s->pipe->is_dead) continue;
            if (!s->is_connected && (events[i].events & EPOLLOUT)) s->is_connected = 1, watch(s);
            else if (s->wants_write && (events[i].events & EPOLLOUT)) s->wants_write = 0, watch(s);
            if (events[i].events & EPOLLERR) die(s->pipe);
            else if (s->is_reading && (events[i].events & (EPOLLIN | EPOLLHUP))) take_in(s);
        }
        // Pipes that died keep their few octets: an event of this turn may still name them.
    }
}
