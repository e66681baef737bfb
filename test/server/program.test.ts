import { assert, describe, it, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { parse, value } from "./exposition.js"
import { client, connect, endpoint, get, join, refusal, say, type Server, start } from "./Program.js"

/** Asks until the answer has this status. */
const until = (url: string, status: number) =>
  Effect.repeat(get(url), { until: (response) => response.status === status })

/** One for the tests that leave it as they found it. */
class Running extends Context.Tag("Running")<Running, Server>() {
  static readonly layer = Layer.scoped(Running, start())
}

layer(Running.layer, { excludeTestServices: true })("the routes", (it) => {
  it.scoped("a publication goes to everyone in the channel, the publisher included, and to nobody else", () =>
    Effect.gen(function*() {
      const server = yield* Running
      const [ada, bob, eve] = yield* Effect.all([join(server, "red"), join(server, "red"), join(server, "Red")])
      yield* say(ada, "red", ["to red"])
      yield* say(eve, "Red", ["to Red"])
      yield* say(ada, "red", [{ a: [1, null] }, ""])
      const heard = Effect.all([bob.publication, bob.publication, bob.publication])
      assert.deepStrictEqual(yield* heard, ["to red", { a: [1, null] }, ""])
      yield* say(eve, "Red", ["again"])
      yield* say(bob, "red", ["back"])
      assert.strictEqual(yield* ada.publication, "back")
    }))

  it.scoped("in development mode a channel has presence and a history", () =>
    Effect.gen(function*() {
      const server = yield* Running
      const count = (clients: number) =>
        Effect.repeat(ada.command({ presence_stats: { channel: "blue" } }), {
          until: (reply) =>
            JSON.stringify(reply["presence_stats"]) ===
              JSON.stringify({ num_clients: clients, num_users: Math.min(clients, 1) })
        })
      const ada = yield* client(server)
      yield* ada.command({ connect: {} })
      yield* count(0)
      const bob = yield* join(server, "blue")
      yield* count(1)
      yield* join(server, "blue")
      yield* count(2)
      yield* say(bob, "blue", [1, 2])
      bob.socket.close()
      yield* count(1)
      const { history } = yield* ada.command({ history: { channel: "blue", limit: -1 } })
      assert.deepInclude(history, { offset: 2 })
      assert.deepInclude(yield* ada.command({ subscribe: { channel: "no-such-namespace:blue" } }), {
        error: { code: 102, message: "unknown channel" }
      })
    }))

  it.scoped("refuses what is wrong before the upgrade, with a status and a sentence", () =>
    Effect.gen(function*() {
      const { port, url, ws } = yield* Running
      for (const path of ["/nowhere", "/rooms/red", `${endpoint}/`, endpoint.toUpperCase(), `/${"x".repeat(5000)}`]) {
        assert.deepStrictEqual(
          yield* refusal(ws(path)),
          { status: 404, body: "There is nothing at this path.\n" },
          path
        )
      }
      assert.strictEqual((yield* get(`${url}/nowhere`)).status, 404)
      assert.strictEqual((yield* get(`${url}/api/info`, { method: "POST" })).status, 404)
      assert.strictEqual((yield* get(url + endpoint)).status, 426)

      const foreign = yield* refusal(ws(endpoint), { origin: "https://evil.example" })
      assert.deepStrictEqual(foreign, { status: 403, body: "This origin may not connect." })
      yield* connect(ws(`${endpoint}?from=here`), { origin: `http://127.0.0.1:${port}` })
      // In development mode not even the page of a name that was made to lead to this machine.
      const rebound = { origin: `http://rebound.example:${port}`, headers: { host: `rebound.example:${port}` } }
      assert.strictEqual((yield* refusal(ws(endpoint), rebound)).status, 403)
    }))
})

describe("the program", () => {
  it.scopedLive("answers probes, and tells its metrics in the Prometheus format", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const { url, ws } = server
      for (const path of ["/health", "/ready"]) {
        const { headers, status } = yield* get(url + path)
        assert.deepStrictEqual([status, headers.get("cache-control")], [200, "no-store"])
        assert.strictEqual((yield* get(url + path, { method: "HEAD" })).status, 200)
      }
      const metrics = Effect.map(get(`${url}/metrics`), ({ body, headers, status }) => {
        assert.deepStrictEqual([status, headers.get("content-type")], [200, "text/plain; version=0.0.4; charset=utf-8"])
        return parse(body)
      })

      const before = yield* metrics
      for (
        const name of ["connections", "opens_total", "messages_in_total", "messages_out_total", "fan_out_size_count"]
      ) {
        assert.strictEqual(value(before, `ws_hub_${name}`), 0, name)
      }
      for (const name of ["subscriptions", "publications_total", "gaps_total", "pong_latency_seconds_count"]) {
        assert.strictEqual(value(before, `ws_hub_channel_${name}`), 0, name)
      }
      for (const recovered of ["true", "false"]) {
        assert.strictEqual(value(before, "ws_hub_channel_recoveries_total", { recovered }), 0)
      }
      assert.strictEqual(value(before, "ws_hub_channel_errors_total", { code: "100" }), 0)
      for (const name of ["process_cpu_seconds_total", "nodejs_eventloop_lag_seconds", "nodejs_heap_size_used_bytes"]) {
        assert.isTrue(before.has(name), name)
      }
      const [ada, bob] = yield* Effect.all([join(server, "x"), join(server, "x")])
      yield* say(ada, "x", ["one", "two", "three"])
      bob.socket.close()
      yield* bob.closed
      yield* refusal(ws(endpoint), { origin: "https://evil.example" })

      const closed = (families: typeof before) => value(families, "ws_hub_closes_total", { by: "peer" }) === 1
      const after = yield* Effect.repeat(metrics, { until: closed })
      assert.strictEqual(value(after, "ws_hub_connections"), 1)
      assert.strictEqual(value(after, "ws_hub_opens_total"), 2)
      // Both connect and subscribe, and each publication has a reply.
      assert.strictEqual(value(after, "ws_hub_messages_in_total"), 4 + 3)
      assert.isAtLeast(value(after, "ws_hub_messages_out_total") ?? 0, 4 + 3 + 3)
      assert.strictEqual(
        value(after, "ws_hub_fan_out_size_bucket", { le: "4" }),
        value(after, "ws_hub_fan_out_size_count")
      )
      assert.strictEqual(value(after, "ws_hub_handshake_refusals_total", { reason: "origin" }), 1)
      assert.strictEqual(after.get("ws_hub_connections")?.help, "Open connections")
    }))

  it.scopedLive("says where it is, and nothing about any request, message or secret", () =>
    Effect.gen(function*() {
      const open = ["Subscribe", "Publish"].flatMap((what) => [`allow${what}ForClient`, `allow${what}ForAnonymous`])
      const channels = { withoutNamespace: Object.fromEntries(open.map((option) => [option, true])) }
      const server = yield* start(["--message-bytes", "100", "--client-allow-anonymous"], {
        HUB_CHANNELS: JSON.stringify(channels),
        HUB_API_KEYS: "s3cret-key",
        HUB_CLIENT_TOKEN_HMAC_SECRET: "s3cret-that-is-long-enough-for-any-token"
      })
      const { exit, output, signal, url, ws } = server
      const headers = { authorization: "Bearer s3cret-token", cookie: "id=s3cret-cookie" }
      const peer = yield* join(server, "x", { headers })
      yield* say(peer, "x", Array.from({ length: 100 }, (_, n) => `s3cret-message ${n}`))
      yield* get(`${url}/health?token=s3cret-query`, { headers })
      yield* get(`${url}/api/info?api_key=s3cret-query`, { method: "POST", headers })
      yield* refusal(ws(`${endpoint}?token=s3cret-query`), { headers, origin: "https://s3cret.example" })
      const stranger = yield* client(server)
      yield* stranger.send(JSON.stringify({ connect: { token: "s3cret-token" }, id: 1 }))
      assert.deepStrictEqual(yield* stranger.closed, { code: 3500, reason: "invalid token" })
      yield* peer.send("x".repeat(101))
      assert.strictEqual((yield* peer.closed).code, 1009)
      assert.deepStrictEqual(output(), { stdout: `effect-ws-hub listens on ${url}\n`, stderr: "" })

      yield* signal("SIGTERM")
      const { stderr, stdout } = yield* exit
      assert.strictEqual(stdout, `effect-ws-hub listens on ${url}\n`)
      assert.match(stderr, /^timestamp=\S+ level=INFO fiber=\S+ message=draining\n$/)
    }))

  const warnings: ReadonlyArray<readonly [args: ReadonlyArray<string>, warning: RegExp]> = [
    [[], /^development mode, .*: everyone on this machine may do everything\. .*gen-config/],
    [["--host", "0.0.0.0", "--client-insecure"], /^development mode, .*: everyone who reaches this address may do/],
    [["--api-key", "k", "--client-insecure"], /^client\.insecure is true: everyone on this machine may do everything\./]
  ]
  for (const [args, warning] of warnings) {
    it.scopedLive(`${["where nothing is checked", ...args].join(" ")}: one warning says so`, () =>
      Effect.gen(function*() {
        const { exit, signal } = yield* start(args)
        yield* signal("SIGTERM")
        const told = (yield* exit).stderr.split("\n")
        const lines = told.filter((line) => !line.includes("message=\"no HTTP API, "))
        assert.deepStrictEqual([lines.length, told.length], [3, args.includes("--api-key") ? 3 : 4])
        assert.include(lines[1], "message=draining")
        const [, level, message = ""] = /^timestamp=\S+ level=(\w+) fiber=\S+ message="(.*)"$/.exec(lines[0] ?? "") ??
          []
        assert.strictEqual(level, "WARN")
        assert.match(message, warning)
      }))
  }
})

describe("stopping", () => {
  for (const name of ["SIGTERM", "SIGINT"] as const) {
    it.scopedLive(`${name}: every peer gets 3001, what was published before is delivered, exit code 0`, () =>
      Effect.gen(function*() {
        const server = yield* start()
        const { exit, signal } = server
        const peers = yield* Effect.all(Array.from({ length: 20 }, () => join(server, "x")), { concurrency: 5 })
        yield* Effect.forEach(peers.slice(0, 1), (peer) => say(peer, "x", ["last words"]))
        yield* signal(name)
        for (const [index, peer] of peers.entries()) {
          assert.deepStrictEqual(yield* peer.closed, { code: 3001, reason: "shutdown" })
          if (index > 0) assert.strictEqual(yield* peer.publication, "last words")
        }
        assert.deepInclude(yield* exit, { code: 0, signal: null })
      }))
  }

  it.scopedLive("while a peer holds the drain: it lives, is not ready, refuses newcomers; then it ends with 0", () =>
    Effect.gen(function*() {
      const server = yield* start(["--close-grace", "30 seconds", "--drain-deadline", "40 seconds"])
      const { exit, signal, url, ws } = server
      const slow = yield* join(server, "x")
      slow.socket.pause()
      yield* signal("SIGTERM")
      const { body, headers } = yield* until(`${url}/ready`, 503)
      assert.strictEqual(body, "not ready: the hub is draining\n")
      assert.strictEqual(headers.get("retry-after"), "1")
      assert.strictEqual((yield* get(`${url}/health`)).status, 200)
      assert.strictEqual((yield* get(`${url}/metrics`)).status, 200)
      assert.strictEqual((yield* refusal(ws(endpoint))).status, 503)
      slow.socket.resume()
      assert.strictEqual((yield* slow.closed).code, 3001)
      assert.deepInclude(yield* exit, { code: 0, signal: null })
    }))

  it.scopedLive("a peer that never answers is cut off at the deadline: exit code 0", () =>
    Effect.gen(function*() {
      const server = yield* start(["--close-grace", "10 seconds", "--drain-deadline", "300 millis"])
      const { exit, signal } = server
      const stuck = yield* join(server, "x")
      stuck.socket.pause()
      yield* signal("SIGINT")
      const [took, { code }] = yield* Effect.timed(exit)
      assert.strictEqual(code, 0)
      assert.isBelow(Duration.toMillis(took), 9000)
    }))

  it.scopedLive("a second signal ends it at once", () =>
    Effect.gen(function*() {
      const server = yield* start(["--close-grace", "5 minutes", "--drain-deadline", "5 minutes"])
      const { exit, signal, url } = server
      const stuck = yield* join(server, "x")
      stuck.socket.pause()
      yield* signal("SIGTERM")
      yield* until(`${url}/ready`, 503)
      yield* signal("SIGTERM")
      assert.deepInclude(yield* exit, { signal: "SIGTERM" })
    }))
})
