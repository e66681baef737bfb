import { assert, describe, it, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { parse, value } from "./exposition.js"
import { connect, get, type Peer, refusal, say, type Server, start } from "./Program.js"

const roomRule = "The name of a room is 1 to 64 letters (A to Z, a to z), digits, hyphens and underscores."

/** Asks until the answer has this status. */
const until = (url: string, status: number) =>
  Effect.repeat(get(url), { until: (response) => response.status === status })

/** One for the tests that leave it as they found it. */
class Running extends Context.Tag("Running")<Running, Server>() {
  static readonly layer = Layer.scoped(Running, start())
}

layer(Running.layer, { excludeTestServices: true })("the routes", (it) => {
  it.scoped("relays text and bytes to everyone in a room, the sender included, and to nobody else", () =>
    Effect.gen(function*() {
      const { ws } = yield* Running
      const [ada, bob, eve] = yield* Effect.all([
        connect(ws("/rooms/red")),
        connect(ws("/rooms/red?from=here")),
        connect(ws("/rooms/Red"))
      ])
      yield* ada.send("to red")
      yield* eve.send("to Red")
      yield* ada.send(Uint8Array.of(0, 255, 128))
      yield* ada.send("")
      for (const peer of [ada, bob]) {
        assert.deepStrictEqual(yield* Effect.all([peer.take, peer.take, peer.take]), ["to red", [0, 255, 128], ""])
      }
      yield* eve.send("again")
      assert.deepStrictEqual(yield* Effect.all([eve.take, eve.take]), ["to Red", "again"])
      yield* bob.send("back")
      assert.strictEqual(yield* ada.take, "back")
    }))

  it.scoped("echoes, and tells the number of connections in a room", () =>
    Effect.gen(function*() {
      const { ws } = yield* Running
      const echo = yield* connect(ws("/echo"))
      yield* say(echo, ["a", "b"])
      yield* echo.send(Uint8Array.of(7))
      assert.deepStrictEqual(yield* echo.take, [7])

      const count = (peer: Peer, connections: number) =>
        Effect.repeat(peer.take, { until: (told) => told === JSON.stringify({ room: "blue", connections }) })
      const early = yield* connect(ws("/stats/blue"))
      assert.strictEqual(yield* early.take, "{\"room\":\"blue\",\"connections\":0}")
      const ada = yield* connect(ws("/rooms/blue"))
      yield* count(early, 1)
      yield* connect(ws("/rooms/blue"))
      yield* count(early, 2)
      const late = yield* connect(ws("/stats/blue"))
      assert.strictEqual(yield* late.take, "{\"room\":\"blue\",\"connections\":2}")
      ada.socket.close()
      yield* Effect.all([count(early, 1), count(late, 1)])
    }))

  it.scoped("refuses what is wrong before the upgrade, with a status and a sentence", () =>
    Effect.gen(function*() {
      const { port, url, ws } = yield* Running
      const bad = ["", "a%20b", "a.b", "a/b", "a;b", "%C3%B6", "x".repeat(65), "x".repeat(5000)]
      for (const room of bad) {
        assert.deepStrictEqual(yield* refusal(ws(`/rooms/${room}`)), { status: 400, body: roomRule }, room)
        assert.deepStrictEqual(yield* refusal(ws(`/stats/${room}`)), { status: 400, body: roomRule }, room)
      }
      yield* connect(ws(`/rooms/${"x".repeat(64)}`))
      yield* connect(ws("/rooms/AZaz09-_"))
      assert.deepStrictEqual(yield* refusal(ws("/nowhere")), { status: 404, body: "There is nothing at this path.\n" })
      assert.strictEqual((yield* get(`${url}/nowhere`)).status, 404)
      assert.strictEqual((yield* get(`${url}/rooms/red`)).status, 426)

      const foreign = yield* refusal(ws("/rooms/red"), { origin: "https://evil.example" })
      assert.deepStrictEqual(foreign, { status: 403, body: "This origin may not connect." })
      yield* connect(ws("/rooms/red"), { origin: `http://127.0.0.1:${port}` })
    }))
})

describe("the program", () => {
  it.scopedLive("answers probes, and tells its metrics in the Prometheus format", () =>
    Effect.gen(function*() {
      const { url, ws } = yield* start()
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
      for (const name of ["process_cpu_seconds_total", "nodejs_eventloop_lag_seconds", "nodejs_heap_size_used_bytes"]) {
        assert.isTrue(before.has(name), name)
      }
      const [ada, bob] = yield* Effect.all([connect(ws("/rooms/x")), connect(ws("/rooms/x"))])
      yield* say(ada, ["one", "two", "three"])
      bob.socket.close()
      yield* bob.closed
      yield* refusal(ws("/rooms/a.b"))

      const closed = (families: typeof before) => value(families, "ws_hub_closes_total", { by: "peer" }) === 1
      const after = yield* Effect.repeat(metrics, { until: closed })
      assert.strictEqual(value(after, "ws_hub_connections"), 1)
      assert.strictEqual(value(after, "ws_hub_opens_total"), 2)
      assert.strictEqual(value(after, "ws_hub_messages_in_total"), 3)
      assert.isAtLeast(value(after, "ws_hub_messages_out_total") ?? 0, 6)
      assert.strictEqual(
        value(after, "ws_hub_fan_out_size_bucket", { le: "4" }),
        value(after, "ws_hub_fan_out_size_count")
      )
      assert.isAtLeast(value(after, "ws_hub_handshake_refusals_total") ?? 0, 1)
      assert.strictEqual(after.get("ws_hub_connections")?.help, "Open connections")
    }))

  it.scopedLive("says where it is, and nothing about any request, message or secret", () =>
    Effect.gen(function*() {
      const { exit, output, signal, url, ws } = yield* start(["--message-bytes", "100", "--client-insecure=false"])
      const headers = { authorization: "Bearer s3cret-token", cookie: "id=s3cret-cookie" }
      const peer = yield* connect(ws("/rooms/x?token=s3cret-query"), { headers })
      yield* say(peer, Array.from({ length: 100 }, (_, n) => `s3cret-message ${n}`))
      yield* get(`${url}/health?token=s3cret-query`, { headers })
      yield* refusal(ws("/rooms/not.a.room?token=s3cret-query"), { headers })
      yield* peer.send("x".repeat(101))
      assert.strictEqual((yield* peer.closed).code, 1009)
      assert.deepStrictEqual(output(), { stdout: `effect-ws-hub listens on ${url}\n`, stderr: "" })

      yield* signal("SIGTERM")
      const { stderr, stdout } = yield* exit
      assert.strictEqual(stdout, `effect-ws-hub listens on ${url}\n`)
      assert.match(stderr, /^timestamp=\S+ level=INFO fiber=\S+ message=draining\n$/)
    }))
})

describe("stopping", () => {
  for (const name of ["SIGTERM", "SIGINT"] as const) {
    it.scopedLive(`${name}: every peer gets 1001, what was published before is delivered, exit code 0`, () =>
      Effect.gen(function*() {
        const { exit, signal, ws } = yield* start()
        const peers = yield* Effect.all(Array.from({ length: 20 }, () => connect(ws("/rooms/x"))), { concurrency: 5 })
        yield* Effect.forEach(peers.slice(0, 1), (peer) => say(peer, ["last words"]))
        yield* signal(name)
        for (const [index, peer] of peers.entries()) {
          assert.deepStrictEqual(yield* peer.closed, { code: 1001, reason: "server is going away" })
          if (index > 0) assert.strictEqual(yield* peer.take, "last words")
        }
        assert.deepInclude(yield* exit, { code: 0, signal: null })
      }))
  }

  it.scopedLive("while a peer holds the drain: it lives, is not ready, refuses newcomers; then it ends with 0", () =>
    Effect.gen(function*() {
      const { exit, signal, url, ws } = yield* start(["--close-grace", "30 seconds", "--drain-deadline", "40 seconds"])
      const slow = yield* connect(ws("/rooms/x"))
      slow.socket.pause()
      yield* signal("SIGTERM")
      const { body, headers } = yield* until(`${url}/ready`, 503)
      assert.strictEqual(body, "not ready: the hub is draining\n")
      assert.strictEqual(headers.get("retry-after"), "1")
      assert.strictEqual((yield* get(`${url}/health`)).status, 200)
      assert.strictEqual((yield* get(`${url}/metrics`)).status, 200)
      assert.strictEqual((yield* refusal(ws("/rooms/x"))).status, 503)
      slow.socket.resume()
      assert.strictEqual((yield* slow.closed).code, 1001)
      assert.deepInclude(yield* exit, { code: 0, signal: null })
    }))

  it.scopedLive("a peer that never answers is cut off at the deadline: exit code 0", () =>
    Effect.gen(function*() {
      const { exit, signal, ws } = yield* start(["--close-grace", "10 seconds", "--drain-deadline", "300 millis"])
      const stuck = yield* connect(ws("/rooms/x"))
      stuck.socket.pause()
      yield* signal("SIGINT")
      const [took, { code }] = yield* Effect.timed(exit)
      assert.strictEqual(code, 0)
      assert.isBelow(Duration.toMillis(took), 9000)
    }))

  it.scopedLive("a second signal ends it at once", () =>
    Effect.gen(function*() {
      const { exit, signal, url, ws } = yield* start(["--close-grace", "5 minutes", "--drain-deadline", "5 minutes"])
      const stuck = yield* connect(ws("/rooms/x"))
      stuck.socket.pause()
      yield* signal("SIGTERM")
      yield* until(`${url}/ready`, 503)
      yield* signal("SIGTERM")
      assert.deepInclude(yield* exit, { signal: "SIGTERM" })
    }))
})
