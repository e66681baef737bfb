import { assert, describe, it } from "@effect/vitest"
import { Disconnect } from "effect-ws-hub"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as TestClock from "effect/TestClock"
import * as ChannelMetrics from "../../src/channels/ChannelMetrics.js"
import { disconnects, errors } from "../../src/channels/ProtocolCode.js"
import { connect as connectWith, refused } from "../node/support.js"
import { type Document, inSeconds, online, serve, Wire, wire } from "./support.js"

const bad = { code: 3501, reason: "bad request" }

const connect = { id: 1, connect: {} }
const subscribe = (id: number, channel: string, more: Document = {}) => ({ id, subscribe: { channel, ...more } })
const unsubscribe = (id: number, channel: string) => ({ id, unsubscribe: { channel } })
const publish = (id: number, channel: string, data: unknown) => ({ id, publish: { channel, data } })
const error = (id: number, code: number, message: string) => ({ id, error: { code, message } })

describe("frames", () => {
  it.scopedLive("connect says the id, the version, and when pings come", () =>
    Effect.gen(function*() {
      const client = yield* wire(yield* serve())
      const [{ connect: result, ...rest } = {}] = yield* client.ask(connect)
      assert.deepStrictEqual(rest, { id: 1 })
      assert.match(JSON.stringify(result), /^\{"client":"[-\w]{10,}"/)
      assert.deepInclude(result, { ping: 25, pong: true })
      for (const key of ["expires", "ttl", "data", "subs", "session", "node"]) assert.notProperty(result, key)
    }))

  it.scopedLive("documents of one frame are answered in their order", () =>
    Effect.gen(function*() {
      const client = yield* wire(yield* serve())
      yield* client.send(connect, subscribe(2, "a"), publish(3, "b", 1), { id: 4, history: { channel: "a" } })
      const ids = (yield* client.take(4)).map(({ id }) => id)
      assert.deepStrictEqual(ids, [1, 2, 3, 4])
    }))

  it.scopedLive("a subscribe behind its connect in one frame is processed after it", () =>
    Effect.gen(function*() {
      const client = yield* wire(yield* serve())
      const [first, second] = yield* client.ask({ connect: { name: "js" }, id: 1 }, {
        subscribe: { channel: "x", flag: 1 },
        id: 2
      })
      assert.property(first, "connect")
      assert.deepStrictEqual(second, { id: 2, subscribe: {} })
    }))

  it.scopedLive("one newline at the end of a frame is allowed", () =>
    Effect.gen(function*() {
      const client = yield* wire(yield* serve())
      yield* client.text(`${JSON.stringify(connect)}\n${JSON.stringify(subscribe(2, "x"))}\n`)
      const [, second] = yield* client.take(2)
      assert.deepStrictEqual(second, { id: 2, subscribe: {} })
    }))

  const broken: Record<string, string> = {
    "an empty frame": "",
    "a newline alone": "\n",
    "an empty line between documents": "{\"id\":2,\"rpc\":{}}\n\n{\"id\":3,\"rpc\":{}}",
    "two newlines at the end": "{\"id\":2,\"rpc\":{}}\n\n",
    "what is no JSON": "{\"id\":2,",
    "what is no JSON behind what is": "{\"id\":2,\"rpc\":{}}\n{",
    "an array": "[{\"id\":2,\"rpc\":{}}]",
    "a string": "\"rpc\"",
    "a number": "1",
    "null": "null",
    "a command without an id": "{\"rpc\":{}}",
    "a command with id 0": "{\"id\":0,\"rpc\":{}}",
    "a negative id": "{\"id\":-1,\"rpc\":{}}",
    "a fractional id": "{\"id\":1.5,\"rpc\":{}}",
    "an id above 32 bits": "{\"id\":4294967296,\"rpc\":{}}",
    "an id that is a string": "{\"id\":\"2\",\"rpc\":{}}",
    "an id without a command": "{\"id\":2}",
    "an unknown method": "{\"id\":2,\"dance\":{}}",
    "a method of the prototype": "{\"id\":2,\"constructor\":{}}",
    "__proto__ as a method": "{\"id\":2,\"__proto__\":{\"subscribe\":{\"channel\":\"x\"}}}",
    "a second connect": "{\"id\":2,\"connect\":{}}",
    "a subscribe without a channel": "{\"id\":2,\"subscribe\":{}}",
    "an unsubscribe without a channel": "{\"id\":2,\"unsubscribe\":{}}",
    "a publish without a channel": "{\"id\":2,\"publish\":{\"data\":1}}",
    "a history without a channel": "{\"id\":2,\"history\":{}}",
    "a presence without a channel": "{\"id\":2,\"presence\":{}}",
    "a presence_stats without a channel": "{\"id\":2,\"presence_stats\":{}}",
    "a sub_refresh without a channel": "{\"id\":2,\"sub_refresh\":{\"token\":\"x\"}}",
    "an unknown delta": "{\"id\":2,\"subscribe\":{\"channel\":\"x\",\"delta\":\"other\"}}"
  }
  for (const [what, frame] of Object.entries(broken)) {
    it.scopedLive(`${what} closes with 3501`, () =>
      Effect.gen(function*() {
        const client = yield* online(yield* serve())
        yield* client.text(frame)
        assert.deepStrictEqual(yield* client.closed, bad)
      }))
  }

  it.scopedLive("what stands before the broken document is answered", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* online(server)
      yield* client.text(`${JSON.stringify(subscribe(2, "x"))}\n{`)
      assert.deepStrictEqual(yield* client.closed, bad)
    }))

  it.scopedLive("a binary frame is read as its text", () =>
    Effect.gen(function*() {
      const client = yield* online(yield* serve())
      yield* client.text(new TextEncoder().encode(JSON.stringify(subscribe(2, "x"))))
      assert.deepStrictEqual(yield* client.next, { id: 2, subscribe: {} })
      yield* client.text(new Uint8Array([0, 1, 255]))
      assert.deepStrictEqual(yield* client.closed, bad)
    }))

  it.scopedLive("unknown fields are ignored", () =>
    Effect.gen(function*() {
      const client = yield* wire(yield* serve())
      const [first, second] = yield* client.ask(
        { id: 1, connect: { flag: 7, profile: "p", dict: "d", other: [1] }, extra: true },
        { id: 2, subscribe: { channel: "x", other: {} } }
      )
      assert.property(first, "connect")
      assert.deepStrictEqual(second, { id: 2, subscribe: {} })
    }))

  it.scopedLive("of several methods in a command the first of the protocol counts", () =>
    Effect.gen(function*() {
      const client = yield* online(yield* serve())
      const [reply] = yield* client.ask({
        rpc: {},
        publish: { channel: "b", data: 1 },
        subscribe: { channel: "x" },
        id: 2
      })
      assert.deepStrictEqual(reply, { id: 2, subscribe: {} })
    }))

  it.scopedLive("the largest id is echoed", () =>
    Effect.gen(function*() {
      const client = yield* online(yield* serve())
      assert.deepStrictEqual(yield* client.ask(subscribe(4294967295, "x")), [{ id: 4294967295, subscribe: {} }])
    }))
})

describe("the form of the protocol", () => {
  const json = ["centrifuge-json"]
  const protobuf = ["centrifuge-protobuf"]

  it.scopedLive("is JSON: whether a client says so, gives a choice, or says nothing", () =>
    Effect.gen(function*() {
      const { url } = yield* serve()
      for (const [protocols, chosen] of [[json, json[0]], [[...protobuf, ...json], json[0]], [[], ""]] as const) {
        const client = new Wire(yield* connectWith(url, { protocols: [...protocols] }))
        assert.strictEqual(client.peer.ws.protocol, chosen)
        const [reply] = yield* client.ask(connect)
        assert.property(reply, "connect")
      }
    }))

  it.scopedLive("refuses Protobuf, and whatever else is not spoken, with 400 and what is", () =>
    Effect.gen(function*() {
      const { hub, url } = yield* serve()
      for (const protocols of [protobuf, ["chat"]]) {
        const answer = yield* refused(url, { protocols })
        assert.strictEqual(answer.status, 400)
        assert.include(answer.body, "centrifuge-json")
      }
      assert.strictEqual(yield* hub.size, 0)
    }))

  for (const query of ["format=protobuf", "cf_protocol=protobuf", "x=1&cf_protocol=protobuf&y"]) {
    it.scopedLive(`closes with 3506 who asks for Protobuf by ?${query}`, () =>
      Effect.gen(function*() {
        const server = yield* serve()
        const client = yield* wire({ url: `${server.url}?${query}` })
        assert.deepStrictEqual(yield* client.rest, [])
        assert.deepStrictEqual(yield* client.closed, { code: 3506, reason: "inappropriate protocol" })
      }))
  }

  it.scopedLive("may be asked for in the URL, beside what else there is", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      for (const query of ["", "format=json", "cf_protocol_version=v2", "a=format=protobuf", "%E0%A4%A&?#"]) {
        const [reply] = yield* (yield* wire({ url: `${server.url}?${query}` })).ask(connect)
        assert.property(reply, "connect")
      }
    }))
})

describe("before and after connect", () => {
  const commands: Record<string, unknown> = {
    subscribe: subscribe(1, "x"),
    publish: publish(1, "x", 1),
    rpc: { id: 1, rpc: { method: "m" } },
    send: { send: { data: 1 } },
    "a pong": {}
  }
  for (const [name, command] of Object.entries(commands)) {
    it.scopedLive(`${name} before connect closes with 3501`, () =>
      Effect.gen(function*() {
        const client = yield* wire(yield* serve())
        yield* client.send(command)
        assert.deepStrictEqual(yield* client.closed, bad)
        assert.deepStrictEqual(yield* client.rest, [])
      }))
  }

  it.scopedLive("a connect that is answered with an error drops the rest of its frame", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* wire(server)
      yield* client.send(
        { id: 1, connect: { token: JSON.stringify({ expireAt: 1 }) } },
        subscribe(2, "x"),
        publish(3, "x", 1)
      )
      assert.deepStrictEqual(yield* client.next, error(1, 109, "token expired"))
      yield* client.send(subscribe(4, "x"))
      assert.deepStrictEqual(yield* client.closed, bad)
      assert.deepStrictEqual(yield* client.rest, [])
    }))

  it.scopedLive("whoever does not connect in time is closed with 3502", () =>
    Effect.gen(function*() {
      const client = yield* wire(yield* serve({ staleTimeout: 50 }))
      assert.deepStrictEqual(yield* client.closed, { code: 3502, reason: "stale" })
    }))

  it.scopedLive("a connect that was refused does not stop that clock", () =>
    Effect.gen(function*() {
      const client = yield* wire(yield* serve({ staleTimeout: 200 }))
      yield* client.ask({ id: 1, connect: { token: JSON.stringify({ fail: { code: 100, temporary: true } }) } })
      assert.deepStrictEqual(yield* client.closed, { code: 3502, reason: "stale" })
    }))

  it.scopedLive("nobody hears of a client whose socket closed while its connect was under way", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* wire(server)
      yield* client.send(connect, subscribe(2, "present:x"))
      yield* client.peer.close()
      yield* Effect.repeat(Effect.zipRight(Effect.yieldNow(), server.hub.size), { until: (size) => size === 0 })
      assert.strictEqual((yield* server.channels.presence("present:x")).size, 0)
      assert.strictEqual((yield* server.channels.channels()).channels.size, 0)
    }))
})

describe("pings", () => {
  it.scopedLive("a ping is {}, and its pong keeps the connection", () =>
    Effect.gen(function*() {
      const client = yield* online(yield* serve({ pingInterval: 1000, pongTimeout: 200 }))
      for (let n = 0; n < 3; n++) {
        assert.deepStrictEqual(yield* client.next, {})
        yield* client.send({})
      }
      assert.deepStrictEqual(yield* client.next, {})
    }))

  it.scoped("the time from a ping to its pong is measured, that of the newest where more are owed", () =>
    Effect.gen(function*() {
      const server = yield* serve({ pingInterval: 1000, pongTimeout: 900 })
      const gate = yield* Deferred.make<void>()
      yield* server.channels.rpc("wait", () => Deferred.await(gate))
      const client = yield* online(server)
      const before = yield* Metric.value(ChannelMetrics.pongLatency)
      const measured = Effect.map(Metric.value(ChannelMetrics.pongLatency), ({ count, sum }) => ({
        count: count - before.count,
        seconds: sum - before.sum
      }))
      // The first comes after half of the interval or more.
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* client.next, {})
      yield* TestClock.adjust("200 millis")
      yield* client.send({}, { id: 2, rpc: { method: "nobody answers" } })
      yield* client.next
      const one = yield* measured
      assert.strictEqual(one.count, 1)
      assert.isAtLeast(one.seconds, 0.2)
      assert.isAtMost(one.seconds, 0.701)
      yield* client.send({ id: 3, rpc: { method: "wait" } })
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* client.take(2), [{}, {}])
      yield* Deferred.succeed(gate, undefined)
      yield* client.send({}, {}, { id: 4, rpc: { method: "nobody answers" } })
      yield* client.take(2)
      const two = yield* measured
      assert.strictEqual(two.count, 2)
      assert.isAtMost(two.seconds - one.seconds, 0.701)
    }))

  it.scopedLive("a pong that was not asked for closes with 3501", () =>
    Effect.gen(function*() {
      const client = yield* online(yield* serve())
      yield* client.send({})
      assert.deepStrictEqual(yield* client.closed, bad)
    }))

  it.scopedLive("the second pong to one ping closes with 3501", () =>
    Effect.gen(function*() {
      const client = yield* online(yield* serve({ pingInterval: 1000, pongTimeout: 900 }))
      assert.deepStrictEqual(yield* client.next, {})
      yield* client.send({}, {})
      assert.deepStrictEqual(yield* client.closed, bad)
    }))

  it.scopedLive("a ping without a pong closes with 3012", () =>
    Effect.gen(function*() {
      const client = yield* online(yield* serve({ pingInterval: 1000, pongTimeout: 200 }))
      assert.deepStrictEqual(yield* client.next, {})
      assert.deepStrictEqual(yield* client.closed, { code: 3012, reason: "no pong" })
    }))

  it.scopedLive("a command is no pong", () =>
    Effect.gen(function*() {
      const client = yield* online(yield* serve({ pingInterval: 1000, pongTimeout: 200 }))
      assert.deepStrictEqual(yield* client.next, {})
      yield* client.send(subscribe(2, "x"))
      assert.deepStrictEqual(yield* client.closed, { code: 3012, reason: "no pong" })
    }))

  it.scoped("without a time for pongs none is asked for, and none is missed", () =>
    Effect.gen(function*() {
      const client = yield* wire(yield* serve({ pingInterval: 1000, pongTimeout: 0 }))
      const [reply] = yield* client.ask(connect)
      assert.deepInclude(reply?.["connect"], { ping: 1 })
      assert.notProperty(reply?.["connect"], "pong")
      for (let n = 0; n < 5; n++) {
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* client.next, {})
      }
      yield* client.send({}, {})
      assert.deepStrictEqual(yield* client.ask(publish(2, "x", 1)), [{ id: 2, publish: {} }])
    }))

  it.scopedLive("pings come every 25 seconds unless told otherwise", () =>
    Effect.gen(function*() {
      const [reply] = yield* (yield* wire(yield* serve())).ask(connect)
      assert.deepInclude(reply?.["connect"], { ping: 25, pong: true })
    }))
})

describe("replies", () => {
  it.scopedLive("results without content are {} under the method's name", () =>
    Effect.gen(function*() {
      const client = yield* online(yield* serve())
      assert.deepStrictEqual(yield* client.ask(subscribe(2, "x"), publish(3, "other", 1), unsubscribe(4, "x")), [
        { id: 2, subscribe: {} },
        { id: 3, publish: {} },
        { id: 4, unsubscribe: {} }
      ])
    }))

  it.scopedLive("unsubscribing from a channel that one is not subscribed to is {}", () =>
    Effect.gen(function*() {
      const client = yield* online(yield* serve())
      assert.deepStrictEqual(yield* client.ask(unsubscribe(2, "x"), unsubscribe(3, "nowhere:x")), [
        { id: 2, unsubscribe: {} },
        { id: 3, unsubscribe: {} }
      ])
    }))

  it.scopedLive("subscribing again right after unsubscribing, in one frame", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* online(server)
      yield* client.ask(subscribe(2, "present:x"))
      const replies = yield* client.ask(
        unsubscribe(3, "present:x"),
        subscribe(4, "present:x"),
        unsubscribe(5, "present:x"),
        subscribe(6, "present:x")
      )
      assert.deepStrictEqual(replies, [
        { id: 3, unsubscribe: {} },
        { id: 4, subscribe: {} },
        { id: 5, unsubscribe: {} },
        { id: 6, subscribe: {} }
      ])
      yield* server.channels.publish("present:x", "heard")
      assert.deepStrictEqual(yield* client.next, { push: { channel: "present:x", pub: { data: "heard" } } })
      assert.strictEqual((yield* server.channels.presence("present:x")).size, 1)
    }))

  it.scopedLive("a second subscribe to the same channel is error 105, in one frame too", () =>
    Effect.gen(function*() {
      const client = yield* online(yield* serve())
      assert.deepStrictEqual(yield* client.ask(subscribe(2, "x"), subscribe(3, "x")), [
        { id: 2, subscribe: {} },
        error(3, 105, "already subscribed")
      ])
    }))

  it.scopedLive("ping is error 108, as any method that is off", () =>
    Effect.gen(function*() {
      const client = yield* online(yield* serve())
      assert.deepStrictEqual(
        yield* client.ask({ id: 2, ping: {} }, { id: 3, rpc: { method: "m" } }, { id: 4, history: { channel: "x" } }),
        [error(2, 108, "not available"), error(3, 108, "not available"), error(4, 108, "not available")]
      )
    }))

  for (const type of [1, 2, 3, 4]) {
    it.scopedLive(`a subscription of type ${type} is error 108`, () =>
      Effect.gen(function*() {
        const client = yield* online(yield* serve())
        assert.deepStrictEqual(yield* client.ask(subscribe(2, "x", { type })), [error(2, 108, "not available")])
      }))
  }

  it.scopedLive("a filter of tags is error 107", () =>
    Effect.gen(function*() {
      const client = yield* online(yield* serve())
      const [reply] = yield* client.ask(subscribe(2, "x", { tf: { key: "a", cmp: "eq", val: "b" } }))
      assert.deepInclude(reply?.["error"], { code: 107 })
    }))

  it.scopedLive("an error that is temporary says so, another does not mention it", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      server.faults.broken.add("publish")
      const client = yield* online(server)
      assert.deepStrictEqual(yield* client.ask(publish(2, "x", 1), publish(3, "nowhere:x", 1)), [
        { id: 2, error: { code: 100, message: "internal server error", temporary: true } },
        error(3, 102, "unknown channel")
      ])
    }))

  it.scopedLive("numbers are numbers, and zero values are left out", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* online(server)
      const [first] = yield* client.ask(subscribe(2, "recovered:x"))
      const { epoch, ...rest } = first?.["subscribe"] as Document
      assert.match(String(epoch), /^.+$/)
      assert.deepStrictEqual(rest, { recoverable: true, positioned: true })
      yield* client.ask(publish(3, "kept:y", 1))
      yield* server.channels.publish("recovered:x", { a: 1 })
      assert.deepStrictEqual(yield* client.next, {
        push: { channel: "recovered:x", pub: { data: { a: 1 }, offset: 1 } }
      })
      const [, second] = yield* client.ask(unsubscribe(4, "recovered:x"), subscribe(5, "recovered:x"))
      assert.deepStrictEqual(second, {
        id: 5,
        subscribe: { recoverable: true, positioned: true, offset: 1, epoch }
      })
    }))

  it.scopedLive("history always says its publications, offset and epoch", () =>
    Effect.gen(function*() {
      const client = yield* online(yield* serve())
      const [reply] = yield* client.ask({ id: 2, history: { channel: "kept:x" } })
      const { epoch, ...rest } = reply?.["history"] as Document
      assert.match(String(epoch), /^.+$/)
      assert.deepStrictEqual(rest, { publications: [], offset: 0 })
    }))

  it.scopedLive("presence and its statistics say what is zero, and who is anonymous", () =>
    Effect.gen(function*() {
      const client = yield* online(yield* serve())
      const [none, zero] = yield* client.ask(
        { id: 2, presence: { channel: "present:x" } },
        { id: 3, presence_stats: { channel: "present:x" } }
      )
      assert.deepStrictEqual(none, { id: 2, presence: { presence: {} } })
      assert.deepStrictEqual(zero, { id: 3, presence_stats: { num_clients: 0, num_users: 0 } })
      yield* client.ask(subscribe(4, "present:x"))
      const [one, stats] = yield* client.ask(
        { id: 5, presence: { channel: "present:x" } },
        { id: 6, presence_stats: { channel: "present:x" } }
      )
      const found = Object.entries((one?.["presence"] as Document)["presence"] as Document)
      assert.deepStrictEqual(found.map(([client, info]) => [client === (info as Document)["client"], info]), [
        [true, { user: "", client: found[0]?.[0] }]
      ])
      assert.deepStrictEqual(stats, { id: 6, presence_stats: { num_clients: 1, num_users: 1 } })
    }))

  it.scopedLive("a client's own info goes along with what it publishes", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* online(server, { user: "ada", info: { name: "Ada" } })
      yield* client.ask(subscribe(2, "x"))
      yield* client.send(publish(3, "x", null))
      const [one, two] = yield* client.take(2)
      const push = one?.["push"] === undefined ? two : one
      const { client: id, ...info } = (((push?.["push"] as Document)["pub"] as Document)["info"]) as Document
      assert.match(String(id), /^.+$/)
      assert.deepStrictEqual(info, { user: "ada", conn_info: { name: "Ada" } })
    }))

  it.scopedLive("null is data, in publications and in calls", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      yield* server.channels.rpc("null", (data) => Effect.succeed(data))
      const client = yield* online(server)
      yield* client.ask(subscribe(2, "x"))
      yield* server.channels.publish("x", null)
      assert.deepStrictEqual(yield* client.next, { push: { channel: "x", pub: { data: null } } })
      assert.deepStrictEqual(yield* client.ask({ id: 3, rpc: { method: "null", data: null } }), [
        { id: 3, rpc: { data: null } }
      ])
    }))

  it.scopedLive("a newline within data does not end a document", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* online(server)
      yield* client.ask(subscribe(2, "x"))
      yield* server.channels.publish("x", { text: "a\nb\u2028c\r\n" })
      assert.deepStrictEqual(yield* client.next, {
        push: { channel: "x", pub: { data: { text: "a\nb\u2028c\r\n" } } }
      })
    }))
})

describe("pushes", () => {
  it.scopedLive("none comes before the reply to its subscribe", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* online(server)
      // While the broker is being asked, and again when it has been.
      server.faults.before = (operation, channel) =>
        operation === "history" && channel === "recovered:x"
          ? Effect.orDie(Effect.asVoid(server.channels.publish("recovered:x", operation)))
          : Effect.void
      yield* client.send(subscribe(2, "recovered:x"))
      yield* server.channels.publish("recovered:x", "beside")
      const [first] = yield* client.take(1)
      assert.strictEqual(first?.["id"], 2)
      server.faults.before = () => Effect.void
      yield* server.channels.publish("recovered:x", "end")
      const seen = new Array<number>()
      const from = Number((first?.["subscribe"] as Document)["offset"] ?? 0)
      for (;;) {
        const { push } = yield* client.next
        const { data, offset } = (push as Document)["pub"] as Document
        seen.push(Number(offset))
        if (data === "end") break
      }
      assert.deepStrictEqual(seen, seen.map((_, index) => from + 1 + index))
    }))

  it.scopedLive("a recovered reply says the position that was asked for, and the publications in order", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* online(server)
      for (const n of [1, 2, 3, 4]) yield* server.channels.publish("recovered:x", n)
      const { epoch, offset } = yield* server.channels.history("recovered:x", { limit: 0 })
      assert.strictEqual(offset, 4)
      const [reply] = yield* client.ask(subscribe(2, "recovered:x", { recover: true, epoch, offset: 1 }))
      assert.deepStrictEqual(reply?.["subscribe"], {
        recoverable: true,
        positioned: true,
        was_recovering: true,
        recovered: true,
        epoch,
        offset: 1,
        publications: [{ data: 2, offset: 2 }, { data: 3, offset: 3 }, { data: 4, offset: 4 }]
      })
    }))

  it.scopedLive("an unrecovered reply says the top, and has no publications", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* online(server)
      for (const n of [1, 2, 3, 4, 5]) yield* server.channels.publish("small:x", n)
      const { epoch } = yield* server.channels.history("small:x", { limit: 0 })
      const expected = { recoverable: true, positioned: true, was_recovering: true, epoch, offset: 5 }
      const [reply, other, above] = yield* client.ask(
        subscribe(2, "small:x", { recover: true, epoch, offset: 1 }),
        unsubscribe(3, "small:x"),
        subscribe(4, "small:x", { recover: true, epoch: "another", offset: 5 })
      )
      assert.deepStrictEqual(reply?.["subscribe"], expected)
      assert.deepStrictEqual(other, { id: 3, unsubscribe: {} })
      assert.deepStrictEqual(above?.["subscribe"], expected)
    }))

  it.scopedLive("with flag 2 it is error 112 instead, and one is not subscribed", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* online(server)
      for (const n of [1, 2, 3, 4, 5]) yield* server.channels.publish("small:x", n)
      const [reply] = yield* client.ask(subscribe(2, "small:x", { recover: true, epoch: "_", offset: 5, flag: 3 }))
      assert.deepStrictEqual(reply, error(2, 112, "unrecoverable position"))
      assert.strictEqual((yield* server.channels.channels()).channels.size, 0)
    }))

  it.scopedLive("an empty epoch with the offset of the top is recovered", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* online(server)
      yield* server.channels.publish("recovered:x", 1)
      const { epoch } = yield* server.channels.history("recovered:x", { limit: 0 })
      const [reply] = yield* client.ask(subscribe(2, "recovered:x", { recover: true, offset: 1 }))
      assert.deepInclude(reply?.["subscribe"], { recovered: true, was_recovering: true, offset: 1, epoch })
    }))

  it.scopedLive("a publication that skips history has no offset, and moves no position", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* online(server)
      yield* client.ask(subscribe(2, "recovered:x"))
      yield* server.channels.publish("recovered:x", "one")
      yield* server.channels.publish("recovered:x", "aside", { skipHistory: true })
      yield* server.channels.publish("recovered:x", "two")
      assert.deepStrictEqual((yield* client.take(3)).map(({ push }) => (push as Document)["pub"]), [
        { data: "one", offset: 1 },
        { data: "aside" },
        { data: "two", offset: 2 }
      ])
    }))

  it.scopedLive("join comes before leave, however quickly a client goes", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const watcher = yield* online(server)
      yield* watcher.ask(subscribe(2, "pushed:x"))
      assert.property((yield* watcher.next)["push"], "join")
      for (let n = 0; n < 20; n++) {
        const client = yield* wire(server)
        yield* client.send(connect, subscribe(2, "pushed:x"))
        yield* client.take(2)
        yield* Effect.sync(() => client.peer.ws.terminate())
        const [join, leave] = (yield* watcher.take(2)).map(({ push }) => push as Document)
        assert.deepStrictEqual([Object.keys(join ?? {}), Object.keys(leave ?? {})], [
          ["channel", "join"],
          ["channel", "leave"]
        ])
        assert.deepStrictEqual(join?.["join"], leave?.["leave"])
      }
    }))

  it.scopedLive("the server's own subscriptions come with the reply to connect, then the pushes", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      yield* server.channels.publish("recovered:mine", 1)
      const client = yield* wire(server)
      const [reply] = yield* client.ask({
        id: 1,
        connect: {
          token: JSON.stringify({ user: "ada", subs: { "recovered:mine": { data: { hello: 1 } }, other: {} } })
        }
      })
      const subs = (reply?.["connect"] as Document)["subs"] as Record<string, Document>
      const { epoch } = yield* server.channels.history("recovered:mine", { limit: 0 })
      assert.deepStrictEqual(subs, {
        "recovered:mine": { recoverable: true, positioned: true, epoch, offset: 1, data: { hello: 1 } },
        other: {}
      })
      yield* server.channels.publish("other", 2)
      assert.deepStrictEqual(yield* client.next, { push: { channel: "other", pub: { data: 2 } } })
    }))

  it.scopedLive("the server's own subscriptions are recovered from the positions in connect", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      for (const n of [1, 2, 3]) yield* server.channels.publish("recovered:mine", n)
      const { epoch } = yield* server.channels.history("recovered:mine", { limit: 0 })
      const client = yield* wire(server)
      const [reply] = yield* client.ask({
        id: 1,
        connect: {
          token: JSON.stringify({ user: "ada", subs: { "recovered:mine": {} } }),
          subs: {
            "recovered:mine": { recover: true, offset: 2, epoch },
            "recovered:other": { recover: true, offset: 1, epoch }
          }
        }
      })
      assert.deepStrictEqual((reply?.["connect"] as Document)["subs"], {
        "recovered:mine": {
          recoverable: true,
          positioned: true,
          was_recovering: true,
          recovered: true,
          epoch,
          offset: 2,
          publications: [{ data: 3, offset: 3 }]
        }
      })
    }))

  it.scopedLive("a close reason is short, plain, and never empty: the SDK reads JSON in it, and forgets the code without one", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      for (const reason of ["", "{\"reason\":\"x\",\"reconnect\":true}", "é".repeat(123)]) {
        const client = yield* online(server, { user: "ada" })
        yield* server.channels.disconnect("ada", { disconnect: new Disconnect({ code: 4500, reason }) })
        const end = yield* client.closed
        assert.strictEqual(end.code, 4500)
        assert.isAbove(end.reason.length, 0)
        assert.isAtMost(Buffer.byteLength(end.reason), 123)
        assert.throws(() => JSON.parse(end.reason))
      }
    }))

  it.scopedLive("send is never answered, and without a handler closes with 3508", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* online(server)
      yield* client.send({ send: { data: { a: 1 } } })
      assert.deepStrictEqual(yield* client.closed, { code: 3508, reason: disconnects.notAvailable.reason })
      assert.deepStrictEqual(yield* client.rest, [])
    }))

  it.scopedLive("send is never answered, even if its handler fails", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      yield* server.channels.onMessage(() => Effect.fail(errors.permissionDenied))
      yield* server.channels.rpc("after", () => Effect.succeed(1))
      const client = yield* online(server)
      yield* client.send({ send: { data: 1 } }, { id: 2, rpc: { method: "after" } })
      assert.deepStrictEqual(yield* client.next, { id: 2, rpc: { data: 1 } })
    }))

  it.scopedLive("a connection that expires says when, and closes with 3005 if nobody refreshes it", () =>
    Effect.gen(function*() {
      const server = yield* serve({ expiredDelay: 50 })
      const client = yield* wire(server)
      const [reply] = yield* client.ask({
        id: 1,
        connect: { token: JSON.stringify({ user: "ada", expireAt: inSeconds(2) }) }
      })
      const { expires, ttl } = reply?.["connect"] as Document
      assert.isTrue(expires)
      assert.oneOf(ttl, [1, 2])
      assert.deepStrictEqual(yield* client.closed, { code: 3005, reason: "connection expired" })
    }))
})
