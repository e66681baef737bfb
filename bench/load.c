/*
 * The load client of the benchmark: one process, one thread, one epoll loop, many WebSocket connections on loopback.
 * Prints one line of JSON on stdout. run.mjs compiles and runs it; by hand: cc -O2 -o load load.c && ./load fanout ...
 *
 *   fanout     CONNS subscribers; the first PUBLISHERS of them publish; at most WINDOW broadcasts are outstanding over
 *              all publishers. A broadcast is complete when every reading subscriber has got that many messages.
 *              STALLED of them (the last ones) never read from their socket once they are open.
 *   echo       CONNS connections, one message outstanding on each.
 *   handshake  CONNS at a time: connect, upgrade, close handshake, over and over.
 *   idle       opens CONNS connections, prints {"event":"open"}, answers pings, and holds them until stdin ends.
 *
 * With --channel NAME each connection speaks the channel protocol (JSON): it is open when its connect and subscribe
 * commands are answered, and it publishes by commands. A broadcast is then a publication in the channel, of which a
 * publisher also gets the reply; an echo is a publication in a channel of the connection's own (NAME, a dash and a
 * number), and complete when both the publication and the reply are there, or the reply alone with --unsubscribed.
 *
 * Every message carries its publisher and sequence number. Each delivery is checked: length, text, and that every
 * subscriber sees each publisher's numbers without a gap, a repeat or a swap ("violations" in the result must be 0).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum mode { FANOUT, ECHO, HANDSHAKE, IDLE };
enum state { CLOSED, CONNECTING, UPGRADING, ENGINE_OPEN, ENGINE_JOIN, SAYS_HELLO, SUBSCRIBES, OPEN, CLOSING };

typedef struct {
  uint8_t *at;
  size_t len, cap;
} bytes;

typedef struct {
  int fd, index;
  enum state state;
  int stalled, wants_write, sent_close;
  bytes rest;      /* an incomplete frame, kept until its other half is read */
  bytes out;       /* what the socket did not take */
  bytes fragments; /* the message so far, when the server fragments */
  int in_fragments;
  uint64_t received;
  uint32_t commands, replies; /* of the channel protocol: how many were sent and answered */
} conn;

#define MAX_EVENTS 256
#define IN_CAP (256 * 1024)
#define HEADER 12 /* four digits of publisher and eight of sequence, base 16 in '0'..'?' */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
static const uint8_t MASK[4] = { 0x37, 0xfa, 0x21, 0x3d };
static const char SIO_HEAD_ROOM[] = "42[\"m\",\"", SIO_HEAD_ECHO[] = "42[\"e\",\"", SIO_TAIL[] = "\"]";
#define SIO_HEAD_LEN 8
#define CONNECT_AND_SUBSCRIBE 2 /* commands before the first publication */

static enum mode mode;
static const char *host = "127.0.0.1", *path = "/", *channel;
#define MOST 8 /* nodes, and processes of which the time is taken */
static int ports[MOST], nodes, conns = 1000, publishers = 1, window = 64, size = 128, stalled, concurrency = 200, socket_io, unsubscribed;
static double warmup = 1, duration = 3;
static long pids[MOST];
static int processes;

static conn *all;
static int epoll, open_count, opening, next_to_open, readers;
static int next_address = 1;
static uint8_t *in_buf;
static uint64_t deliveries, handshakes, published, violations, foreign, lost, pings, sent, completed;
static char first_problem[200];
static uint32_t *expected;  /* [subscriber][publisher] */
static uint32_t *next_seq;  /* [publisher] */
static uint32_t *remaining; /* ring: how many readers still miss the k-th message */
static uint64_t ring;
static int next_publisher, running;
static uint8_t *payload_template;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static double own_cpu(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
  char text[300];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  for (char *c = text; *c; c++) if (*c == '"' || *c == '\\' || (unsigned char)*c < 32) *c = '\'';
  printf("{\"error\":\"%s\"}\n", text);
  fflush(stdout);
  exit(1);
}

static void problem(const char *format, ...) {
  if (first_problem[0]) return;
  va_list args;
  va_start(args, format);
  vsnprintf(first_problem, sizeof first_problem, format, args);
  va_end(args);
}

/* User and system time of a process, all its threads, in seconds: fields 14 and 15 of /proc/PID/stat. */
static double cpu_of(long pid) {
  char name[64], text[1024];
  snprintf(name, sizeof name, "/proc/%ld/stat", pid);
  int fd = open(name, O_RDONLY);
  if (fd < 0) fail("the server (pid %ld) is gone", pid);
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  if (n <= 0) fail("the server (pid %ld) is gone", pid);
  text[n] = 0;
  char *after_name = strrchr(text, ')');
  unsigned long user, system;
  if (!after_name ||
      sscanf(after_name + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
    fail("cannot read the CPU time of pid %ld", pid);
  return (double)(user + system) / sysconf(_SC_CLK_TCK);
}

static double server_cpu(void) {
  double sum = 0;
  for (int i = 0; i < processes; i++) sum += cpu_of(pids[i]);
  return sum;
}

static void reserve(bytes *b, size_t cap) {
  if (b->cap >= cap) return;
  b->cap = cap < 256 ? 256 : cap * 2;
  b->at = realloc(b->at, b->cap);
  if (!b->at) fail("out of memory");
}

static void append(bytes *b, const void *data, size_t len) {
  reserve(b, b->len + len);
  memcpy(b->at + b->len, data, len);
  b->len += len;
}

static void watch(conn *c, int op) {
  struct epoll_event event = { .events = EPOLLIN | (c->wants_write ? EPOLLOUT : 0), .data.ptr = c };
  if (epoll_ctl(epoll, op, c->fd, &event) < 0) fail("epoll_ctl: %s", strerror(errno));
}

static void start_connection(conn *c);

static void drop(conn *c) {
  if (c->state == CLOSED) return;
  if (c->state == OPEN) open_count--;
  close(c->fd);
  c->state = CLOSED;
  c->rest.len = c->out.len = c->fragments.len = 0;
  c->wants_write = c->in_fragments = c->sent_close = 0;
}

/* The server ended a connection, or its transport broke. */
static void ended(conn *c, const char *why) {
  if (c->state == CLOSED) return;
  if (mode == HANDSHAKE && c->state == CLOSING) {
    drop(c);
    handshakes++;
    if (running) start_connection(c);
    return;
  }
  if (c->state != OPEN) fail("connection %d ended before it was open: %s", c->index, why);
  lost++;
  problem("connection %d ended by the server: %s", c->index, why);
  drop(c);
  if (mode != IDLE) fail("connection %d ended by the server: %s", c->index, why);
}

static void flush_out(conn *c) {
  while (c->out.len) {
    ssize_t n = send(c->fd, c->out.at, c->out.len, MSG_NOSIGNAL);
    if (n < 0) {
      if (errno == EAGAIN) break;
      if (errno == EINTR) continue;
      ended(c, strerror(errno));
      return;
    }
    memmove(c->out.at, c->out.at + n, c->out.len - n);
    c->out.len -= n;
  }
  int wants = c->out.len > 0;
  if (wants != c->wants_write && c->state != CONNECTING) {
    c->wants_write = wants;
    watch(c, EPOLL_CTL_MOD);
  }
}

/* Appends one masked client frame to the connection's output. */
static void frame(conn *c, int opcode, const void *data, size_t len) {
  uint8_t head[14];
  size_t n = 0;
  head[n++] = 0x80 | opcode;
  if (len < 126) head[n++] = 0x80 | len;
  else if (len < 65536) {
    head[n++] = 0x80 | 126;
    head[n++] = len >> 8;
    head[n++] = len;
  } else {
    head[n++] = 0x80 | 127;
    for (int shift = 56; shift >= 0; shift -= 8) head[n++] = (uint64_t)len >> shift;
  }
  memcpy(head + n, MASK, 4);
  append(&c->out, head, n + 4);
  reserve(&c->out, c->out.len + len);
  uint8_t *to = c->out.at + c->out.len;
  for (size_t i = 0; i < len; i++) to[i] = ((const uint8_t *)data)[i] ^ MASK[i & 3];
  c->out.len += len;
}

static void digits(uint8_t *to, uint32_t value, int count) {
  for (int i = count - 1; i >= 0; i--, value >>= 4) to[i] = '0' + (value & 15);
}

static uint32_t undigits8(const uint8_t *from) {
  uint64_t v;
  memcpy(&v, from, 8);
  v = __builtin_bswap64(v) & 0x0f0f0f0f0f0f0f0fULL;
  v = (v | v >> 4) & 0x00ff00ff00ff00ffULL;
  v = (v | v >> 8) & 0x0000ffff0000ffffULL;
  return (uint32_t)(v | v >> 16);
}

static uint32_t undigits4(const uint8_t *from) {
  return (from[0] & 15u) << 12 | (from[1] & 15u) << 8 | (from[2] & 15u) << 4 | (from[3] & 15u);
}

/* The channel that a connection is for. */
static const char *channel_of(conn *c) {
  static char own[128];
  if (mode != ECHO) return channel;
  snprintf(own, sizeof own, "%s-%d", channel, c->index);
  return own;
}

/* One application message of `size` bytes, wrapped as an event for socket.io, as a command for the channel protocol. */
static void message(conn *c, uint32_t publisher, uint32_t seq) {
  static uint8_t *text;
  if (!text) text = malloc(size + 256);
  uint8_t *at = text;
  if (channel) {
    const char *format = "{\"id\":%u,\"publish\":{\"channel\":\"%s\",\"data\":\"";
    at += sprintf((char *)at, format, ++c->commands, channel_of(c));
  }
  if (socket_io) {
    memcpy(at, mode == ECHO ? SIO_HEAD_ECHO : SIO_HEAD_ROOM, SIO_HEAD_LEN);
    at += SIO_HEAD_LEN;
  }
  digits(payload_template, publisher, 4);
  digits(payload_template + 4, seq, 8);
  memcpy(at, payload_template, size);
  at += size;
  if (socket_io) {
    memcpy(at, SIO_TAIL, 2);
    at += 2;
  }
  if (channel) {
    memcpy(at, "\"}}", 3);
    at += 3;
  }
  frame(c, 1, text, at - text);
}

static void echo_next(conn *c) {
  message(c, 0, expected[c->index]);
  flush_out(c);
}

static void close_begin(conn *c) {
  static const uint8_t normal[2] = { 0x03, 0xe8 };
  c->state = CLOSING;
  open_count--;
  c->sent_close = 1;
  frame(c, 8, normal, 2);
  flush_out(c);
}

static void opened(conn *c) {
  c->state = OPEN;
  open_count++;
  opening--;
  if (mode == HANDSHAKE) close_begin(c);
}

static void on_delivery(conn *c, const uint8_t *at, size_t len);
static void echo_ended(conn *c);

static void command(conn *c, enum state state, const char *format, const char *about) {
  char text[256];
  c->state = state;
  frame(c, 1, text, snprintf(text, sizeof text, format, ++c->commands, about));
  flush_out(c);
}

static void say_hello(conn *c) {
  c->commands = c->replies = 0;
  command(c, SAYS_HELLO, "{\"id\":%u,\"connect\":{}}%s", "");
}

/* A reply: they come in the order of the commands, and none may be an error. */
static void on_reply(conn *c, const char *at, size_t len) {
  if (memmem(at, len, "\"error\":{", 9)) fail("connection %d: %.*s", c->index, (int)(len < 200 ? len : 200), at);
  if (strtoul(at + 6, NULL, 10) != ++c->replies) {
    violations++;
    problem("connection %d: %.*s instead of reply %u", c->index, (int)(len < 60 ? len : 60), at, c->replies);
  }
  if (c->state == SAYS_HELLO && !(unsubscribed && mode == ECHO)) {
    command(c, SUBSCRIBES, "{\"id\":%u,\"subscribe\":{\"channel\":\"%s\"}}", channel_of(c));
  } else if (c->state == SAYS_HELLO || c->state == SUBSCRIBES) {
    opened(c);
  } else {
    published++;
    if (mode != ECHO) return;
    if (unsubscribed) {
      deliveries++;
      expected[c->index]++;
    }
    echo_ended(c);
  }
}

/* One document of the channel protocol. A frame may hold several, so what it ends with is no terminator. */
static void on_document(conn *c, const char *at, size_t len) {
  static const char key[] = "\"data\":\"";
  if (len == 2 && memcmp(at, "{}", 2) == 0) {
    pings++;
    frame(c, 1, "{}", 2);
    flush_out(c);
    return;
  }
  if (len > 6 && memcmp(at, "{\"id\":", 6) == 0) {
    on_reply(c, at, len);
    return;
  }
  const char *data = len > 8 && memcmp(at, "{\"push\":", 8) == 0 ? memmem(at, len, key, sizeof key - 1) : NULL;
  if (data && (data += sizeof key - 1) + size < at + len && data[size] == '"') {
    on_delivery(c, (const uint8_t *)data, size);
    return;
  }
  foreign++;
  problem("neither a reply nor a publication: %.*s", (int)(len < 60 ? len : 60), at);
}

static void on_message(conn *c, const uint8_t *at, size_t len) {
  if (channel) {
    const char *from = (const char *)at, *end = from + len;
    while (from < end && c->state != CLOSED && c->state != CONNECTING) {
      const char *line = memchr(from, '\n', end - from);
      if (!line) line = end;
      on_document(c, from, line - from);
      from = line + 1;
    }
    return;
  }
  if (socket_io) {
    if (len == 1 && at[0] == '2') {
      pings++;
      frame(c, 1, "3", 1);
      flush_out(c);
      return;
    }
    if (c->state == ENGINE_OPEN && len && at[0] == '0') {
      c->state = ENGINE_JOIN;
      frame(c, 1, "40", 2);
      flush_out(c);
      return;
    }
    if (c->state == ENGINE_JOIN && len > 2 && memcmp(at, "40{", 3) == 0) {
      opened(c);
      return;
    }
    if (len < SIO_HEAD_LEN + 2 || at[0] != '4' || at[1] != '2') {
      foreign++;
      problem("not an event: %.*s", (int)(len < 40 ? len : 40), at);
      return;
    }
    at += SIO_HEAD_LEN;
    len -= SIO_HEAD_LEN + 2;
  }
  on_delivery(c, at, len);
}

/* The next one, when an echo is complete: with channels that takes a publication and a reply. */
static void echo_ended(conn *c) {
  if (channel && !unsubscribed &&
      (c->replies != c->commands || c->commands - CONNECT_AND_SUBSCRIBE != expected[c->index])) return;
  if (running) echo_next(c);
}

static void on_delivery(conn *c, const uint8_t *at, size_t len) {
  if (mode == HANDSHAKE || mode == IDLE) {
    foreign++;
    return;
  }
  if (len != (size_t)size || memcmp(at + HEADER, payload_template + HEADER, size - HEADER) != 0) {
    foreign++;
    problem("a message nobody sent: %.*s", (int)(len < 40 ? len : 40), at);
    return;
  }
  uint32_t publisher = undigits4(at), seq = undigits8(at + 4);
  if (mode == ECHO) {
    deliveries++;
    if (seq != expected[c->index]) {
      violations++;
      problem("connection %d got echo %u instead of %u", c->index, seq, expected[c->index]);
    }
    expected[c->index] = seq + 1;
    echo_ended(c);
    return;
  }
  if (publisher >= (uint32_t)publishers) {
    foreign++;
    problem("a message of publisher %u", publisher);
    return;
  }
  uint32_t *want = &expected[(size_t)c->index * publishers + publisher];
  if (seq != *want) {
    violations++;
    problem("subscriber %d, publisher %u: got %u instead of %u", c->index, publisher, seq, *want);
  }
  *want = seq + 1;
  deliveries++;
  if (c->received >= sent) {
    violations++;
    problem("subscriber %d got more messages than were sent", c->index);
    return;
  }
  remaining[c->received++ % ring]--;
}

/* Publishes what the window allows; publishers take turns, each flushes what it got with one write. */
static void publish(void) {
  while (completed < sent && remaining[completed % ring] == 0) completed++;
  if (!running || sent - completed >= (uint64_t)window) return;
  int from = next_publisher, count = 0;
  while (sent - completed < (uint64_t)window) {
    remaining[sent % ring] = readers;
    sent++;
    message(&all[next_publisher], next_publisher, next_seq[next_publisher]);
    next_seq[next_publisher]++;
    next_publisher = (next_publisher + 1) % publishers;
    count++;
  }
  if (count > publishers) count = publishers;
  for (int i = 0; i < count; i++) flush_out(&all[(from + i) % publishers]);
}

static int control(conn *c, int opcode, const uint8_t *at, size_t len) {
  if (opcode == 9) {
    pings++;
    frame(c, 10, at, len);
    flush_out(c);
  } else if (opcode == 8) {
    char why[64];
    snprintf(why, sizeof why, "close frame %d", len >= 2 ? at[0] << 8 | at[1] : 1005);
    if (c->sent_close) return 1; /* our own close is answered: the server ends the stream */
    c->sent_close = 1;
    frame(c, 8, at, len >= 2 ? 2 : 0);
    flush_out(c);
    ended(c, why);
    return 1;
  } else if (opcode != 10) fail("connection %d: unknown opcode %d", c->index, opcode);
  return 0;
}

/* Takes whole frames off the front and returns how many bytes that were. */
static size_t take_frames(conn *c, const uint8_t *at, size_t len) {
  size_t done = 0;
  while (len - done >= 2) {
    const uint8_t *f = at + done;
    size_t have = len - done, head = 2;
    uint64_t n = f[1];
    if (f[0] & 0x70) fail("connection %d: reserved bits in a frame", c->index);
    if (n & 0x80) fail("connection %d: a masked frame from the server", c->index);
    if (n == 126) {
      if (have < 4) break;
      n = (uint64_t)f[2] << 8 | f[3];
      head = 4;
    } else if (n == 127) {
      if (have < 10) break;
      n = 0;
      for (int i = 2; i < 10; i++) n = n << 8 | f[i];
      if (n > 64u << 20) fail("connection %d: a frame of %llu bytes", c->index, (unsigned long long)n);
      head = 10;
    }
    if (have < head + n) break;
    done += head + n;
    if (f[0] == 0x81) on_message(c, f + head, n);
    else {
      int opcode = f[0] & 15, fin = f[0] >> 7;
      if (opcode >= 8) {
        if (control(c, opcode, f + head, n)) return done;
      } else if (opcode <= 2 && (opcode == 0) == c->in_fragments) {
        append(&c->fragments, f + head, n);
        c->in_fragments = !fin;
        if (fin) {
          on_message(c, c->fragments.at, c->fragments.len);
          c->fragments.len = 0;
        }
      } else fail("connection %d: opcode %d out of place", c->index, opcode);
    }
    if (c->state == CLOSED || c->state == CONNECTING) return done;
  }
  return done;
}

/* Looks for the end of the response head; 0 means not yet. */
static size_t take_response(conn *c, uint8_t *at, size_t len) {
  uint8_t *end = memmem(at, len, "\r\n\r\n", 4);
  if (!end) {
    if (len > 16384) fail("connection %d: the response has no end", c->index);
    return 0;
  }
  *end = 0;
  char *line = strstr((char *)at, "\r\n");
  if (strncmp((char *)at, "HTTP/1.1 101", 12) != 0)
    fail("upgrade of %s refused: %.*s", path, (int)(line ? line - (char *)at : 60), at);
  int accepted = 0;
  for (; line; line = strstr(line + 2, "\r\n")) {
    if (strncasecmp(line + 2, "sec-websocket-accept:", 21) == 0) accepted = strstr(line, ACCEPT) != NULL;
    if (strncasecmp(line + 2, "sec-websocket-extensions:", 25) == 0) fail("an extension nobody offered");
  }
  if (!accepted) fail("connection %d: wrong Sec-WebSocket-Accept", c->index);
  if (socket_io) c->state = ENGINE_OPEN;
  else if (channel) say_hello(c);
  else opened(c);
  return (size_t)(end - at) + 4;
}

static void readable(conn *c) {
  size_t have = c->rest.len;
  if (have > IN_CAP / 2) { /* a frame larger than the shared buffer */
    reserve(&c->rest, c->rest.len + IN_CAP);
    ssize_t n = recv(c->fd, c->rest.at + c->rest.len, IN_CAP, 0);
    if (n <= 0) {
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
      ended(c, n ? strerror(errno) : "end of stream");
      return;
    }
    c->rest.len += n;
    bytes taken = c->rest;
    c->rest = (bytes){ 0 };
    size_t done = take_frames(c, taken.at, taken.len);
    if (c->state != CLOSED && c->state != CONNECTING && done < taken.len)
      append(&c->rest, taken.at + done, taken.len - done);
    free(taken.at);
    return;
  }
  if (have) memcpy(in_buf, c->rest.at, have);
  ssize_t n = recv(c->fd, in_buf + have, IN_CAP - have, 0);
  if (n <= 0) {
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    ended(c, n ? strerror(errno) : "end of stream");
    return;
  }
  size_t len = have + n, done = 0;
  c->rest.len = 0;
  if (c->state == UPGRADING) {
    done = take_response(c, in_buf, len);
    if (done == 0) {
      append(&c->rest, in_buf, len);
      return;
    }
  }
  done += take_frames(c, in_buf + done, len - done);
  if (done < len && c->state != CLOSED && c->state != CONNECTING) append(&c->rest, in_buf + done, len - done);
}

static void start_connection(conn *c) {
  int port = ports[c->index % nodes];
  for (int tries = 0;; tries++) {
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) fail("socket: %s", strerror(errno));
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (next_address > 1) { /* the first address ran out of ports */
      struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000000u + next_address) };
      setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
      if (bind(c->fd, (struct sockaddr *)&from, sizeof from) < 0) fail("bind: %s", strerror(errno));
    }
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
    inet_pton(AF_INET, host, &to.sin_addr);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) == 0 || errno == EINPROGRESS) break;
    if (errno != EADDRNOTAVAIL || tries > 50) fail("connect: %s", strerror(errno));
    close(c->fd);
    next_address = next_address % 60 + 1;
  }
  c->state = CONNECTING;
  c->wants_write = 1;
  opening++;
  char request[512];
  int n = snprintf(request, sizeof request,
    "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n\r\n", path, host, port);
  append(&c->out, request, n);
  watch(c, EPOLL_CTL_ADD);
}

static void step(int timeout) {
  static struct epoll_event events[MAX_EVENTS];
  int n = epoll_wait(epoll, events, MAX_EVENTS, timeout);
  for (int i = 0; i < n; i++) {
    conn *c = events[i].data.ptr;
    if (!c) continue; /* stdin, in idle mode */
    if (c->state == CONNECTING && events[i].events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) {
      int error = 0;
      socklen_t len = sizeof error;
      getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
      if (error) fail("connect: %s", strerror(error));
      c->state = UPGRADING;
      flush_out(c);
      continue;
    }
    if (events[i].events & EPOLLOUT && c->state > CONNECTING) flush_out(c);
    if (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP) && c->state > CONNECTING) readable(c);
  }
}

static void open_all(void) {
  double deadline = now() + 30 + conns / 200.0;
  while (open_count < conns) {
    while (next_to_open < conns && opening < concurrency) start_connection(&all[next_to_open++]);
    step(100);
    if (now() > deadline) fail("only %d of %d connections open", open_count, conns);
  }
}

static void run_for(double seconds, int *frozen) {
  double end = now() + seconds, progress = now();
  uint64_t last = deliveries + handshakes;
  for (int i = 0;; i++) {
    step(50);
    if (mode == FANOUT) publish();
    if ((i & 15) && deliveries + handshakes == last) continue;
    double t = now();
    if (deliveries + handshakes != last) {
      last = deliveries + handshakes;
      progress = t;
    } else if (t - progress > 5) {
      *frozen = 1;
      return;
    }
    if (t >= end) return;
  }
}

/* How many of the stalled connections the server has ended by now. */
static int stalled_closed(void) {
  int closed = 0;
  for (int i = conns - stalled; i < conns; i++) {
    size_t total = 0;
    for (;;) {
      ssize_t n = recv(all[i].fd, in_buf, IN_CAP, MSG_DONTWAIT);
      if (n > 0 && (total += n) < (64u << 20)) continue;
      if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) closed++;
      break;
    }
  }
  return closed;
}

static void hold_until_stdin_ends(void) {
  printf("{\"event\":\"open\",\"conns\":%d}\n", open_count);
  fflush(stdout);
  struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
  epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &event);
  fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
  double end = now() + 120;
  for (char c; now() < end;) {
    step(1000);
    ssize_t n = read(0, &c, 1);
    if (n == 0 || n == 1) break;
  }
}

static const char *usage =
  "usage: load fanout|echo|handshake|idle --port N[,N...] [--host A] [--path P] [--conns N] [--publishers N]\n"
  "            [--window N] [--size BYTES] [--stalled N] [--warmup S] [--duration S] [--concurrency N]\n"
  "            [--pid SERVER[,SERVER...]] [--socket-io | --channel NAME [--unsubscribed]]\n"
  "Connections are spread over the ports in turn; the CPU time is that of all the processes together.\n";

/* Numbers with commas between them; 0 if it is something else. */
static int numbers(const char *text, long *to) {
  for (int count = 1; count <= MOST; count++) {
    char *end;
    to[count - 1] = strtol(text, &end, 10);
    if (end == text || to[count - 1] <= 0) return 0;
    if (*end == 0) return count;
    if (*end != ',') return 0;
    text = end + 1;
  }
  return 0;
}

static void options(int argc, char **argv) {
  static const char *modes[] = { "fanout", "echo", "handshake", "idle" };
  int known = 0;
  for (int i = 0; i < 4; i++) if (argc > 1 && strcmp(argv[1], modes[i]) == 0) mode = i, known = 1;
  for (int i = 2; known && i < argc; i++) {
    const char *name = argv[i];
    if (strcmp(name, "--socket-io") == 0) {
      socket_io = 1;
      continue;
    }
    if (strcmp(name, "--unsubscribed") == 0) {
      unsubscribed = 1;
      continue;
    }
    const char *value = i + 1 < argc ? argv[++i] : NULL;
    if (!value) known = 0;
    else if (strcmp(name, "--port") == 0) {
      long given[MOST];
      nodes = numbers(value, given);
      for (int k = 0; k < nodes; k++) ports[k] = given[k];
    }
    else if (strcmp(name, "--host") == 0) host = value;
    else if (strcmp(name, "--path") == 0) path = value;
    else if (strcmp(name, "--channel") == 0) channel = value;
    else if (strcmp(name, "--conns") == 0) conns = atoi(value);
    else if (strcmp(name, "--publishers") == 0) publishers = atoi(value);
    else if (strcmp(name, "--window") == 0) window = atoi(value);
    else if (strcmp(name, "--size") == 0) size = atoi(value);
    else if (strcmp(name, "--stalled") == 0) stalled = atoi(value);
    else if (strcmp(name, "--concurrency") == 0) concurrency = atoi(value);
    else if (strcmp(name, "--warmup") == 0) warmup = atof(value);
    else if (strcmp(name, "--duration") == 0) duration = atof(value);
    else if (strcmp(name, "--pid") == 0) known = (processes = numbers(value, pids)) > 0;
    else known = 0;
  }
  if (!known || nodes == 0 || conns < 1 || publishers < 1 || publishers > conns - stalled || stalled < 0 ||
      window < 1 || size < HEADER + 1 || size > 1 << 20 || concurrency < 1 || publishers > 65535 ||
      (channel && (socket_io || strlen(channel) > 100)) ||
      strncmp(host, "127.", 4) != 0) {
    fputs(usage, stderr);
    exit(2);
  }
}

int main(int argc, char **argv) {
  options(argc, argv);
  signal(SIGPIPE, SIG_IGN);
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  if (files.rlim_cur < (rlim_t)conns + 16)
    fail("%d connections need more open files than %ld", conns, (long)files.rlim_cur);
  epoll = epoll_create1(EPOLL_CLOEXEC);
  in_buf = malloc(IN_CAP);
  all = calloc(conns, sizeof *all);
  expected = calloc(mode == FANOUT ? (size_t)conns * publishers : (size_t)conns, sizeof *expected);
  next_seq = calloc(publishers, sizeof *next_seq);
  ring = window;
  remaining = calloc(ring, sizeof *remaining);
  payload_template = malloc(size);
  if (!in_buf || !all || !expected || !next_seq || !remaining || !payload_template) fail("out of memory");
  for (int i = 0; i < size; i++) payload_template[i] = "abcdefghijklmnopqrstuvwxyz "[i % 27];
  for (int i = 0; i < conns; i++) all[i].index = i;
  readers = conns - stalled;

  int frozen = 0;
  if (mode == HANDSHAKE) {
    running = 1;
    for (int i = 0; i < conns; i++) start_connection(&all[i]);
  } else {
    double started = now();
    open_all();
    if (mode == IDLE) {
      hold_until_stdin_ends();
      printf("{\"mode\":\"idle\",\"conns\":%d,\"lost\":%llu,\"pings\":%llu,\"foreign\":%llu,\"seconds\":%.3f}\n", conns,
        (unsigned long long)lost, (unsigned long long)pings, (unsigned long long)foreign, now() - started);
      return 0;
    }
    for (int i = readers; i < conns; i++) epoll_ctl(epoll, EPOLL_CTL_DEL, all[i].fd, NULL);
    running = 1;
    if (mode == ECHO) for (int i = 0; i < conns; i++) echo_next(&all[i]);
    else publish();
  }
  run_for(warmup, &frozen);
  uint64_t deliveries_before = deliveries, handshakes_before = handshakes;
  double t0 = now(), cpu0 = server_cpu(), own0 = own_cpu();
  if (!frozen) run_for(duration, &frozen);
  double seconds = now() - t0, cpu = server_cpu() - cpu0, own = own_cpu() - own0;
  uint64_t delivered = deliveries - deliveries_before, shaken = handshakes - handshakes_before;

  /* What was sent must still arrive: nothing for five seconds while messages are missing means frozen. */
  running = 0;
  if (mode == FANOUT && !frozen) {
    double progress = now();
    uint64_t last = deliveries;
    while (completed < sent && !frozen) {
      step(50);
      publish();
      if (deliveries != last) {
        last = deliveries;
        progress = now();
      } else if (now() - progress > 5) frozen = 1;
    }
  }
  if (mode == FANOUT && channel && !frozen) {
    for (double end = now() + 5; published < sent && now() < end;) step(50);
    if (published != sent) {
      violations++;
      problem("%llu of %llu publications were not answered", (unsigned long long)(sent - published),
        (unsigned long long)sent);
    }
  }
  if (mode == FANOUT && frozen) {
    int missing = 0;
    for (int i = 0; i < readers; i++) missing += all[i].received != sent;
    problem("%d of %d subscribers wait for messages that were sent", missing, readers);
  }
  static const char *modes[] = { "fanout", "echo", "handshake" };
  printf("{\"mode\":\"%s\",\"conns\":%d,\"publishers\":%d,\"window\":%d,\"size\":%d,\"seconds\":%.4f,\"cpu\":%.2f,"
         "\"loadCpu\":%.3f,\"deliveries\":%llu,\"published\":%llu,\"handshakes\":%llu,\"violations\":%llu,\"foreign\":%llu,\"pings\":%llu,"
         "\"frozen\":%s,\"stalled\":%d,\"stalledClosed\":%d",
    modes[mode], conns, publishers, window, size, seconds, cpu, own, (unsigned long long)delivered,
    (unsigned long long)published,
    (unsigned long long)shaken, (unsigned long long)violations, (unsigned long long)foreign, (unsigned long long)pings,
    frozen ? "true" : "false", stalled, stalled ? stalled_closed() : 0);
  for (char *c = first_problem; *c; c++) if (*c == '"' || *c == '\\' || (unsigned char)*c < 32) *c = '\'';
  printf(",\"problem\":\"%s\"}\n", first_problem);
  return 0;
}
