/*
 * bench-delay MS HOST:PORT FILE: a connection that is long. Listens on 127.0.0.1, writes its port
 * to FILE, and passes the bytes of every connection on to HOST:PORT and back, half of MS
 * milliseconds later in each direction: as many bytes as are sent may be under way, so that only
 * the time they take grows and not the time between them. A connection is made in one round trip
 * more.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PIECE (256 * 1024)
/* Under way in one direction: 4 GB/s for 15 ms. Only to bound memory. */
#define UNDER_WAY_MAX (64 * 1024 * 1024)
#define PIPES_MAX 1024
#define NS 1000000000LL

typedef struct Piece {
    struct Piece *next;
    int64_t due; /* ns */
    size_t len, done;
    uint8_t data[];
} Piece;

/* One direction of a connection. */
typedef struct Pipe {
    int from, to;
    struct Pipe *back;
    int64_t open_at; /* nothing is sent before */
    Piece *first, **last;
    size_t under_way;
    int ended; /* nothing more comes */
    int shut;  /* and the other side has been told */
} Pipe;

static Pipe *pipes[PIPES_MAX];
static size_t n_pipes;
static int64_t delay; /* one way, ns */
static struct sockaddr_in server;

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * NS + t.tv_nsec;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* --- pipes --- */

static Pipe *pipe_new(int from, int to, int64_t open_at)
{
    Pipe *p = calloc(1, sizeof(*p));
    if (!p)
        die("calloc");
    p->from = from;
    p->to = to;
    p->open_at = open_at;
    p->last = &p->first;
    return p;
}

static void socket_prepare(int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void connection_accept(int listener)
{
    int client = accept(listener, NULL, NULL);
    int to = client < 0 ? -1 : socket(AF_INET, SOCK_STREAM, 0);
    if (client < 0)
        return;
    if (to < 0 || n_pipes + 2 > PIPES_MAX ||
        connect(to, (struct sockaddr *)&server, sizeof(server)) != 0) {
        close(client);
        if (to >= 0)
            close(to);
        return;
    }
    socket_prepare(client);
    socket_prepare(to);
    /* The kernel has answered the client at once; a distant server would have a round trip later.
     */
    Pipe *out = pipe_new(client, to, now() + 2 * delay), *in = pipe_new(to, client, 0);
    out->back = in;
    in->back = out;
    pipes[n_pipes++] = out;
    pipes[n_pipes++] = in;
}

static void pipe_read(Pipe *p)
{
    Piece *piece = malloc(sizeof(*piece) + PIECE);
    if (!piece)
        die("malloc");
    ssize_t n = read(p->from, piece->data, PIECE);
    int64_t at = now();
    if (n <= 0) {
        free(piece);
        p->ended = n == 0 || (errno != EAGAIN && errno != EINTR);
        return;
    }
    Piece *small = realloc(piece, sizeof(*piece) + (size_t)n);
    piece = small ? small : piece;
    *piece = (Piece){.due = (at < p->open_at ? p->open_at : at) + delay, .len = (size_t)n};
    *p->last = piece;
    p->last = &piece->next;
    p->under_way += (size_t)n;
}

static void pipe_drop(Pipe *p)
{
    while (p->first) {
        Piece *next = p->first->next;
        free(p->first);
        p->first = next;
    }
    p->last = &p->first;
    p->under_way = 0;
}

static void pipe_write(Pipe *p, int64_t at)
{
    while (p->first && p->first->due <= at) {
        Piece *piece = p->first;
        ssize_t n = write(p->to, piece->data + piece->done, piece->len - piece->done);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0) {
            pipe_drop(p);
            p->ended = p->back->ended = 1;
            return;
        }
        piece->done += (size_t)n;
        p->under_way -= (size_t)n;
        if (piece->done < piece->len)
            return;
        p->first = piece->next;
        if (!p->first)
            p->last = &p->first;
        free(piece);
    }
}

/* Connections of which both directions have come to their end. */
static void pipes_clean(void)
{
    for (size_t i = 0; i + 1 < n_pipes;) {
        Pipe *a = pipes[i], *b = pipes[i + 1];
        for (Pipe *p = a; p; p = p == a ? b : NULL) {
            if (p->ended && !p->first && !p->shut) {
                p->shut = 1;
                shutdown(p->to, SHUT_WR);
            }
        }
        if (!a->shut || !b->shut) {
            i += 2;
            continue;
        }
        close(a->from);
        close(a->to);
        free(a);
        free(b);
        memmove(&pipes[i], &pipes[i + 2], (n_pipes - i - 2) * sizeof(Pipe *));
        n_pipes -= 2;
    }
}

/* --- all of them --- */

static void serve(int listener)
{
    static struct pollfd fds[1 + 2 * PIPES_MAX];
    for (;;) {
        int64_t at = now(), next = -1;
        fds[0] = (struct pollfd){.fd = listener, .events = POLLIN};
        for (size_t i = 0; i < n_pipes; i++) {
            Pipe *p = pipes[i];
            int due = p->first && p->first->due <= at, room = p->under_way < UNDER_WAY_MAX;
            fds[1 + 2 * i] =
                (struct pollfd){.fd = p->ended || !room ? -1 : p->from, .events = POLLIN};
            fds[2 + 2 * i] = (struct pollfd){.fd = due ? p->to : -1, .events = POLLOUT};
            if (p->first && !due && (next < 0 || p->first->due < next))
                next = p->first->due;
        }
        struct timespec wait = {.tv_sec = (next - at) / NS, .tv_nsec = (next - at) % NS};
        size_t n = n_pipes;
        if (ppoll(fds, 1 + 2 * n, next < 0 ? NULL : &wait, NULL) < 0 && errno != EINTR)
            die("ppoll");
        at = now();
        for (size_t i = 0; i < n; i++) {
            if (fds[1 + 2 * i].revents)
                pipe_read(pipes[i]);
            pipe_write(pipes[i], at);
        }
        if (fds[0].revents)
            connection_accept(listener);
        pipes_clean();
    }
}

static void address_parse(const char *text)
{
    char host[64];
    unsigned port;
    server.sin_family = AF_INET;
    if (sscanf(text, "%63[^:]:%u", host, &port) != 2 ||
        inet_pton(AF_INET, host, &server.sin_addr) != 1) {
        fprintf(stderr, "bench-delay: '%s' is no address\n", text);
        exit(2);
    }
    server.sin_port = htons((uint16_t)port);
}

/* Whole or not at all: who reads it waits for it. */
static void port_write(int listener, const char *file)
{
    struct sockaddr_in mine;
    socklen_t len = sizeof(mine);
    char name[512];
    snprintf(name, sizeof(name), "%s.new", file);
    getsockname(listener, (struct sockaddr *)&mine, &len);
    FILE *f = fopen(name, "we");
    if (!f || fprintf(f, "%u\n", ntohs(mine.sin_port)) < 0 || fclose(f) != 0 ||
        rename(name, file) != 0)
        die(file);
}

int main(int argc, char **argv)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (argc != 4) {
        fprintf(stderr, "usage: bench-delay MS HOST:PORT FILE\n");
        return 2;
    }
    delay = (int64_t)(atof(argv[1]) * 1e6 / 2);
    address_parse(argv[2]);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&any, sizeof(any)) != 0 ||
        listen(listener, 128) != 0)
        die("bench-delay");
    port_write(listener, argv[3]);
    signal(SIGPIPE, SIG_IGN);
    serve(listener);
    return 0;
}
