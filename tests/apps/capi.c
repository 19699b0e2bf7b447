// Capi is the C workload: one thread per connection, every call blocking.
//
// It answers GET and POST /KIND/ID?us=N: each kind waits or works in one known
// way, for N microseconds, and notes how long that really took. With a log, one
// line per request is written at SIGTERM, as goapi writes its own:
// id method path status 0 start_ns end_ns [what=ns]...
//
// usage: capi HOST:PORT [LOG]
// environment: FILES, the folder for /fsync, and of the file data for /thrash; DOWNSTREAM, HOST:PORT for /down
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

typedef long long ns_t;

enum { HEAD = 8192, NOTES = 160, PAGE = 4096, GAP_NS = 30000 };

struct entry {
    char method[8], path[64], notes[NOTES];
    ns_t start_ns, end_ns;
    struct entry *next;
};

struct request {
    int fd;
    char *body;      // what came with the head
    long body_bytes; // of it
    long length;     // by its head
    ns_t us_ns;      // ?us=, as nanoseconds
    long bytes;      // ?bytes=
    int tos;         // ?tos=, of what is sent to be lost
    int *downstream; // the connection's own
    struct entry *entry;
};

static _Atomic(struct entry *) log_head;
static _Atomic ns_t accept_delay_ns;
static const char *log_path;

static ns_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void sleep_ns(ns_t ns) {
    struct timespec t = {ns / 1000000000, ns % 1000000000};
    while (nanosleep(&t, &t) == -1 && errno == EINTR)
        ;
}

static void note(struct request *r, const char *what, ns_t ns) {
    size_t used = strlen(r->entry->notes);
    snprintf(r->entry->notes + used, NOTES - used, " %s=%lld", what, ns);
}

// Runs in user mode for that much of its own time; two readings of the clock
// that lie far apart say that it was not running in between.
static void on_spin(struct request *r) {
    ns_t own = 0, out = 0, last = now_ns();
    while (own < r->us_ns) {
        ns_t now = now_ns();
        if (now - last < GAP_NS)
            own += now - last;
        else
            out += now - last;
        last = now;
    }
    note(r, "spin", own);
    note(r, "out", out);
}

static void on_sleep(struct request *r) {
    ns_t start = now_ns();
    sleep_ns(r->us_ns);
    note(r, "sleep", now_ns() - start);
}

struct holder {
    pthread_mutex_t mutex;
    sem_t is_held;
    ns_t ns;
};

static void *hold(void *arg) {
    struct holder *h = arg;
    pthread_mutex_lock(&h->mutex);
    sem_post(&h->is_held);
    sleep_ns(h->ns);
    pthread_mutex_unlock(&h->mutex);
    return NULL;
}

// Waits for a lock that another thread holds.
static void on_lock(struct request *r) {
    struct holder h = {.mutex = PTHREAD_MUTEX_INITIALIZER, .ns = r->us_ns};
    pthread_t thread;
    sem_init(&h.is_held, 0, 0);
    if (pthread_create(&thread, NULL, hold, &h) != 0)
        return;
    ns_t start = now_ns();
    sem_wait(&h.is_held);
    pthread_mutex_lock(&h.mutex);
    note(r, "lock", now_ns() - start);
    pthread_mutex_unlock(&h.mutex);
    pthread_join(thread, NULL);
}

static void on_fsync(struct request *r) {
    char path[256];
    const char *dir = getenv("FILES");
    snprintf(path, sizeof path, "%s/capi-XXXXXX", dir ? dir : "/var/tmp");
    int fd = mkstemp(path);
    char *data = calloc(1, r->bytes);
    ns_t start = now_ns();
    if (fd >= 0 && write(fd, data, r->bytes) == r->bytes && fsync(fd) == 0)
        note(r, "fsync", now_ns() - start);
    free(data);
    if (fd >= 0) {
        unlink(path);
        close(fd);
    }
}

struct fault {
    int uffd;
    ns_t ns;
};

static void *resolve(void *arg) {
    struct fault *f = arg;
    struct uffd_msg message;
    static char zeroes[PAGE] __attribute__((aligned(4096)));
    if (read(f->uffd, &message, sizeof message) != sizeof message)
        return NULL;
    sleep_ns(f->ns);
    struct uffdio_copy copy = {
        .dst = message.arg.pagefault.address & ~(unsigned long long)(PAGE - 1),
        .src = (unsigned long)zeroes,
        .len = PAGE,
    };
    ioctl(f->uffd, UFFDIO_COPY, &copy);
    return NULL;
}

// Touches memory that another thread delivers late: a page fault of known length.
static void on_fault(struct request *r) {
    struct fault f = {syscall(SYS_userfaultfd, O_CLOEXEC), r->us_ns};
    struct uffdio_api api = {.api = UFFD_API};
    char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct uffdio_register area = {
        .range = {(unsigned long)page, PAGE},
        .mode = UFFDIO_REGISTER_MODE_MISSING,
    };
    pthread_t thread;
    if (f.uffd >= 0 && page != MAP_FAILED && ioctl(f.uffd, UFFDIO_API, &api) == 0 &&
        ioctl(f.uffd, UFFDIO_REGISTER, &area) == 0 &&
        pthread_create(&thread, NULL, resolve, &f) == 0) {
        ns_t start = now_ns();
        *(volatile char *)page = 1;
        note(r, "fault", now_ns() - start);
        pthread_join(thread, NULL);
    }
    if (page != MAP_FAILED)
        munmap(page, PAGE);
    if (f.uffd >= 0)
        close(f.uffd);
}

static const volatile char *data_of_file;
static size_t data_pages;

static void map_file(void) {
    char path[256];
    struct stat stat;
    snprintf(path, sizeof path, "%s/data", getenv("FILES") ? getenv("FILES") : "/var/tmp");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &stat) != 0)
        return;
    char *data = mmap(NULL, stat.st_size, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (data == MAP_FAILED)
        return;
    madvise(data, stat.st_size, MADV_RANDOM);
    data_pages = stat.st_size / PAGE;
    data_of_file = data;
}

// Touches pages of a file, by lot, for that long: where the cgroup may not have
// all of it in memory, each costs another its place, and is read from the disk.
static void on_thrash(struct request *r) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static unsigned long seed = 1;
    pthread_once(&once, map_file);
    ns_t start = now_ns();
    while (data_pages > 0 && now_ns() - start < r->us_ns) {
        seed = seed * 6364136223846793005UL + 1442695040888963407UL;
        (void)data_of_file[(seed >> 33) % data_pages * PAGE];
    }
    note(r, "fault", now_ns() - start);
}

static int send_all(int fd, const char *data, long left) {
    while (left > 0) {
        ssize_t sent = send(fd, data, left, MSG_NOSIGNAL);
        if (sent <= 0)
            return -1;
        data += sent;
        left -= sent;
    }
    return 0;
}

static int dial(void) {
    struct sockaddr_in addr = {.sin_family = AF_INET};
    char host[64] = "";
    const char *text = getenv("DOWNSTREAM"), *colon = text ? strrchr(text, ':') : NULL;
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || colon == NULL)
        return -1;
    memcpy(host, text, (size_t)(colon - text) < sizeof host ? (size_t)(colon - text) : 0);
    inet_pton(AF_INET, host, &addr.sin_addr);
    addr.sin_port = htons(atoi(colon + 1));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0)
        return fd;
    close(fd);
    return -1;
}

// Sends with one segment in the middle marked by a type of service, for who
// loses what is marked. What is not yet acknowledged does not fit into the buffer.
static int send_marked(int fd, const char *data, long bytes, int tos) {
    int unmarked = 0, buffer = 65536;
    if (tos == 0)
        return send_all(fd, data, bytes);
    long half = bytes / 2, marked = bytes / 2 < 1000 ? bytes / 2 : 1000;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    if (send_all(fd, data, half) < 0)
        return -1;
    setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, sizeof tos);
    int result = send_all(fd, data + half, marked);
    setsockopt(fd, IPPROTO_IP, IP_TOS, &unmarked, sizeof unmarked);
    return result < 0 ? -1 : send_all(fd, data + half + marked, bytes - half - marked);
}

// Sends a peer a body of ?bytes=, on the connection's own connection to it.
static int on_post(struct request *r) {
    char text[256], answer[1024];
    if (*r->downstream < 0)
        *r->downstream = dial();
    int fd = *r->downstream;
    int length = snprintf(text, sizeof text,
                          "POST /body/0 HTTP/1.1\r\nHost: d\r\nContent-Length: %ld\r\n\r\n", r->bytes);
    char *data = calloc(1, r->bytes);
    ns_t start = now_ns();
    int is_lost = send_all(fd, text, length) < 0 || send_marked(fd, data, r->bytes, r->tos) < 0 ||
                  recv(fd, answer, sizeof answer, 0) <= 0;
    if (!is_lost)
        note(r, "post", now_ns() - start);
    free(data);
    return is_lost ? 502 : 200;
}

// Waits for a peer, on the connection's own connection to it.
static int on_down(struct request *r) {
    char text[256], answer[1024];
    if (*r->downstream < 0)
        *r->downstream = dial();
    int fd = *r->downstream;
    setsockopt(fd, IPPROTO_IP, IP_TOS, &r->tos, sizeof r->tos);
    int length = snprintf(text, sizeof text, "GET /sleep/0?us=%lld HTTP/1.1\r\nHost: d\r\n\r\n",
                          r->us_ns / 1000);
    ns_t start = now_ns();
    if (send_all(fd, text, length) < 0 || recv(fd, answer, sizeof answer, 0) <= 0)
        return 502;
    note(r, "down", now_ns() - start);
    return 200;
}

// The next connection waits that long before it is accepted.
static void on_late(struct request *r) { atomic_store(&accept_delay_ns, r->us_ns); }

// Reads the body, which the client may take its time over.
static void on_body(struct request *r) {
    char data[65536];
    long left = r->length - r->body_bytes;
    ns_t start = now_ns();
    while (left > 0) {
        ssize_t got = recv(r->fd, data, left < (long)sizeof data ? left : (long)sizeof data, 0);
        if (got <= 0)
            return;
        left -= got;
    }
    note(r, "body", now_ns() - start);
    r->body_bytes = r->length;
}

// Sends a large response, which the client may take its time over.
static void send_big(struct request *r) {
    char head[128];
    char *data = calloc(1, r->bytes);
    int length = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %ld\r\n\r\n", r->bytes);
    ns_t start = now_ns();
    if (send_all(r->fd, head, length) == 0 && send_marked(r->fd, data, r->bytes, r->tos) == 0)
        note(r, "big", now_ns() - start);
    free(data);
}

static long number(const char *query, const char *name) {
    const char *at = query ? strstr(query, name) : NULL;
    return at ? atol(at + strlen(name)) : 0;
}

static int serve(struct request *r) {
    char kind[16] = "";
    sscanf(r->entry->path, "/%15[^/]", kind);
    int is_big = strcmp(kind, "big") == 0, status = 200;
    if (r->us_ns > 0 || r->bytes > 0 || r->length > 0) {
        if (strcmp(kind, "spin") == 0) on_spin(r);
        else if (strcmp(kind, "sleep") == 0) on_sleep(r);
        else if (strcmp(kind, "lock") == 0) on_lock(r);
        else if (strcmp(kind, "fsync") == 0) on_fsync(r);
        else if (strcmp(kind, "fault") == 0) on_fault(r);
        else if (strcmp(kind, "thrash") == 0) on_thrash(r);
        else if (strcmp(kind, "late") == 0) on_late(r);
        else if (strcmp(kind, "body") == 0) on_body(r);
    }
    if (strcmp(kind, "both") == 0) {
        on_spin(r);
        status = on_down(r);
    }
    if (strcmp(kind, "down") == 0)
        status = on_down(r);
    if (strcmp(kind, "post") == 0)
        status = on_post(r);
    if (is_big)
        send_big(r);
    else if (status == 200)
        send_all(r->fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ndone\n", 43);
    else
        send_all(r->fd, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", 47);
    return status;
}

struct connection {
    int fd;
    ns_t accepted_ns;
};

static void *serve_connection(void *arg) {
    struct connection c = *(struct connection *)arg;
    char head[HEAD + 1];
    long used = 0;
    int downstream = -1;
    free(arg);
    for (;;) {
        char *end;
        ns_t start_ns = 0;
        head[used] = 0;
        while ((end = strstr(head, "\r\n\r\n")) == NULL && used < HEAD) {
            ssize_t got = recv(c.fd, head + used, HEAD - used, 0);
            if (got <= 0)
                goto out;
            if (start_ns == 0)
                start_ns = now_ns();
            used += got;
            head[used] = 0;
        }
        if (end == NULL)
            break;
        *end = 0;
        struct entry *e = calloc(1, sizeof *e);
        char target[256] = "";
        e->start_ns = start_ns;
        sscanf(head, "%7s %255s", e->method, target);
        char *query = strchr(target, '?'), *length = strcasestr(head, "content-length:");
        if (query)
            *query++ = 0;
        snprintf(e->path, sizeof e->path, "%.63s", target);
        struct request r = {
            .fd = c.fd,
            .body = end + 4,
            .body_bytes = used - (end + 4 - head),
            .length = length ? atol(length + strlen("content-length:")) : 0,
            .us_ns = number(query, "us=") * 1000LL,
            .bytes = number(query, "bytes="),
            .tos = number(query, "tos="),
            .downstream = &downstream,
            .entry = e,
        };
        if (c.accepted_ns != 0)
            note(&r, "accepted", c.accepted_ns);
        c.accepted_ns = 0;
        int is_last = strcasestr(head, "connection: close") != NULL;
        used = 0; // no pipelining: whatever followed the head was its body
        serve(&r);
        e->end_ns = now_ns();
        e->next = atomic_load(&log_head);
        while (!atomic_compare_exchange_weak(&log_head, &e->next, e))
            ;
        if (is_last)
            break;
    }
out:
    close(c.fd);
    if (downstream >= 0)
        close(downstream);
    return NULL;
}

static void write_log(void) {
    FILE *file = log_path ? fopen(log_path, "w") : NULL;
    if (file == NULL)
        return;
    for (struct entry *e = atomic_load(&log_head); e; e = e->next) {
        const char *id = strrchr(e->path, '/');
        int is_number = id && id[1] && strspn(id + 1, "0123456789") == strlen(id + 1);
        fprintf(file, "%s %s %s 200 0 %lld %lld%s\n", is_number ? id + 1 : "-", e->method,
                e->path, e->start_ns, e->end_ns, e->notes);
    }
    fclose(file);
}

static void *await_end(void *arg) {
    int signal;
    sigwait(arg, &signal);
    write_log();
    _exit(0);
}

int main(int argc, char **argv) {
    struct sockaddr_in addr = {.sin_family = AF_INET};
    socklen_t size = sizeof addr;
    char host[64] = "127.0.0.1";
    int port = 0, one = 1;
    if (argc > 1 && sscanf(argv[1], "%63[^:]:%d", host, &port) < 1)
        return 2;
    log_path = argc > 2 ? argv[2] : NULL;

    static sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);
    pthread_t thread;
    pthread_create(&thread, NULL, await_end, &ends);

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    inet_pton(AF_INET, host, &addr.sin_addr);
    addr.sin_port = htons(port);
    if (bind(listener, (struct sockaddr *)&addr, sizeof addr) < 0 || listen(listener, 1024) < 0) {
        perror("listening");
        return 1;
    }
    getsockname(listener, (struct sockaddr *)&addr, &size);
    printf("listening %s:%d\n", host, ntohs(addr.sin_port));
    fflush(stdout);

    for (;;) {
        // Apart from accept, so that a delay comes between arrival and it.
        struct pollfd ready = {listener, POLLIN, 0};
        poll(&ready, 1, -1);
        ns_t delay_ns = atomic_exchange(&accept_delay_ns, 0);
        if (delay_ns > 0)
            sleep_ns(delay_ns);
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct connection *c = malloc(sizeof *c);
        *c = (struct connection){fd, now_ns()};
        pthread_t worker;
        if (pthread_create(&worker, NULL, serve_connection, c) == 0)
            pthread_detach(worker);
        else
            close(fd);
    }
}
