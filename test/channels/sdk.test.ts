import { assert, describe, it } from "@effect/vitest"
import { UnauthorizedError } from "centrifuge"
import { Centrifuge as Protobuf } from "centrifuge/build/protobuf"
import { Disconnect, HubMetrics } from "effect-ws-hub"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import { WebSocket } from "ws"
import { disconnects, ProtocolError } from "../../src/channels/ProtocolCode.js"
import { call, connected, inSeconds, open, refusal, sdk, serve, token, user, wire } from "./support.js"

const codes = (all: ReadonlyArray<{ readonly code: number }>) => all.map(({ code }) => code)

describe("connecting", () => {
  it.scopedLive("an anonymous client gets an id, and another one the next time", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* sdk(server)
      const first = yield* client.connect
      client.client.disconnect()
      yield* client.next("disconnected")
      const second = yield* client.connect
      assert.isAbove(first.client.length, 0)
      assert.strictEqual(first.transport, "websocket")
      assert.notProperty(first, "data")
      assert.notStrictEqual(first.client, second.client)
    }))

  it.scopedLive("a token says who the client is, and what it gets", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* sdk(server, { claims: { user: "ada", info: { name: "Ada" }, data: { hello: [1, null] } } })
      const { client: id, data } = yield* client.connect
      assert.deepStrictEqual(data, { hello: [1, null] })
      const sub = yield* client.subscribe("present:x")
      const { clients } = yield* call(() => sub.sub.presence())
      assert.deepStrictEqual(Object.keys(clients), [id])
      assert.deepInclude(clients[id], { user: "ada", client: id, connInfo: { name: "Ada" } })
    }))

  it.scopedLive("a client that speaks Protobuf does not get in", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = new Protobuf(server.url, { websocket: WebSocket, minReconnectDelay: 60_000 })
      yield* Effect.addFinalizer(() => Effect.sync(() => client.disconnect()))
      const error = Effect.async<number>((resume) => {
        client.once("error", ({ error }) => resume(Effect.succeed(error.code)))
        client.connect()
      })
      const refusals = Metric.value(HubMetrics.refusals("subprotocol"))
      const { count } = yield* refusals
      // Of an answer that is not 101 the SDK learns no more than that.
      assert.strictEqual(yield* error, 2)
      assert.strictEqual((yield* refusals).count, count + 1)
      assert.strictEqual(client.state, "connecting")
    }))

  it.scopedLive("the authenticator sees what the client says", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      yield* connected(server, {
        claims: { user: "ada" },
        data: { x: 1 },
        name: "test",
        version: "1.2",
        headers: { "X-Key": "k" }
      })
      const [asked] = server.asked.connect
      assert.deepInclude(asked, { token: token({ user: "ada" }), data: { x: 1 }, name: "test", version: "1.2" })
      assert.deepStrictEqual(Array.from(asked?.headers ?? [], ([name, value]) => [name.toLowerCase(), value]), [
        ["x-key", "k"]
      ])
    }))

  it.scopedLive("without a token, where none may, the client gives up with 3501", () =>
    Effect.gen(function*() {
      const client = yield* sdk(yield* serve({ anonymous: false }))
      client.client.connect()
      assert.deepInclude(yield* client.next("disconnected"), { code: 3501 })
    }))

  it.scopedLive("with a token that is invalid it gives up with 3500", () =>
    Effect.gen(function*() {
      const client = yield* sdk(yield* serve(), { token: "no token" })
      client.client.connect()
      assert.deepStrictEqual(yield* client.next("disconnected"), { code: 3500, reason: "invalid token" })
    }))

  it.scopedLive("with a token that expired it fetches another one and connects", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* sdk(server, {
        claims: { user: "ada", expireAt: 1 },
        getToken: () => Promise.resolve(token({ user: "ada", data: "fresh" }))
      })
      const { data } = yield* client.connect
      assert.strictEqual(data, "fresh")
      assert.strictEqual(server.asked.connect.length, 2)
    }))

  it.scopedLive("when authentication dies, it is an error of the server, and the client tries again", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      let tries = 0
      const client = yield* sdk(server, {
        getToken: () =>
          Promise.resolve(token(tries++ === 0 ? { fail: { code: 100, temporary: true } } : { user: "a" })),
        minReconnectDelay: 1
      })
      client.client.connect()
      const { error } = yield* client.next("error")
      assert.strictEqual(error.code, 100)
      client.client.setToken(token({ user: "a" }))
      yield* client.next("connected")
    }))
})

describe("subscribing and publishing", () => {
  it.scopedLive("every subscriber gets what the server publishes, with its tags, until it unsubscribes", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const [ada, bob] = [yield* connected(server), yield* connected(server)]
      const [hers, his] = [yield* ada.subscribe("x"), yield* bob.subscribe("x")]
      assert.deepStrictEqual(
        yield* server.channels.publish("x", { n: 1 }, { tags: { kind: "test" } }),
        Option.none()
      )
      const expected = { channel: "x", data: { n: 1 }, tags: { kind: "test" } }
      assert.deepStrictEqual(yield* hers.next("publication"), expected)
      assert.deepStrictEqual(yield* his.next("publication"), expected)
      hers.sub.unsubscribe()
      assert.deepInclude(yield* hers.next("unsubscribed"), { code: 0 })
      yield* ada.settled
      yield* server.channels.publish("x", 2)
      assert.deepStrictEqual(yield* his.data(1), [2])
      yield* ada.settled
      assert.strictEqual(hers.heard("publication").length, 1)
    }))

  it.scopedLive("data of any kind arrives as it was", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connected(server)
      const sub = yield* client.subscribe("x")
      const values = [null, true, 0, -1.5, "", "a\nb\"\\\u0000é😀\u2028", [], [[1], {}], {}, { a: { b: [null] } }]
      for (const value of values) yield* call(() => client.client.publish("x", { value }))
      for (const value of values) yield* server.channels.publish("x", value)
      assert.deepStrictEqual(yield* sub.data(values.length), values.map((value) => ({ value })))
      assert.deepStrictEqual(yield* sub.data(values.length), values)
    }))

  it.scopedLive("who publishes gets it too, and all see who it was", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* sdk(server, { claims: { user: "ada", info: { name: "Ada" } } })
      const { client: id } = yield* client.connect
      const sub = yield* client.subscribe("x")
      yield* call(() => sub.sub.publish("hello"))
      assert.deepStrictEqual(yield* sub.next("publication"), {
        channel: "x",
        data: "hello",
        info: { user: "ada", client: id, connInfo: { name: "Ada" } }
      })
    }))

  it.scopedLive("each publication has what its own publisher is said to be, whoever published before it", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const [ada, bob] = yield* Effect.forEach(
        ["ada", "bob"],
        (name) => Effect.tap(sdk(server, { claims: { user: name, info: { name } } }), ({ connect }) => connect)
      )
      if (ada === undefined || bob === undefined) return yield* Effect.dieMessage("two clients")
      const [one, two] = [yield* ada.subscribe("x"), yield* bob.subscribe("y")]
      const both = [yield* bob.subscribe("x"), yield* ada.subscribe("y")]
      const say = (client: typeof ada, channel: string) => call(() => client.client.publish(channel, "hello"))
      const said: Array<readonly [string, string | undefined]> = []
      const heard = (sub: typeof one) =>
        Effect.map(sub.next("publication"), ({ channel, info }) => void said.push([channel, info?.user]))
      for (const [channel, sub, other] of [["x", one, both[0]], ["y", two, both[1]]] as const) {
        for (const client of [ada, bob, ada]) {
          yield* say(client, channel)
          yield* heard(sub)
          if (other !== undefined) yield* heard(other)
        }
        yield* server.channels.publish(channel, "nobody's", { tags: { by: "the server" } })
        const { info, tags } = yield* sub.next("publication")
        assert.deepStrictEqual([info, tags], [undefined, { by: "the server" }])
        if (other !== undefined) yield* other.next("publication")
      }
      const each = (channel: string) =>
        ["ada", "ada", "bob", "bob", "ada", "ada"].map((user): readonly [string, string] => [channel, user])
      assert.deepStrictEqual(said, [...each("x"), ...each("y")])
      yield* server.channels.refresh("ada", { info: { name: "Ada the first" } })
      yield* say(ada, "y")
      assert.deepInclude((yield* two.next("publication")).info, { user: "ada", connInfo: { name: "Ada the first" } })
    }))

  it.scopedLive("publications with history count from 1", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connected(server)
      const sub = yield* client.subscribe("kept:x")
      yield* call(() => sub.sub.publish("a"))
      yield* server.channels.publish("kept:x", "b")
      assert.deepStrictEqual(
        (yield* sub.take("publication", 2)).map(({ data, offset }) => [data, offset]),
        [["a", 1], ["b", 2]]
      )
    }))

  it.scopedLive("a thousand publications of one client keep their order", () =>
    Effect.gen(function*() {
      const server = yield* serve({ hub: { messagesPerSecond: "off" } })
      const client = yield* connected(server)
      const other = yield* connected(server)
      const sub = yield* other.subscribe("x")
      const numbers = Array.from({ length: 1000 }, (_, n) => n)
      yield* Effect.all(numbers.map((n) => call(() => client.client.publish("x", n))), { concurrency: "unbounded" })
      assert.deepStrictEqual(yield* sub.data(1000), numbers)
    }))

  it.scopedLive("only a subscriber may publish, read history and presence where the namespace says so", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const ada = yield* user(server, "ada")
      const all = [
        () => ada.client.publish("users:x", 1),
        () => ada.client.history("users:x", { limit: 1 }),
        () => ada.client.presence("users:x"),
        () => ada.client.presenceStats("users:x")
      ]
      for (const run of all) assert.strictEqual(yield* refusal(run), 103)
      yield* ada.subscribe("users:x")
      for (const run of all) yield* call(run)
    }))

  it.scopedLive("anonymous clients may not where only users may", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connected(server)
      const sub = client.sub("users:x")
      assert.deepInclude(yield* sub.next("unsubscribed"), { code: 103, reason: "permission denied" })
    }))

  it.scopedLive("what nobody may is refused, and what is not configured is unknown", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* user(server, "ada")
      assert.deepInclude(yield* client.sub("closed:x").next("unsubscribed"), { code: 103 })
      assert.deepInclude(yield* client.sub("nowhere:x").next("unsubscribed"), { code: 102 })
      assert.strictEqual(yield* refusal(() => client.client.publish("closed:x", 1)), 103)
      assert.strictEqual(yield* refusal(() => client.client.publish("nowhere:x", 1)), 102)
    }))

  it.scopedLive("in insecure mode everything that is switched on is allowed, and the rest is not there", () =>
    Effect.gen(function*() {
      const server = yield* serve({ insecure: true })
      const client = yield* connected(server)
      const sub = yield* client.subscribe("closed:x")
      yield* call(() => sub.sub.publish(1))
      yield* sub.next("publication")
      assert.strictEqual(yield* refusal(() => client.client.history("closed:x", { limit: 1 })), 108)
    }))

  it.scopedLive("a name that is too long, not ASCII, or not of the namespace's pattern is refused with 107", () =>
    Effect.gen(function*() {
      const client = yield* connected(yield* serve())
      for (const channel of ["x".repeat(256), "ünï", "words:two words"]) {
        assert.deepInclude(yield* client.sub(channel).next("unsubscribed"), { code: 107 })
      }
      yield* client.subscribe("words:Wörter")
      yield* client.subscribe("x".repeat(255))
    }))

  it.scopedLive("code of the application decides about its channels", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      yield* server.channels.register({
        matches: (channel) => channel.startsWith("closed:"),
        subscribe: ({ caller, data }) =>
          caller.user === "ada"
            ? Effect.succeed({ data: { got: data }, info: { seat: 1 }, override: { presence: true } })
            : Effect.fail(new ProtocolError({ code: 400, reason: "not you", temporary: false })),
        publish: ({ data }) =>
          data === "secret" ? Effect.succeed(Option.none()) : Effect.succeed(Option.some({ said: data }))
      })
      const ada = yield* user(server, "ada")
      const sub = ada.sub("closed:x", { data: { ticket: 7 } })
      assert.deepInclude(yield* sub.next("subscribed"), { data: { got: { ticket: 7 } } })
      yield* call(() => sub.sub.publish("secret"))
      yield* call(() => sub.sub.publish("hello"))
      const { data, info } = yield* sub.next("publication")
      assert.deepStrictEqual(data, { said: "hello" })
      assert.deepInclude(info, { user: "ada", chanInfo: { seat: 1 } })
      const bob = yield* user(server, "bob")
      assert.deepStrictEqual(yield* bob.sub("closed:x").next("unsubscribed"), {
        channel: "closed:x",
        code: 400,
        reason: "not you"
      })
    }))

  it.scopedLive("a subscription that is being authorised is interrupted when the client goes", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      let asked = 0
      let interrupted = 0
      yield* server.channels.register({
        matches: (channel) => channel === "closed:x",
        subscribe: () =>
          Effect.zipRight(Effect.sync(() => asked++), Effect.never).pipe(
            Effect.onInterrupt(() => Effect.sync(() => interrupted++))
          ),
        publish: () => Effect.succeed(Option.none())
      })
      const client = yield* connected(server)
      client.sub("closed:x")
      yield* until(() => asked === 1)
      client.client.disconnect()
      yield* until(() => interrupted === 1)
      assert.strictEqual((yield* server.channels.channels()).channels.size, 0)
    }))
})

const until = (holds: () => boolean) =>
  Effect.repeat(Effect.zipRight(Effect.promise(() => new Promise(setImmediate)), Effect.sync(holds)), {
    until: (done) => done
  })

describe("history", () => {
  it.scopedLive("by limit, since a position, and in reverse", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      for (const n of [1, 2, 3, 4, 5]) yield* server.channels.publish("kept:x", n)
      const client = yield* connected(server)
      const { epoch, offset, publications } = yield* call(() => client.client.history("kept:x", { limit: 0 }))
      assert.deepStrictEqual([offset, publications], [5, []])
      const read = (options: Parameters<typeof client.client.history>[1]) =>
        Effect.map(call(() => client.client.history("kept:x", options)), (result) => {
          assert.strictEqual(result.offset, 5)
          assert.strictEqual(result.epoch, epoch)
          return result.publications.map(({ data }) => data)
        })
      assert.deepStrictEqual(yield* read({ limit: -1 }), [1, 2, 3, 4, 5])
      assert.deepStrictEqual(yield* read({ limit: 2 }), [1, 2])
      assert.deepStrictEqual(yield* read({ limit: 2, reverse: true }), [5, 4])
      assert.deepStrictEqual(yield* read({ limit: 2, since: { offset: 2, epoch } }), [3, 4])
      assert.deepStrictEqual(yield* read({ limit: 10, since: { offset: 5, epoch } }), [])
      assert.deepStrictEqual(yield* read({ limit: 2, since: { offset: 4, epoch }, reverse: true }), [3, 2])
      assert.deepStrictEqual(yield* read({}), [])
    }))

  it.scopedLive("of another epoch is refused with 112, and of a channel without history with 108", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connected(server)
      yield* server.channels.publish("kept:x", 1)
      assert.strictEqual(
        yield* refusal(() => client.client.history("kept:x", { limit: 1, since: { offset: 0, epoch: "other" } })),
        112
      )
      assert.strictEqual(yield* refusal(() => client.client.history("x", { limit: 1 })), 108)
    }))

  it.scopedLive("that was removed is empty, and its position stays", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connected(server)
      yield* server.channels.publish("kept:x", 1)
      const before = yield* call(() => client.client.history("kept:x", { limit: 0 }))
      yield* server.channels.removeHistory("kept:x")
      const after = yield* call(() => client.client.history("kept:x", { limit: 10 }))
      assert.deepStrictEqual(after, before)
    }))

  it.scopedLive("says who published, and with which tags", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* user(server, "ada")
      yield* call(() => client.client.publish("kept:x", 1))
      yield* server.channels.publish("kept:x", 2, { tags: { a: "b" } })
      const { publications } = yield* call(() => client.client.history("kept:x", { limit: 10 }))
      assert.deepStrictEqual(publications.map(({ data, info, offset, tags }) => [data, offset, info?.user, tags]), [
        [1, 1, "ada", undefined],
        [2, 2, undefined, { a: "b" }]
      ])
    }))
})

describe("presence", () => {
  it.scopedLive("lists clients and counts users, until they unsubscribe or go", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const [one, two, bob] = [yield* user(server, "ada"), yield* user(server, "ada"), yield* user(server, "bob")]
      const subs = [
        yield* one.subscribe("present:x"),
        yield* two.subscribe("present:x"),
        yield* bob.subscribe("present:x")
      ]
      assert.deepStrictEqual(yield* call(() => one.client.presenceStats("present:x")), { numClients: 3, numUsers: 2 })
      const { clients } = yield* call(() => one.client.presence("present:x"))
      assert.deepStrictEqual(Object.values(clients).map(({ user }) => user).sort(), ["ada", "ada", "bob"])
      subs[1]?.sub.unsubscribe()
      yield* two.settled
      assert.deepStrictEqual(yield* call(() => one.client.presenceStats("present:x")), { numClients: 2, numUsers: 2 })
      bob.client.disconnect()
      let stats = { numClients: 2, numUsers: 2 }
      while (stats.numClients === 2) stats = yield* call(() => one.client.presenceStats("present:x"))
      assert.deepStrictEqual(stats, { numClients: 1, numUsers: 1 })
    }))

  it.scopedLive("is not available where it is off", () =>
    Effect.gen(function*() {
      const client = yield* connected(yield* serve())
      assert.strictEqual(yield* refusal(() => client.client.presence("x")), 108)
      assert.strictEqual(yield* refusal(() => client.client.presenceStats("x")), 108)
    }))

  it.scopedLive("joins and leaves go to who asks for them, or to all", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      for (
        const [channel, options, asked] of [["joined:x", {}, false], ["joined:y", { joinLeave: true }, true], [
          "pushed:x",
          {},
          true
        ]] as const
      ) {
        const watcher = yield* connected(server)
        const seen = yield* watcher.subscribe(channel, options)
        if (asked) yield* seen.next("join")
        const bob = yield* user(server, "bob", { info: "Bob" })
        const sub = yield* bob.subscribe(channel)
        sub.sub.unsubscribe()
        yield* bob.settled
        if (asked) {
          const join = yield* seen.next("join")
          assert.deepInclude(join.info, { user: "bob", connInfo: "Bob" })
          assert.deepStrictEqual(yield* seen.next("leave"), join)
        }
        yield* server.channels.publish(channel, "end")
        yield* seen.next("publication")
        assert.deepStrictEqual(
          seen.names.filter((name) => name === "join" || name === "leave"),
          asked ? ["join", "join", "leave"] : []
        )
      }
    }))

  it.scopedLive("joins and leaves are asked for in vain without the right to presence, unless all get them", () =>
    Effect.gen(function*() {
      const secret = {
        ...open,
        presence: true,
        joinLeave: true,
        allowPresenceForClient: false,
        allowPresenceForAnonymous: false
      }
      const server = yield* serve({
        namespaces: {
          secret,
          told: { ...secret, forcePushJoinLeave: true },
          members: { ...secret, allowPresenceForSubscriber: true },
          users: { ...secret, allowPresenceForClient: true }
        }
      })
      const ada = yield* user(server, "ada")
      const anonymous = yield* connected(server)
      for (
        const [watcher, channel, mayAsk, hears] of [
          [ada, "secret:x", false, false],
          [ada, "told:x", false, true],
          [ada, "members:x", true, true],
          [ada, "users:x", true, true],
          [anonymous, "users:x", false, false]
        ] as const
      ) {
        const seen = yield* watcher.subscribe(channel, { joinLeave: true })
        if (mayAsk) yield* call(() => watcher.client.presence(channel))
        else assert.strictEqual(yield* refusal(() => watcher.client.presence(channel)), 103)
        const bob = yield* user(server, "bob")
        const { sub } = yield* bob.subscribe(channel)
        sub.unsubscribe()
        yield* bob.settled
        yield* server.channels.publish(channel, "end")
        yield* seen.next("publication")
        const heard = [...seen.heard("join"), ...seen.heard("leave")].map(({ info }) => info.user)
        assert.deepStrictEqual(heard.filter((name) => name === "bob"), hears ? ["bob", "bob"] : [], channel)
      }
    }))

  it.scopedLive("nor does it help to ask for them when connecting", () =>
    Effect.gen(function*() {
      const server = yield* serve({
        namespaces: { secret: { ...open, joinLeave: true, allowPresenceForClient: false } }
      })
      const watcher = yield* wire(server)
      const asked = { "secret:x": { join_leave: true } }
      yield* watcher.ask({ id: 1, connect: { token: token({ user: "ada", subs: { "secret:x": {} } }), subs: asked } })
      yield* (yield* user(server, "bob")).subscribe("secret:x")
      yield* server.channels.publish("secret:x", "end")
      assert.deepStrictEqual(yield* watcher.next, { push: { channel: "secret:x", pub: { data: "end" } } })
    }))
})

describe("calls and messages", () => {
  it.scopedLive("a call is answered by the newest handler of its method", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      yield* server.channels.rpc("sum", () => Effect.succeed("old"))
      yield* Effect.scoped(Effect.gen(function*() {
        yield* server.channels.rpc("sum", (data, { user }) => Effect.succeed({ user, data }))
        const client = yield* user(server, "ada")
        assert.deepStrictEqual(yield* call(() => client.client.rpc("sum", [1, 2])), {
          data: { user: "ada", data: [1, 2] }
        })
      }))
      const client = yield* connected(server)
      assert.deepStrictEqual(yield* call(() => client.client.rpc("sum", null)), { data: "old" })
    }))

  it.scopedLive("a call fails with the handler's code, 104 for an unknown method, 100 for a defect, 108 without any", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connected(server)
      assert.strictEqual(yield* refusal(() => client.client.rpc("any", null)), 108)
      yield* server.channels.rpc(
        "fails",
        () => Effect.fail(new ProtocolError({ code: 1234, reason: "mine", temporary: false }))
      )
      yield* server.channels.rpc("dies", () => Effect.die("on purpose"))
      assert.deepInclude(yield* Effect.flip(call(() => client.client.rpc("fails", null))), {
        code: 1234,
        reason: "mine"
      })
      assert.strictEqual(yield* refusal(() => client.client.rpc("any", null)), 104)
      assert.strictEqual(yield* refusal(() => client.client.rpc("dies", null)), 100)
    }))

  it.scopedLive("a call can end the connection", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connected(server)
      yield* server.channels.rpc("bye", () => Effect.fail(new Disconnect({ code: 4501, reason: "bye" })))
      yield* refusal(() => client.client.rpc("bye", null))
      assert.deepStrictEqual(yield* client.next("disconnected"), { code: 4501, reason: "bye" })
    }))

  it.scopedLive("a call is interrupted when its client goes", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const happened: Array<string> = []
      yield* server.channels.rpc("slow", () =>
        Effect.zipRight(
          Effect.sync(() => happened.push("called")),
          Effect.never
        ).pipe(
          Effect.onInterrupt(() => Effect.sync(() => happened.push("interrupted")))
        ))
      const client = yield* connected(server)
      const refused = yield* Effect.fork(refusal(() => client.client.rpc("slow", null)))
      yield* until(() => happened.length === 1)
      client.client.disconnect()
      yield* refused
      yield* until(() => happened.length === 2)
      assert.deepStrictEqual(happened, ["called", "interrupted"])
    }))

  it.scopedLive("messages go both ways", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      yield* server.channels.onMessage((data, { client, user }) =>
        Effect.asVoid(Effect.orDie(server.channels.send(client, { user, data })))
      )
      const client = yield* user(server, "ada")
      yield* call(() => client.client.send({ hello: null }))
      assert.deepStrictEqual(yield* client.next("message"), { data: { user: "ada", data: { hello: null } } })
      assert.deepStrictEqual(yield* server.channels.send("nobody", 1), { sent: false, missing: [] })
    }))
})

describe("the server's own subscriptions", () => {
  it.scopedLive("come with connecting, get publications, and can be taken", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* sdk(server, { claims: { user: "ada", subs: { "pushed:mine": { data: { a: 1 } } } } })
      yield* client.connect
      assert.deepInclude(yield* client.next("subscribed"), { channel: "pushed:mine", data: { a: 1 } })
      yield* server.channels.publish("pushed:mine", "hello")
      assert.deepInclude(yield* client.next("publication"), { channel: "pushed:mine", data: "hello" })
      assert.strictEqual((yield* server.channels.unsubscribe("ada", "pushed:mine")).count, 1)
      assert.deepStrictEqual(yield* client.next("unsubscribed"), { channel: "pushed:mine" })
      assert.strictEqual((yield* server.channels.presence("pushed:mine")).size, 0)
    }))

  it.scopedLive("can be made while the client is connected, on all of a user's connections or on one", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const one = yield* sdk(server, { claims: { user: "ada" } })
      const { client: id } = yield* one.connect
      const two = yield* user(server, "ada")
      yield* user(server, "bob")
      assert.strictEqual((yield* server.channels.subscribeUser("ada", "x")).count, 2)
      assert.deepInclude(yield* one.next("subscribed"), { channel: "x" })
      assert.deepInclude(yield* two.next("subscribed"), { channel: "x" })
      assert.strictEqual((yield* server.channels.subscribeUser("ada", "y", { client: id, data: 7 })).count, 1)
      assert.deepInclude(yield* one.next("subscribed"), { channel: "y", data: 7 })
      yield* server.channels.publish("y", 1)
      yield* server.channels.publish("x", 2)
      assert.deepInclude(yield* two.next("publication"), { channel: "x" })
      assert.deepInclude(yield* one.next("publication"), { channel: "y" })
    }))

  it.scopedLive("are recovered when the client comes back", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* user(server, "ada", { subs: { "recovered:x": {} } })
      yield* server.channels.publish("recovered:x", 1)
      yield* client.next("publication")
      client.client.disconnect()
      yield* client.next("disconnected")
      for (const n of [2, 3]) yield* server.channels.publish("recovered:x", n)
      yield* client.next("subscribed")
      yield* client.connect
      assert.deepInclude(yield* client.next("subscribed"), { recovered: true, wasRecovering: true })
      yield* server.channels.publish("recovered:x", 4)
      assert.deepStrictEqual((yield* client.take("publication", 3)).map(({ data }) => data), [2, 3, 4])
    }))

  it.scopedLive("cannot be made by the client a second time", () =>
    Effect.gen(function*() {
      const client = yield* user(yield* serve(), "ada", { subs: { x: {} } })
      assert.deepInclude(yield* client.sub("x").next("unsubscribed"), { code: 105 })
    }))

  it.scopedLive("the client's own subscription can be taken by the server too", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* user(server, "ada")
      const sub = yield* client.subscribe("x")
      assert.strictEqual((yield* server.channels.unsubscribe("ada", "x")).count, 1)
      assert.deepStrictEqual(yield* sub.next("unsubscribed"), {
        channel: "x",
        code: 2000,
        reason: "server unsubscribe"
      })
      assert.strictEqual((yield* server.channels.channels()).channels.size, 0)
    }))
})

describe("channels that need more than a name", () => {
  it.scopedLive("those after # may subscribe, and nobody else", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const [ada, eve] = [yield* user(server, "ada"), yield* user(server, "eve")]
      yield* ada.subscribe("limited:talk#bob,ada")
      yield* ada.subscribe("limited:talk#1#ada")
      for (const channel of ["limited:talk#bob,ada", "limited:talk#", "limited:talk", "limited:eve#ada"]) {
        assert.deepInclude(yield* eve.sub(channel).next("unsubscribed"), { code: 103 })
      }
      const nobody = yield* connected(server)
      assert.deepInclude(yield* nobody.sub("limited:talk#").next("unsubscribed"), { code: 103 })
    }))

  it.scopedLive("$ needs a token, even where everybody may subscribe", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const ada = yield* user(server, "ada")
      assert.deepInclude(yield* ada.sub("$secret").next("unsubscribed"), { code: 103 })
      const claims = { user: "ada", channel: "$present:secret", grant: { info: { seat: 1 }, data: "welcome" } }
      const sub = ada.sub("$present:secret", { getToken: () => Promise.resolve(token(claims)) })
      assert.deepInclude(yield* sub.next("subscribed"), { data: "welcome" })
      const { clients } = yield* call(() => sub.sub.presence())
      assert.deepInclude(Object.values(clients)[0], { user: "ada", chanInfo: { seat: 1 } })
    }))

  it.scopedLive("a token opens a channel that nobody may subscribe to", () =>
    Effect.gen(function*() {
      const ada = yield* user(yield* serve(), "ada")
      yield* ada.subscribe("closed:x", { token: token({ user: "ada", channel: "closed:x" }) })
    }))

  it.scopedLive("a token for another channel or user ends the connection with 3500", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      for (const claims of [{ user: "ada", channel: "closed:y" }, { user: "bob", channel: "closed:x" }]) {
        const ada = yield* user(server, "ada")
        ada.sub("closed:x", { token: token(claims) })
        assert.deepInclude(yield* ada.next("disconnected"), { code: 3500 })
      }
    }))

  it.scopedLive("a subscription token that expired is fetched again", () =>
    Effect.gen(function*() {
      const ada = yield* user(yield* serve(), "ada")
      const sub = ada.sub("closed:x", {
        token: token({ user: "ada", channel: "closed:x", expireAt: 1 }),
        getToken: () => Promise.resolve(token({ user: "ada", channel: "closed:x" }))
      })
      yield* sub.next("subscribed")
    }))

  it.scopedLive("without permission to fetch one the subscription ends", () =>
    Effect.gen(function*() {
      const ada = yield* user(yield* serve(), "ada")
      const sub = ada.sub("$x", { getToken: () => Promise.reject(new UnauthorizedError("")) })
      assert.deepInclude(yield* sub.next("unsubscribed"), { code: 1 })
    }))

  it.scopedLive("each user has a channel of its own, if that is switched on", () =>
    Effect.gen(function*() {
      const server = yield* serve({ personalChannel: { namespace: "limited" } })
      const [ada, bob] = [yield* user(server, "ada"), yield* user(server, "bob")]
      assert.deepInclude(yield* ada.next("subscribed"), { channel: "limited:#ada" })
      assert.deepInclude(yield* bob.next("subscribed"), { channel: "limited:#bob" })
      yield* server.channels.publish("limited:#ada", "for you")
      assert.deepInclude(yield* ada.next("publication"), { channel: "limited:#ada", data: "for you" })
      const nobody = yield* connected(server)
      yield* nobody.settled
      assert.deepStrictEqual(nobody.heard("subscribed"), [])
    }))
})

describe("spans", () => {
  it.scopedLive("of what a client asks for, with names and outcomes, and without tokens, data or publications", () =>
    Effect.gen(function*() {
      const spans: Array<Tracer.Span> = []
      const native = yield* Effect.tracer
      const tracer = Tracer.make({
        span: (...args) => {
          const span = native.span(...args)
          spans.push(span)
          return span
        },
        context: native.context
      })
      const server = yield* serve().pipe(Effect.withTracer(tracer), Effect.withSpan("building"))
      yield* server.channels.rpc("echo", (data) => Effect.withSpan(Effect.succeed(data), "application"))
      const connection = token({ user: "ada", info: "s3cret", expireAt: inSeconds(60) })
      const client = yield* wire(server)
      yield* client.ask({ id: 1, connect: { token: connection, data: "s3cret" } })
      yield* client.ask(
        { id: 2, subscribe: { channel: "x", data: "s3cret" } },
        {
          id: 3,
          subscribe: { channel: "closed:x", token: token({ user: "ada", fail: { code: 103 }, info: "s3cret" }) }
        },
        { id: 4, rpc: { method: "echo", data: "s3cret" } },
        { id: 5, rpc: { method: "x".repeat(1000), data: null } },
        { id: 6, refresh: { token: connection } },
        { id: 7, sub_refresh: { channel: "x", token: token({ user: "ada", channel: "x", info: "s3cret" }) } },
        { id: 8, history: { channel: "kept:x" } },
        { id: 9, unsubscribe: { channel: "x" } },
        { id: 10, publish: { channel: "y", data: "s3cret" } }
      )
      const told = spans.filter(({ name }) => name.startsWith("Session.")).map(
        ({ attributes, name, parent, status }) => {
          assert.isTrue(Option.isNone(parent))
          const outcome = status._tag === "Ended" ? status.exit._tag : status._tag
          return [name, Object.fromEntries(attributes), outcome]
        }
      )
      assert.deepStrictEqual(told, [
        ["Session.connect", {}, "Success"],
        ["Session.subscribe", { channel: "x" }, "Success"],
        ["Session.subscribe", { channel: "closed:x" }, "Failure"],
        ["Session.rpc", { method: "echo" }, "Success"],
        ["Session.rpc", { method: "x".repeat(255) }, "Failure"],
        ["Session.refresh", {}, "Success"],
        ["Session.sub_refresh", { channel: "x" }, "Success"]
      ])
      const application = spans.find(({ name }) => name === "application")
      const parent = Option.getOrUndefined(application?.parent ?? Option.none())
      assert.strictEqual(parent?.spanId, spans.find(({ attributes }) => attributes.get("method") === "echo")?.spanId)
    }))
})

describe("what expires", () => {
  it.scopedLive("a connection that is refreshed in time stays", () =>
    Effect.gen(function*() {
      const server = yield* serve({ expiredDelay: 1500 })
      let fetched = 0
      const client = yield* connected(server, {
        claims: { user: "ada", expireAt: inSeconds(2) },
        getToken: () => {
          fetched++
          return Promise.resolve(token({ user: "ada", ...(fetched < 2 ? { expireAt: inSeconds(2) } : {}) }))
        }
      })
      yield* until(() => server.asked.refresh.length === 2)
      yield* client.settled
      // The second token does not expire: past the time when the first two would have closed it.
      yield* Effect.sleep("1700 millis")
      yield* client.settled
      assert.deepStrictEqual(client.names, ["connecting", "connected"])
      assert.strictEqual(fetched, 2)
    }))

  it.scopedLive("one that nobody refreshes is closed with 3005, and the client comes back with a new token", () =>
    Effect.gen(function*() {
      const server = yield* serve({ expiredDelay: 50 })
      const client = yield* sdk(server, {
        claims: { user: "ada", expireAt: inSeconds(2), serverRefresh: true },
        getToken: () => Promise.resolve(token({ user: "ada" }))
      })
      yield* client.connect
      yield* client.next("connecting")
      assert.deepStrictEqual(yield* client.next("connecting"), { code: 3005, reason: "connection expired" })
      yield* client.next("connected")
    }))

  it.scopedLive("a refresh with the token of another user ends the connection with 3500", () =>
    Effect.gen(function*() {
      const client = yield* connected(yield* serve(), {
        claims: { user: "ada", expireAt: inSeconds(2) },
        getToken: () => Promise.resolve(token({ user: "bob" }))
      })
      assert.deepInclude(yield* client.next("disconnected"), { code: 3500 })
    }))

  it.scopedLive("the server can refresh a connection, or declare it expired", () =>
    Effect.gen(function*() {
      const server = yield* serve({ expiredDelay: 50 })
      const client = yield* user(server, "ada", { expireAt: inSeconds(2), serverRefresh: true })
      assert.strictEqual((yield* server.channels.refresh("ada")).count, 1)
      yield* Effect.sleep("2200 millis")
      yield* client.settled
      assert.deepStrictEqual(client.names.filter((name) => name !== "connecting"), ["connected"])
      yield* client.next("connecting")
      assert.strictEqual((yield* server.channels.refresh("ada", { expired: true })).count, 1)
      assert.deepInclude(yield* client.next("connecting"), { code: 3005 })
    }))

  it.scopedLive("a subscription that is refreshed in time stays", () =>
    Effect.gen(function*() {
      const server = yield* serve({ expiredDelay: 1500 })
      const client = yield* user(server, "ada")
      let fetched = 0
      const claims = { user: "ada", channel: "closed:x" }
      const sub = yield* client.subscribe("closed:x", {
        getToken: () => {
          fetched++
          return Promise.resolve(token({ ...claims, ...(fetched < 2 ? { expireAt: inSeconds(2) } : {}) }))
        }
      })
      yield* until(() => server.asked.subscribe.length === 2)
      yield* client.settled
      yield* Effect.sleep("1700 millis")
      yield* client.settled
      assert.deepStrictEqual(sub.names, ["subscribing", "subscribed"])
      assert.strictEqual(fetched, 2)
    }))

  it.scopedLive("one that nobody refreshes is taken with 2501, and the client subscribes again with a new token", () =>
    Effect.gen(function*() {
      const server = yield* serve({ expiredDelay: 50 })
      const client = yield* user(server, "ada")
      const claims = { user: "ada", channel: "closed:x" }
      let fetched = 0
      const sub = yield* client.subscribe("closed:x", {
        // The refresh gets no token; the next subscription does.
        getToken: () => {
          fetched++
          return fetched === 1
            ? Promise.resolve(token({ ...claims, expireAt: inSeconds(2) }))
            : fetched === 2
            ? Promise.reject(new Error("not now"))
            : Promise.resolve(token(claims))
        }
      })
      yield* sub.next("subscribing")
      assert.deepInclude(yield* sub.next("subscribing"), { code: 2501, reason: "subscription expired" })
      yield* sub.next("subscribed")
    }))
})

describe("recovery", () => {
  it.scopedLive("a client that comes back gets what it missed, once and in order", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connected(server)
      const sub = yield* client.subscribe("recovered:x")
      yield* server.channels.publish("recovered:x", 0)
      yield* sub.next("publication")
      client.client.disconnect()
      yield* client.next("disconnected")
      const missed = Array.from({ length: 200 }, (_, n) => n + 1)
      for (const n of missed) yield* server.channels.publish("recovered:x", n)
      yield* client.connect
      const again = yield* sub.next("subscribed")
      assert.deepInclude(again, { wasRecovering: true, recovered: true, hasRecoveredPublications: true })
      assert.deepInclude(again.streamPosition, { offset: 1 })
      yield* server.channels.publish("recovered:x", "end")
      assert.deepStrictEqual(yield* sub.data(201), [...missed, "end"])
    }))

  it.scopedLive("one that missed nothing recovers nothing", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connected(server)
      const sub = yield* client.subscribe("recovered:x")
      client.client.disconnect()
      yield* client.connect
      assert.deepInclude(yield* sub.next("subscribed"), {
        wasRecovering: true,
        recovered: true,
        hasRecoveredPublications: false
      })
    }))

  it.scopedLive("one that missed more than is kept is told so", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connected(server)
      const sub = yield* client.subscribe("small:x")
      client.client.disconnect()
      yield* client.next("disconnected")
      for (const n of [1, 2, 3, 4]) yield* server.channels.publish("small:x", n)
      yield* client.connect
      assert.deepInclude(yield* sub.next("subscribed"), {
        wasRecovering: true,
        recovered: false,
        hasRecoveredPublications: false
      })
      yield* server.channels.publish("small:x", 5)
      assert.deepInclude(yield* sub.next("publication"), { data: 5, offset: 5 })
    }))

  it.scopedLive("a client may ask for it where that is allowed, and asks in vain elsewhere", () =>
    Effect.gen(function*() {
      const client = yield* connected(yield* serve())
      const asking = client.sub("asking:x", { recoverable: true })
      assert.deepInclude(yield* asking.next("subscribed"), { recoverable: true, positioned: true })
      const positioned = client.sub("asking:y", { positioned: true })
      assert.deepInclude(yield* positioned.next("subscribed"), { recoverable: false, positioned: true })
      const plain = client.sub("x", { recoverable: true, positioned: true })
      assert.deepInclude(yield* plain.next("subscribed"), { recoverable: false, positioned: false })
    }))

  it.scopedLive("from a position that the application knows", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      for (const n of [1, 2, 3]) yield* server.channels.publish("recovered:x", n)
      const { epoch } = yield* server.channels.history("recovered:x", { limit: 0 })
      const client = yield* connected(server)
      const sub = yield* client.subscribe("recovered:x", { since: { offset: 1, epoch } })
      assert.deepStrictEqual(yield* sub.data(2), [2, 3])
    }))

  it.scopedLive("in cache mode a client that comes back gets the newest publication, if it has not got it", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connected(server)
      const sub = yield* client.subscribe("cached:x")
      client.client.disconnect()
      yield* client.next("disconnected")
      for (const n of [1, 2, 3]) yield* server.channels.publish("cached:x", n)
      yield* client.connect
      assert.deepInclude(yield* sub.next("subscribed"), { wasRecovering: true, recovered: true })
      assert.deepInclude(yield* sub.next("publication"), { data: 3, offset: 3 })
      client.client.disconnect()
      yield* client.connect
      assert.deepInclude(yield* sub.next("subscribed"), { recovered: true, hasRecoveredPublications: false })
    }))

  it.scopedLive("in cache mode a new client gets the newest publication if it asks, or if the namespace says so", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connected(server)
      for (const channel of ["cached:x", "greeted:x"]) yield* server.channels.publish(channel, "newest")
      const asking = yield* client.subscribe("cached:x", { since: {} })
      assert.deepInclude(yield* asking.next("publication"), { data: "newest", offset: 1 })
      const greeted = yield* client.subscribe("greeted:x")
      assert.deepInclude(yield* greeted.next("publication"), { data: "newest", offset: 1 })
    }))

  it.scopedLive("with getState the application's state is loaded first, and again when it cannot be recovered from", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      yield* server.channels.publish("small:x", 0)
      const loaded: Array<number> = []
      const client = yield* connected(server)
      const sub = yield* client.subscribe("small:x", {
        getState: () =>
          Effect.runPromise(Effect.map(server.channels.history("small:x", { limit: 0 }), ({ epoch, offset }) => {
            loaded.push(offset)
            return { epoch, offset }
          }))
      })
      assert.deepStrictEqual(loaded, [1])
      client.client.disconnect()
      yield* client.next("disconnected")
      for (const n of [1, 2, 3, 4]) yield* server.channels.publish("small:x", n)
      yield* client.connect
      assert.deepInclude(yield* sub.next("subscribed"), { recovered: true, hasRecoveredPublications: false })
      assert.deepStrictEqual(loaded, [1, 5])
    }))

  it.scopedLive("a publication that the node did not hear of makes the client recover it", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connected(server)
      const sub = yield* client.subscribe("recovered:x")
      server.faults.lose = (event) => event._tag === "Published" && event.publication.data === "\"lost\""
      for (const data of ["one", "lost", "three"]) yield* server.channels.publish("recovered:x", data)
      assert.deepStrictEqual(yield* sub.data(3), ["one", "lost", "three"])
      assert.deepStrictEqual(codes(sub.heard("subscribing")), [0, 2500])
    }))

  it.scopedLive("a gap that the broker tells of makes the client recover what was lost", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connected(server)
      const sub = yield* client.subscribe("recovered:x")
      server.faults.lose = () => true
      yield* server.channels.publish("recovered:x", "lost")
      server.faults.lose = () => false
      server.faults.tell({ _tag: "Gap", channel: "recovered:x" })
      assert.deepStrictEqual(yield* sub.data(1), ["lost"])
      assert.deepStrictEqual(codes(sub.heard("subscribing")), [0, 2500])
    }))

  it.scopedLive("a gap in which nothing was lost disturbs nobody", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connected(server)
      const sub = yield* client.subscribe("recovered:x")
      server.faults.tell({ _tag: "Gap", channel: "recovered:x" })
      yield* server.channels.publish("recovered:x", "end")
      assert.deepStrictEqual(yield* sub.data(1), ["end"])
      assert.deepStrictEqual(codes(sub.heard("subscribing")), [0])
    }))
})

describe("limits", () => {
  it.scopedLive("channels per client: 106, and there is room again after unsubscribing", () =>
    Effect.gen(function*() {
      const client = yield* connected(yield* serve({ channelLimit: 2 }))
      const one = yield* client.subscribe("x1")
      yield* client.subscribe("x2")
      assert.deepInclude(yield* client.sub("x3").next("unsubscribed"), { code: 106, reason: "limit exceeded" })
      one.sub.unsubscribe()
      yield* client.subscribe("x4")
    }))

  it.scopedLive("a message that is too large is the end, with the SDK's own code 3", () =>
    Effect.gen(function*() {
      const client = yield* connected(yield* serve({ hub: { messageBytes: 1000 } }))
      yield* Effect.forkScoped(Effect.exit(call(() => client.client.publish("x", "x".repeat(2000)))))
      assert.deepInclude(yield* client.next("disconnected"), { code: 3 })
    }))

  it.scopedLive("publications per second: 111, and the connection stays", () =>
    Effect.gen(function*() {
      const client = yield* connected(yield* serve())
      const results = yield* Effect.forEach(
        Array.from({ length: 20 }, (_, n) => n),
        (n) => Effect.either(call(() => client.client.publish("slowly:x", n))),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(results[0]?._tag, "Right")
      const refused = results.flatMap((result) => result._tag === "Left" ? [result.left.code] : [])
      assert.isAbove(refused.length, 15)
      assert.deepStrictEqual(Array.from(new Set(refused)), [111])
    }))
})

describe("being disconnected", () => {
  it.scopedLive("by the server: the client does not come back", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const [one, bob] = [yield* user(server, "ada"), yield* user(server, "bob")]
      assert.strictEqual((yield* server.channels.disconnect("ada")).count, 1)
      assert.deepStrictEqual(yield* one.next("disconnected"), { code: 3503, reason: "force disconnect" })
      yield* bob.settled
      assert.deepStrictEqual(bob.names, ["connecting", "connected"])
    }))

  it.scopedLive("who is being disconnected no longer counts", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* user(server, "ada")
      assert.strictEqual((yield* server.channels.disconnect("ada")).count, 1)
      yield* client.next("disconnected")
      assert.strictEqual((yield* server.channels.disconnect("ada")).count, 0)
    }))

  it.scopedLive("all but some, or just one", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const make = Effect.gen(function*() {
        const client = yield* sdk(server, { claims: { user: "ada" } })
        return { client, id: (yield* client.connect).client }
      })
      const [one, two, three] = [yield* make, yield* make, yield* make]
      assert.strictEqual((yield* server.channels.disconnect("ada", { client: one.id })).count, 1)
      yield* one.client.next("disconnected")
      yield* Effect.repeat(Effect.zipRight(Effect.promise(() => new Promise(setImmediate)), server.hub.size), {
        until: (size) => size === 2
      })
      assert.strictEqual((yield* server.channels.disconnect("ada", { except: [two.id] })).count, 1)
      yield* three.client.next("disconnected")
      yield* two.client.settled
      assert.strictEqual(two.client.client.state, "connected")
    }))

  it.scopedLive("with a code below 3500: the client comes back, and its subscriptions too", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* user(server, "ada")
      const sub = yield* client.subscribe("recovered:x")
      yield* server.channels.disconnect("ada", { disconnect: disconnects.forceReconnect })
      assert.deepInclude(yield* sub.next("subscribed"), { recovered: true })
      assert.deepStrictEqual(codes(client.heard("connecting")), [0, 3011])
    }))

  it.scopedLive("when the server goes, with 3001, and the client tries to come back", () =>
    Effect.gen(function*() {
      const outer = yield* Effect.scope
      const client = yield* Effect.scoped(
        Effect.flatMap(serve(), (server) => Scope.extend(connected(server), outer))
      )
      assert.deepInclude(yield* client.next("connecting"), { code: 0 })
      assert.deepStrictEqual(yield* client.next("connecting"), { code: 3001, reason: "shutdown" })
    }))
})
