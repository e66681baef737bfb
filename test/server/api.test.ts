/** The server API over the service itself, beside the websocket: what it says, and what clients see of it. */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import { ProtocolError } from "../../src/channels/ProtocolCode.js"
import {
  connected,
  inSeconds,
  namespaces,
  type Sdk,
  sdk,
  serve,
  type ServeOptions,
  type Server,
  user
} from "../channels/support.js"
import { eventually, eventuallyEffect } from "../node/support.js"

const key = "a-key"

type Api = (method: string, params: unknown) => Effect.Effect<unknown>

const start = (options: ServeOptions = {}) =>
  Effect.map(serve({ apiKey: key, name: "one", version: "1.2.3", ...options }), (server) => {
    const api: Api = (method, params) =>
      Effect.promise(async () => {
        const response = await fetch(`http://127.0.0.1:${server.port}/api/${method}`, {
          method: "POST",
          headers: { "x-api-key": key },
          body: JSON.stringify(params)
        })
        assert.strictEqual(response.status, 200)
        return await response.json()
      })
    return { server, api }
  })

const ok = (result: unknown = {}) => ({ result })
const refused = (code: number, message: string) => ({ error: { code, message } })

/** A client of this user, and its id. */
const identified = (server: Server, name: string) =>
  Effect.gen(function*() {
    const client = yield* sdk(server, { claims: { user: name, info: { name } } })
    return { client, id: (yield* client.connect).client }
  })

const untouched = (client: Sdk) =>
  Effect.map(client.settled, () => assert.deepStrictEqual(client.names, ["connecting", "connected"]))

const epochOf = (server: Server, channel: string) =>
  Effect.map(server.channels.history(channel, { limit: 0 }), ({ epoch }) => epoch)

describe("publishing", () => {
  it.scopedLive("a broker that is away: error 100 each time, and one line in the log for an outage", () => {
    const said: Array<string> = []
    const logger = Logger.make(({ cause, logLevel, message }) => {
      const [why] = Cause.pretty(cause).split("\n")
      if (LogLevel.greaterThanEqual(logLevel, LogLevel.Warning)) said.push(`${String(message)}: ${why}`)
    })
    return Effect.gen(function*() {
      const { api, server } = yield* start()
      const publish = api("publish", { channel: "kept:x", data: 1 })
      const line = "The server API failed to publish: BrokerError: The broker failed to publish: broken by the test"
      for (const lines of [[line], [line, line]]) {
        server.faults.broken.add("publish")
        for (let times = 0; times < 3; times++) {
          assert.deepStrictEqual(yield* publish, refused(100, "internal server error"))
        }
        server.faults.broken.delete("publish")
        assert.containsAllKeys(yield* publish, ["result"])
        assert.deepStrictEqual(said, lines)
      }
    }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
  })

  it.scopedLive("publish reaches the subscribers, with its tags, and says its position", () =>
    Effect.gen(function*() {
      const { api, server } = yield* start()
      const [client, other] = [yield* connected(server), yield* connected(server)]
      const sub = yield* client.subscribe("kept:x")
      const epoch = yield* epochOf(server, "kept:x")
      assert.deepStrictEqual(
        yield* api("publish", { channel: "kept:x", data: { n: [1, null] }, tags: { a: "b" } }),
        ok({ offset: 1, epoch })
      )
      assert.deepStrictEqual(yield* sub.next("publication"), {
        channel: "kept:x",
        data: { n: [1, null] },
        offset: 1,
        tags: { a: "b" }
      })
      assert.deepStrictEqual(yield* api("publish", { channel: "kept:x", data: 2, skip_history: true }), ok())
      assert.deepStrictEqual(yield* sub.next("publication"), { channel: "kept:x", data: 2 })
      yield* untouched(other)
    }))

  it.scopedLive("a second publish with one idempotency key is not made, and gets the first one's position", () =>
    Effect.gen(function*() {
      const { api, server } = yield* start()
      const sub = yield* (yield* connected(server)).subscribe("kept:x")
      const first = yield* api("publish", { channel: "kept:x", data: 1, idempotency_key: "k" })
      assert.deepStrictEqual(yield* api("publish", { channel: "kept:x", data: 2, idempotency_key: "k" }), first)
      yield* api("publish", { channel: "kept:x", data: 3, idempotency_key: "l" })
      assert.deepStrictEqual(yield* sub.data(2), [1, 3])
    }))

  it.scopedLive("a version that is not newer is not published; where it could not be told, it is refused", () =>
    Effect.gen(function*() {
      const merged = { ...namespaces.namespaces.kept, coalesceWindow: "1 second" }
      const { api, server } = yield* start({ namespaces: { ...namespaces.namespaces, merged } })
      const sub = yield* (yield* connected(server)).subscribe("kept:x")
      const publish = (channel: string, version: number, more: object = {}) =>
        api("publish", { channel, data: version, version, ...more })
      const first = yield* publish("kept:x", 7)
      assert.deepStrictEqual(yield* publish("kept:x", 6), first)
      assert.deepStrictEqual(yield* publish("kept:x", 7), first)
      yield* publish("kept:x", 1, { version_epoch: "again" })
      assert.deepStrictEqual(yield* sub.data(2), [7, 1])
      assert.deepStrictEqual(
        yield* publish("kept:x", 0, { version_epoch: "again" }),
        refused(107, "bad request: an epoch of versions needs a version")
      )
      assert.deepStrictEqual(yield* publish("x", 1), refused(108, "not available: a version needs history"))
      assert.deepStrictEqual(
        yield* publish("kept:x", 8, { skip_history: true }),
        refused(108, "not available: a version needs history")
      )
      assert.deepStrictEqual(
        yield* publish("merged:x", 1),
        refused(108, "not available: a channel with a coalesceWindow has no versions")
      )
    }))

  it.scopedLive("broadcast does not wait for one channel before it publishes to the next", () =>
    Effect.gen(function*() {
      const { api, server } = yield* start()
      const channels = Array.from({ length: 50 }, (_, n) => `kept:${n}`)
      const open = yield* Effect.makeLatch()
      let begun = 0
      server.faults.before = () => {
        begun++
        return open.await
      }
      const all = yield* Effect.fork(api("broadcast", { channels, data: 1 }))
      yield* eventually(() => begun === channels.length)
      yield* open.open
      const answer = yield* Fiber.join(all)
      assert.strictEqual(JSON.stringify(answer).match(/"offset":1/g)?.length, channels.length)
    }))

  it.scopedLive("broadcast reaches each channel, and says which there is not", () =>
    Effect.gen(function*() {
      const { api, server } = yield* start()
      const client = yield* connected(server)
      const [x, y] = [yield* client.subscribe("x"), yield* client.subscribe("kept:y")]
      const epoch = yield* epochOf(server, "kept:y")
      assert.deepStrictEqual(
        yield* api("broadcast", { channels: ["x", "no:x", "kept:y"], data: "all" }),
        ok({ responses: [ok(), refused(102, "unknown channel"), ok({ offset: 1, epoch })] })
      )
      assert.deepStrictEqual([yield* x.data(1), yield* y.data(1)], [["all"], ["all"]])
    }))

  it.scopedLive("what the service refuses is the error of the answer", () =>
    Effect.gen(function*() {
      const { api, server } = yield* start()
      assert.deepStrictEqual(yield* api("publish", { channel: "no:x", data: 1 }), refused(102, "unknown channel"))
      assert.deepStrictEqual(yield* api("history", { channel: "x" }), refused(108, "not available"))
      assert.deepStrictEqual(yield* api("presence", { channel: "x" }), refused(108, "not available"))
      server.faults.broken.add("publish")
      assert.deepStrictEqual(yield* api("publish", { channel: "x", data: 1 }), refused(100, "internal server error"))
    }))
})

describe("a user's connections", () => {
  it.scopedLive("subscribe and unsubscribe: all of them, or one", () =>
    Effect.gen(function*() {
      const { api, server } = yield* start()
      const [one, two] = [yield* identified(server, "ada"), yield* identified(server, "ada")]
      const bob = yield* user(server, "bob")
      assert.deepStrictEqual(
        yield* api("subscribe", { user: "ada", channel: "present:x", data: { hello: 1 }, info: { seat: 7 } }),
        ok()
      )
      for (const { client } of [one, two]) {
        assert.deepInclude(yield* client.next("subscribed"), { channel: "present:x", data: { hello: 1 } })
      }
      yield* api("publish", { channel: "present:x", data: "both" })
      for (const { client } of [one, two]) {
        assert.deepInclude(yield* client.next("publication"), { channel: "present:x", data: "both" })
      }
      assert.deepStrictEqual(
        yield* api("unsubscribe", { user: "ada", channel: "present:x", client: one.id }),
        ok()
      )
      assert.deepStrictEqual(yield* one.client.next("unsubscribed"), { channel: "present:x" })
      assert.deepStrictEqual(
        yield* api("presence", { channel: "present:x" }),
        ok({
          presence: {
            [two.id]: { user: "ada", client: two.id, conn_info: { name: "ada" }, chan_info: { seat: 7 } }
          }
        })
      )
      assert.deepStrictEqual(yield* api("unsubscribe", { user: "ada", channel: "present:x" }), ok())
      assert.deepStrictEqual(yield* two.client.next("unsubscribed"), { channel: "present:x" })
      yield* untouched(bob)
    }))

  it.scopedLive("subscribe with a position brings what came after it, and with options of its own", () =>
    Effect.gen(function*() {
      const { api, server } = yield* start()
      const client = yield* user(server, "ada")
      for (const data of [1, 2, 3]) yield* api("publish", { channel: "recovered:x", data })
      const epoch = yield* epochOf(server, "recovered:x")
      yield* api("subscribe", { user: "ada", channel: "recovered:x", recover_since: { offset: 1, epoch } })
      assert.deepInclude(yield* client.next("subscribed"), { channel: "recovered:x", recoverable: true })
      assert.deepStrictEqual((yield* client.take("publication", 2)).map(({ data }) => data), [2, 3])
      yield* api("subscribe", { user: "ada", channel: "x", override: { presence: { value: true } } })
      assert.deepInclude(yield* client.next("subscribed"), { channel: "x", recoverable: false })
    }))

  it.scopedLive("a subscription of the client's own is taken too, and it stays away", () =>
    Effect.gen(function*() {
      const { api, server } = yield* start()
      const client = yield* user(server, "ada")
      const sub = yield* client.subscribe("x")
      assert.deepStrictEqual(yield* api("unsubscribe", { user: "ada", channel: "x" }), ok())
      assert.deepStrictEqual(yield* sub.next("unsubscribed"), {
        channel: "x",
        code: 2000,
        reason: "server unsubscribe"
      })
      assert.deepStrictEqual(yield* api("channels", {}), ok({ channels: {} }))
    }))

  it.scopedLive("disconnect: with 3503, or a code of one's own, with a reason or without; all but some", () =>
    Effect.gen(function*() {
      const { api, server } = yield* start()
      const [one, two] = [yield* identified(server, "ada"), yield* identified(server, "ada")]
      const bob = yield* user(server, "bob")
      const eve = yield* user(server, "eve")
      assert.deepStrictEqual(yield* api("disconnect", { user: "ada", whitelist: [two.id] }), ok())
      assert.deepStrictEqual(yield* one.client.next("disconnected"), { code: 3503, reason: "force disconnect" })
      yield* untouched(two.client)
      yield* api("disconnect", { user: "bob", disconnect: { code: 4500, reason: "bye" } })
      assert.deepStrictEqual(yield* bob.next("disconnected"), { code: 4500, reason: "bye" })
      yield* api("disconnect", { user: "eve", disconnect: { code: 4501 } })
      assert.strictEqual((yield* eve.next("disconnected")).code, 4501)
      yield* api("disconnect", { user: "ada", disconnect: { code: 4000, reason: "come back" } })
      yield* two.client.next("connecting")
      assert.deepStrictEqual(yield* two.client.next("connecting"), { code: 4000, reason: "come back" })
      yield* two.client.take("connected", 1)
    }))

  it.scopedLive("refresh: declares a connection expired, or says when it will be", () =>
    Effect.gen(function*() {
      const { api, server } = yield* start({ expiredDelay: 10 })
      const one = yield* identified(server, "ada")
      const two = yield* user(server, "ada", { expireAt: inSeconds(60), serverRefresh: true })
      const bob = yield* user(server, "bob")
      assert.deepStrictEqual(yield* api("refresh", { user: "ada", client: one.id, expired: true }), ok())
      yield* one.client.next("connecting")
      assert.deepStrictEqual(yield* one.client.next("connecting"), { code: 3005, reason: "connection expired" })
      yield* untouched(two)
      assert.deepStrictEqual(yield* api("refresh", { user: "ada", expire_at: inSeconds(-1) }), ok())
      yield* two.next("connecting")
      assert.deepStrictEqual(yield* two.next("connecting"), { code: 3005, reason: "connection expired" })
      yield* untouched(bob)
    }))
})

describe("what there is", () => {
  it.scopedLive("presence and presence_stats", () =>
    Effect.gen(function*() {
      const { api, server } = yield* start()
      const [one, two, bob] = [
        yield* identified(server, "ada"),
        yield* identified(server, "ada"),
        yield* identified(server, "bob")
      ]
      for (const { client } of [one, two, bob]) yield* client.subscribe("present:x")
      const info = (name: string, client: string) => ({ user: name, client, conn_info: { name } })
      assert.deepStrictEqual(
        yield* api("presence", { channel: "present:x" }),
        ok({
          presence: {
            [one.id]: info("ada", one.id),
            [two.id]: info("ada", two.id),
            [bob.id]: info("bob", bob.id)
          }
        })
      )
      assert.deepStrictEqual(
        yield* api("presence_stats", { channel: "present:x" }),
        ok({ num_clients: 3, num_users: 2 })
      )
      bob.client.client.disconnect()
      yield* eventuallyEffect(
        Effect.map(api("presence_stats", { channel: "present:x" }), (answer) =>
          JSON.stringify(answer) === JSON.stringify(ok({ num_clients: 2, num_users: 1 })))
      )
    }))

  it.scopedLive("history in parts and in reverse, and history_remove, which keeps the position", () =>
    Effect.gen(function*() {
      const { api, server } = yield* start()
      const { client, id } = yield* identified(server, "ada")
      const sub = yield* client.subscribe("kept:x")
      yield* api("publish", { channel: "kept:x", data: "a", tags: { t: "1" } })
      yield* Effect.promise(() => sub.sub.publish("b"))
      yield* api("publish", { channel: "kept:x", data: "c" })
      const epoch = yield* epochOf(server, "kept:x")
      const a = { data: "a", offset: 1, tags: { t: "1" } }
      const b = { data: "b", offset: 2, info: { user: "ada", client: id, conn_info: { name: "ada" } } }
      const c = { data: "c", offset: 3 }
      const read = (options: object) => api("history", { channel: "kept:x", ...options })
      const found = (...publications: ReadonlyArray<unknown>) => ok({ publications, offset: 3, epoch })
      assert.deepStrictEqual(yield* read({}), found())
      assert.deepStrictEqual(yield* read({ limit: -1 }), found(a, b, c))
      assert.deepStrictEqual(yield* read({ limit: 2, reverse: true }), found(c, b))
      assert.deepStrictEqual(yield* read({ limit: 1, since: { offset: 1, epoch } }), found(b))
      assert.deepStrictEqual(
        yield* read({ limit: 1, since: { offset: 1, epoch: "other" } }),
        refused(112, "unrecoverable position")
      )
      assert.deepStrictEqual(yield* api("history_remove", { channel: "kept:x" }), ok())
      assert.deepStrictEqual(yield* read({ limit: -1 }), found())
      yield* api("publish", { channel: "kept:x", data: "d" })
      assert.deepInclude((yield* sub.take("publication", 4))[3], { data: "d", offset: 4 })
    }))

  it.scopedLive("channels by a glob, and the node", () =>
    Effect.gen(function*() {
      const { api, server } = yield* start()
      const [ada, bob] = [yield* user(server, "ada"), yield* user(server, "bob")]
      yield* user(server, "ada")
      for (const channel of ["x", "kept:a", "kept:b"]) yield* ada.subscribe(channel)
      yield* bob.subscribe("kept:a")
      const a = { "kept:a": { num_clients: 2 } }
      const b = { "kept:b": { num_clients: 1 } }
      assert.deepStrictEqual(yield* api("channels", {}), ok({ channels: { x: { num_clients: 1 }, ...a, ...b } }))
      assert.deepStrictEqual(yield* api("channels", { pattern: "kept:*" }), ok({ channels: { ...a, ...b } }))
      assert.deepStrictEqual(yield* api("channels", { pattern: "?ept:a" }), ok({ channels: a }))
      const { result: { nodes: [node, ...more] } } = (yield* api("info", {})) as {
        readonly result: { readonly nodes: ReadonlyArray<Record<string, unknown>> }
      }
      assert.deepStrictEqual(more, [])
      assert.deepInclude(node, {
        name: "one",
        version: "1.2.3",
        num_clients: 3,
        num_users: 2,
        num_channels: 3,
        num_subs: 4
      })
    }))
})

describe("calls and batches", () => {
  it.scopedLive("rpc calls the method that clients call", () =>
    Effect.gen(function*() {
      const { api, server } = yield* start()
      assert.deepStrictEqual(yield* api("rpc", { method: "sum" }), refused(104, "method not found"))
      yield* server.channels.rpc("sum", (data, { client, user }) => Effect.succeed({ data, client, user }))
      yield* server.channels.rpc(
        "fails",
        () => Effect.fail(new ProtocolError({ code: 1234, reason: "mine", temporary: false }))
      )
      yield* server.channels.rpc("dies", () => Effect.die("on purpose"))
      const { client, id } = yield* identified(server, "ada")
      assert.deepStrictEqual(yield* Effect.promise(() => client.client.rpc("sum", [1])), {
        data: { data: [1], client: id, user: "ada" }
      })
      assert.deepStrictEqual(
        yield* api("rpc", { method: "sum", params: [1] }),
        ok({ data: { data: [1], client: "", user: "" } })
      )
      assert.deepStrictEqual(yield* api("rpc", { method: "fails" }), refused(1234, "mine"))
      assert.deepStrictEqual(yield* api("rpc", { method: "dies" }), refused(100, "internal server error"))
    }))

  for (const parallel of [false, true]) {
    it.scopedLive(`a long batch lets others in, and ends when its caller has gone (parallel: ${parallel})`, () =>
      Effect.gen(function*() {
        const { api, server } = yield* start()
        let done = 0
        yield* server.channels.rpc("work", () =>
          Effect.sync(() => {
            const end = performance.now() + 2
            while (performance.now() < end) {
              // Nothing else is done.
            }
            return ++done
          }))
        const commands = Array.from({ length: 1000 }, () => ({ rpc: { method: "work" } }))
        const caller = new AbortController()
        const call = fetch(`http://127.0.0.1:${server.port}/api/batch`, {
          method: "POST",
          headers: { "x-api-key": key },
          body: JSON.stringify({ commands, parallel }),
          signal: caller.signal
        })
        yield* eventually(() => done > 0)
        assert.containsAllKeys(yield* api("info", {}), ["result"])
        caller.abort()
        yield* Effect.flip(Effect.tryPromise(() => call))
        yield* eventuallyEffect(Effect.suspend(() => {
          const before = done
          return Effect.map(api("info", {}), () => done === before)
        }))
        assert.isBelow(done, commands.length)
      }))
  }

  it.scopedLive("a batch does one after the other, and a client sees it in that order", () =>
    Effect.gen(function*() {
      const { api, server } = yield* start()
      const client = yield* user(server, "ada")
      const epoch = yield* epochOf(server, "kept:x")
      const answer = yield* api("batch", {
        commands: [
          { subscribe: { user: "ada", channel: "kept:x" } },
          { publish: { channel: "kept:x", data: 1 } },
          { publish: { channel: "no:x", data: 2 } },
          { publish: { channel: "kept:x", data: 3 } },
          { channels: {} },
          { unsubscribe: { user: "ada", channel: "kept:x" } },
          { publish: { channel: "kept:x", data: 4 } },
          { history: { channel: "kept:x", limit: 0 } },
          { disconnect: { user: "ada" } }
        ]
      })
      assert.deepStrictEqual(answer, {
        replies: [
          { subscribe: {} },
          { publish: { offset: 1, epoch } },
          refused(102, "unknown channel"),
          { publish: { offset: 2, epoch } },
          { channels: { channels: { "kept:x": { num_clients: 1 } } } },
          { unsubscribe: {} },
          { publish: { offset: 3, epoch } },
          { history: { publications: [], offset: 3, epoch } },
          { disconnect: {} }
        ]
      })
      assert.deepInclude(yield* client.next("disconnected"), { code: 3503 })
      assert.deepStrictEqual(
        client.names,
        [
          "connecting",
          "connected",
          "subscribed",
          "publication",
          "publication",
          "unsubscribed",
          "disconnected"
        ]
      )
      assert.deepStrictEqual(client.heard("publication").map(({ data }) => data), [1, 3])
    }))

  it.scopedLive("without the key nothing happens", () =>
    Effect.gen(function*() {
      const { server } = yield* start()
      const client = yield* user(server, "ada")
      const status = yield* Effect.promise(async () => {
        const response = await fetch(`http://127.0.0.1:${server.port}/api/disconnect`, {
          method: "POST",
          headers: { "x-api-key": `${key}x` },
          body: "{\"user\":\"ada\"}"
        })
        await response.arrayBuffer()
        return response.status
      })
      assert.strictEqual(status, 401)
      yield* untouched(client)
    }))
})
