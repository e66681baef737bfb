/** What expires, and how a client says again who it is: on the wire, and what the SDK makes of the answer. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { errors, unsubscribes } from "../../src/channels/ProtocolCode.js"
import { eventuallyEffect } from "../node/support.js"
import {
  type Claims,
  type Document,
  inSeconds,
  online,
  type Sdk,
  sdk,
  serve,
  type ServeOptions,
  type Server,
  type Sub,
  token,
  type Wire,
  wire
} from "./support.js"

/** Where the node's clock stands, in seconds. The tokens are read by the real clock, which is far from it. */
const start = inSeconds(100_000)

const served = (options?: ServeOptions) => Effect.zipRight(TestClock.setTime(start * 1000), serve(options))

const error = (id: number, code: number, message: string) => ({ id, error: { code, message } })

const disconnected = {
  3005: { code: 3005, reason: "connection expired" },
  3010: { code: 3010, reason: "insufficient state" },
  3500: { code: 3500, reason: "invalid token" },
  3501: { code: 3501, reason: "bad request" }
}

/** Still there, and with this user. */
const answers = (client: Wire, user: string) =>
  Effect.gen(function*() {
    yield* client.ask({ id: 90, subscribe: { channel: "x" } })
    yield* client.send({ id: 91, publish: { channel: "x", data: 1 } })
    const { push } = (yield* client.take(2)).find(({ push }) => push !== undefined) ?? {}
    assert.deepInclude(((push as Document)["pub"] as Document)["info"], { user })
  })

describe("who comes with what is over", () => {
  it.scoped("is refused when connecting: 109 if a new token may help, 110 if not", () =>
    Effect.gen(function*() {
      const server = yield* served()
      for (const expireAt of [start, start - 1]) {
        for (
          const [serverRefresh, code, message] of [[false, 109, "token expired"], [true, 110, "expired"]] as const
        ) {
          const client = yield* wire(server)
          const [reply] = yield* client.ask({
            id: 1,
            connect: { token: token({ user: "ada", expireAt, serverRefresh }) }
          })
          assert.deepStrictEqual(reply, error(1, code, message))
        }
      }
      assert.strictEqual((yield* server.channels.disconnect("ada")).count, 0)
    }))

  it.scoped("is refused when a channel of the token is over, and by a refresh with such a token: 3005", () =>
    Effect.gen(function*() {
      const server = yield* served()
      for (const expireAt of [start, start - 1]) {
        const claims = { user: "ada", subs: { x: {}, "closed:x": { expireAt } } }
        for (const [serverRefresh, code, message] of [[false, 109, "token expired"], [true, 110, "expired"]] as const) {
          const client = yield* wire(server)
          const [reply] = yield* client.ask({ id: 1, connect: { token: token({ ...claims, serverRefresh }) } })
          assert.deepStrictEqual(reply, error(1, code, message))
        }
        const client = yield* online(server, { ...claims, subs: { x: {}, "closed:x": { expireAt: start + 1 } } })
        yield* client.send({ id: 2, refresh: { token: token(claims) } })
        assert.deepStrictEqual(yield* client.closed, disconnected[3005])
      }
      yield* eventuallyEffect(Effect.map(server.channels.channels(), ({ channels }) => channels.size === 0))
    }))

  it.scoped("is not subscribed by the server: 110", () =>
    Effect.gen(function*() {
      const server = yield* served()
      const client = yield* online(server, { user: "ada" })
      for (const expireAt of [start, start - 1]) {
        const refused = yield* Effect.flip(server.channels.subscribeUser("ada", "x", { expireAt }))
        assert.strictEqual(refused.code, 110)
      }
      yield* answers(client, "ada")
      assert.deepStrictEqual((yield* server.channels.info).nodes.map(({ channels }) => channels), [1])
    }))

  it.scoped("is not subscribed by the server if it is over when its turn comes", () =>
    Effect.gen(function*() {
      const server = yield* served()
      const held = yield* Deferred.make<void>()
      const asked = yield* Deferred.make<void>()
      yield* server.channels.register({
        matches: (channel) => channel === "closed:held",
        subscribe: () =>
          Deferred.succeed(asked, undefined).pipe(
            Effect.zipRight(Deferred.await(held)),
            Effect.zipRight(Effect.fail(errors.permissionDenied))
          ),
        publish: () => Effect.succeed(Option.none())
      })
      const client = yield* online(server, { user: "ada" })
      yield* client.send({ id: 2, subscribe: { channel: "closed:held" } })
      yield* Deferred.await(asked)
      const given = yield* Effect.fork(server.channels.subscribeUser("ada", "closed:held", { expireAt: start + 1 }))
      yield* TestClock.adjust("1 second")
      yield* Deferred.succeed(held, undefined)
      yield* Fiber.join(given)
      assert.deepStrictEqual(yield* client.next, { id: 2, error: { code: 103, message: "permission denied" } })
      assert.deepStrictEqual([...(yield* server.channels.channels()).channels.keys()], [])
    }))

  it.scoped("110 is the end for the SDK", () =>
    Effect.gen(function*() {
      const client = yield* sdk(yield* served(), { claims: { user: "ada", expireAt: start, serverRefresh: true } })
      client.client.connect()
      assert.deepInclude(yield* client.next("disconnected"), { code: 110 })
    }))

  it.scoped("is refused when subscribing: 109 with a token, 110 by the grant of a handler", () =>
    Effect.gen(function*() {
      const server = yield* served()
      yield* server.channels.register({
        matches: (channel) => channel === "closed:handled",
        subscribe: () => Effect.succeed({ expireAt: start }),
        publish: () => Effect.succeed(Option.none())
      })
      const client = yield* online(server, { user: "ada" })
      const over = token({ user: "ada", channel: "closed:x", grant: { expireAt: start } })
      const replies = yield* client.ask(
        { id: 2, subscribe: { channel: "closed:x", token: over } },
        { id: 3, subscribe: { channel: "closed:handled" } }
      )
      assert.deepStrictEqual(replies, [error(2, 109, "token expired"), error(3, 110, "expired")])
      assert.strictEqual((yield* server.channels.channels()).channels.size, 0)
    }))
})

describe("refresh", () => {
  const ask = (claims: Claims | string) => ({
    id: 2,
    refresh: { token: typeof claims === "string" ? claims : token(claims) }
  })
  const ada = { user: "ada", expireAt: start + 10 }

  const accepted: Record<string, readonly [before: Claims, after: Claims, reply: Document]> = {
    "that expires": [ada, { user: "ada", expireAt: start + 20 }, { expires: true, ttl: 20 }],
    "that expires in a second": [ada, { user: "ada", expireAt: start + 1 }, { expires: true, ttl: 1 }],
    "that expires within a second": [ada, { user: "ada", expireAt: start + 0.1 }, { expires: true, ttl: 1 }],
    "that does not expire": [ada, { user: "ada" }, {}],
    "of a connection that did not expire": [{ user: "ada" }, ada, { expires: true, ttl: 10 }],
    "of an anonymous client": [{ expireAt: start + 10 }, { expireAt: start + 20 }, { expires: true, ttl: 20 }],
    "with the same channels in another order": [
      { ...ada, subs: { a: {}, b: {} } },
      { ...ada, subs: { b: { info: 1 }, a: {} } },
      { expires: true, ttl: 10 }
    ]
  }
  for (const [what, [before, after, refresh]] of Object.entries(accepted)) {
    it.scoped(`a token ${what} is taken`, () =>
      Effect.gen(function*() {
        const client = yield* online(yield* served(), before)
        assert.deepStrictEqual(yield* client.ask(ask(after)), [{ id: 2, refresh }])
        yield* answers(client, before.user ?? "")
      }))
  }

  const subs = { a: {}, b: {} }
  const refused: Record<string, readonly [Claims, Claims | string | undefined, keyof typeof disconnected]> = {
    "a token that expired": [ada, { user: "ada", expireAt: 1 }, 3005],
    "credentials that are over": [ada, { user: "ada", expireAt: start - 1 }, 3005],
    "credentials that are over just now": [ada, { user: "ada", expireAt: start }, 3005],
    "credentials that are over, and nobody could refresh": [
      ada,
      { user: "ada", expireAt: start, serverRefresh: true },
      3005
    ],
    "one channel more": [ada, { ...ada, subs: { a: {} } }, 3010],
    "one channel less": [{ ...ada, subs }, { ...ada, subs: { a: {} } }, 3010],
    "no channels any more": [{ ...ada, subs }, ada, 3010],
    "as many others": [{ ...ada, subs }, { ...ada, subs: { a: {}, c: {} } }, 3010],
    "the token of another user": [ada, { ...ada, user: "bob" }, 3500],
    "what is no token": [ada, "no token", 3500],
    "an empty token": [ada, "", 3501],
    "no token": [ada, undefined, 3501],
    "a token, where the server refreshes": [{ ...ada, serverRefresh: true }, ada, 3501]
  }
  for (const [what, [before, after, code]] of Object.entries(refused)) {
    it.scoped(`${what} closes with ${code}`, () =>
      Effect.gen(function*() {
        const client = yield* online(yield* served(), before)
        yield* client.send(after === undefined ? { id: 2, refresh: {} } : ask(after))
        assert.deepStrictEqual(yield* client.rest, [])
        assert.deepStrictEqual(yield* client.closed, disconnected[code])
      }))
  }

  it.scoped("one that failed leaves all as it was: it may be tried again, and else the time ends as before", () =>
    Effect.gen(function*() {
      const server = yield* served({ expiredDelay: "5 seconds", pingInterval: 0 })
      const [one, two] = [yield* online(server, ada), yield* online(server, ada)]
      const later = { ...ada, fail: { code: 100, temporary: true } }
      for (const client of [one, two]) {
        assert.deepStrictEqual(yield* client.ask(ask(later)), [
          { id: 2, error: { code: 100, message: "failed with 100", temporary: true } }
        ])
      }
      assert.deepStrictEqual(yield* one.ask(ask({ user: "ada" })), [{ id: 2, refresh: {} }])
      yield* TestClock.adjust("14 seconds")
      yield* answers(two, "ada")
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* two.closed, disconnected[3005])
      yield* answers(one, "ada")
    }))

  /**
   * A client of the SDK that was told to refresh in a second, has done so with this, and after that has a good token. It
   * would wait five seconds before it tries again; nothing here is gained by that.
   */
  const refreshing = (server: Server, claims: Claims, next: Claims = { user: "ada" }) =>
    Effect.gen(function*() {
      const tokens = [claims]
      const client = yield* sdk(server, {
        claims: { user: "ada", expireAt: start + 1 },
        getToken: () => Promise.resolve(token(tokens.shift() ?? next))
      })
      Object.assign(client.client, { _getRefreshRetryDelay: () => 5 })
      yield* client.connect
      return client
    })

  const back = (client: Sdk, code: number) =>
    Effect.gen(function*() {
      yield* client.next("connecting")
      assert.deepInclude(yield* client.next("connecting"), { code })
      yield* client.next("connected")
    })

  it.scoped("what the SDK does: it comes back after 3005 and 3010, and gives up after 3500 and an error", () =>
    Effect.gen(function*() {
      const server = yield* served()
      const gone = (client: Sdk, code: number) =>
        Effect.map(client.next("disconnected"), (event) => assert.deepInclude(event, { code }))
      const all: ReadonlyArray<readonly [Claims, (client: Sdk) => Effect.Effect<void>]> = [
        [{ user: "ada", expireAt: 1 }, (client) => back(client, 3005)],
        [{ user: "ada", expireAt: start }, (client) => back(client, 3005)],
        [{ user: "ada", subs: { a: {} } }, (client) => back(client, 3010)],
        [{ user: "bob" }, (client) => gone(client, 3500)],
        [{ user: "ada", fail: { code: 103 } }, (client) => gone(client, 103)]
      ]
      yield* Effect.forEach(
        all,
        ([claims, then]) => Effect.flatMap(refreshing(server, claims), then),
        { concurrency: "unbounded", discard: true }
      )
    }))

  it.scoped("what the SDK does: after an error that is temporary it tries again", () =>
    Effect.gen(function*() {
      const server = yield* served()
      const later = { user: "ada", fail: { code: 100, temporary: true } }
      const client = yield* refreshing(server, later, { user: "ada", info: "new" })
      assert.deepInclude(yield* client.next("error"), { type: "refresh" })
      const sub = yield* client.subscribe("x")
      // It may be that the second refresh is still under way.
      for (;;) {
        client.client.publish("x", 1).catch(() => {})
        const { info } = yield* sub.next("publication")
        if (info?.connInfo === "new") break
      }
      assert.deepStrictEqual(client.names, ["connecting", "connected", "error"])
      assert.strictEqual(server.asked.refresh.length, 2)
    }))
})

describe("sub_refresh", () => {
  const channel = "closed:x"
  const ada = { user: "ada", channel }
  const ask = (claims: Claims | string | undefined, of = channel) => ({
    id: 3,
    sub_refresh: {
      channel: of,
      ...(claims === undefined ? {} : { token: typeof claims === "string" ? claims : token(claims) })
    }
  })

  /** A client that is subscribed until ten seconds from the start. */
  const subscribed = (server: Server) =>
    Effect.gen(function*() {
      const client = yield* online(server, { user: "ada" })
      const until = token({ ...ada, grant: { expireAt: start + 10 } })
      const [reply] = yield* client.ask({ id: 2, subscribe: { channel, token: until } })
      assert.deepStrictEqual(reply, { id: 2, subscribe: { expires: true, ttl: 10 } })
      return client
    })

  const accepted: Record<string, readonly [Claims, reply: Document]> = {
    "that expires": [{ ...ada, grant: { expireAt: start + 20 } }, { expires: true, ttl: 20 }],
    "that expires in a second": [{ ...ada, grant: { expireAt: start + 1 } }, { expires: true, ttl: 1 }],
    "that does not expire": [ada, {}]
  }
  for (const [what, [claims, sub_refresh]] of Object.entries(accepted)) {
    it.scoped(`a token ${what} is taken`, () =>
      Effect.gen(function*() {
        const client = yield* subscribed(yield* served())
        assert.deepStrictEqual(yield* client.ask(ask(claims)), [{ id: 3, sub_refresh }])
      }))
  }

  const refused: Record<string, readonly [Claims, code: number, message: string]> = {
    "a token that expired": [{ ...ada, expireAt: 1 }, 109, "token expired"],
    "a grant that is over": [{ ...ada, grant: { expireAt: start - 1 } }, 109, "token expired"],
    "a grant that is over just now": [{ ...ada, grant: { expireAt: start } }, 109, "token expired"],
    "a token for a connection": [{ user: "ada" }, 103, "permission denied"]
  }
  for (const [what, [claims, code, message]] of Object.entries(refused)) {
    it.scoped(`${what} is error ${code}; the subscription ends when it would have`, () =>
      Effect.gen(function*() {
        const server = yield* served({ expiredDelay: "5 seconds", pingInterval: 0 })
        const client = yield* subscribed(server)
        assert.deepStrictEqual(yield* client.ask(ask(claims)), [error(3, code, message)])
        yield* TestClock.adjust("14 seconds")
        yield* server.channels.publish(channel, "heard")
        assert.deepStrictEqual(yield* client.next, { push: { channel, pub: { data: "heard" } } })
        yield* TestClock.adjust("2 seconds")
        assert.deepStrictEqual(yield* client.next, { push: { channel, unsubscribe: unsubscribes.expired } })
      }))
  }

  it.scoped("one that failed for a time is an error that says so", () =>
    Effect.gen(function*() {
      const client = yield* subscribed(yield* served())
      const later = { ...ada, fail: { code: 100, temporary: true } }
      assert.deepStrictEqual(yield* client.ask(ask(later)), [
        { id: 3, error: { code: 100, message: "failed with 100", temporary: true } }
      ])
    }))

  it.scoped("of a channel that one is not subscribed to is error 103", () =>
    Effect.gen(function*() {
      const client = yield* subscribed(yield* served())
      const other = { user: "ada", channel: "closed:y" }
      assert.deepStrictEqual(yield* client.ask(ask(other, "closed:y"), ask("", "closed:z")), [
        error(3, 103, "permission denied"),
        error(3, 103, "permission denied")
      ])
    }))

  const closing: Record<string, readonly [Claims | string | undefined, 3500 | 3501]> = {
    "the token of another channel": [{ ...ada, channel: "closed:y" }, 3500],
    "the token of another user": [{ ...ada, user: "bob" }, 3500],
    "what is no token": ["no token", 3500],
    "an empty token": ["", 3501],
    "no token": [undefined, 3501]
  }
  for (const [what, [claims, code]] of Object.entries(closing)) {
    it.scoped(`${what} closes with ${code}`, () =>
      Effect.gen(function*() {
        const client = yield* subscribed(yield* served())
        yield* client.send(ask(claims))
        assert.deepStrictEqual(yield* client.rest, [])
        assert.deepStrictEqual(yield* client.closed, disconnected[code])
      }))
  }

  it.scoped("what the SDK does: it unsubscribes after 109 and 103, and gives up after 3500", () =>
    Effect.gen(function*() {
      const server = yield* served()
      /** A subscription of the SDK that was told to refresh in a second, and does so with this. */
      const refreshing = (claims: Claims) =>
        Effect.gen(function*() {
          const client = yield* sdk(server, { claims: { user: "ada" } })
          yield* client.connect
          const sub = yield* client.subscribe(channel, {
            token: token({ ...ada, grant: { expireAt: start + 1 } }),
            getToken: () => Promise.resolve(token(claims))
          })
          return { client, sub }
        })
      const ends = (code: number, { client, sub }: { readonly client: Sdk; readonly sub: Sub }) =>
        Effect.gen(function*() {
          assert.deepInclude(yield* sub.next("unsubscribed"), { code })
          yield* client.settled
          assert.deepStrictEqual(client.names, ["connecting", "connected"])
        })
      const gone = ({ client }: { readonly client: Sdk }) =>
        Effect.map(client.next("disconnected"), (event) => assert.deepInclude(event, { code: 3500 }))
      yield* Effect.all([
        Effect.flatMap(refreshing({ ...ada, expireAt: 1 }), (both) => ends(109, both)),
        Effect.flatMap(refreshing({ ...ada, grant: { expireAt: start } }), (both) => ends(109, both)),
        Effect.flatMap(refreshing({ user: "ada" }), (both) => ends(103, both)),
        Effect.flatMap(refreshing({ ...ada, user: "bob" }), gone)
      ], { concurrency: "unbounded", discard: true })
      yield* eventuallyEffect(Effect.map(server.channels.channels(), ({ channels }) => channels.size === 0))
    }))

  it.scoped("what the SDK does: after an error that is temporary it tries again", () =>
    Effect.gen(function*() {
      const server = yield* served()
      const client = yield* sdk(server, { claims: { user: "ada" } })
      yield* client.connect
      const tokens = [{ ...ada, fail: { code: 100, temporary: true } }, { ...ada, expireAt: 1 }]
      const sub = client.sub(channel, {
        token: token({ ...ada, grant: { expireAt: start + 1 } }),
        getToken: () => Promise.resolve(token(tokens.shift() ?? ada))
      })
      // It would wait ten seconds.
      Object.assign(sub.sub, { _getRefreshRetryDelay: () => 5 })
      yield* sub.next("subscribed")
      assert.deepInclude(yield* sub.next("error"), { type: "refresh" })
      // The second answer is final.
      assert.deepInclude(yield* sub.next("unsubscribed"), { code: 109 })
      assert.deepStrictEqual(sub.names, ["subscribing", "subscribed", "error", "unsubscribed"])
    }))
})
