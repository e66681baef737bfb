/** A typed channel as the official SDK meets it, over a real socket. */
import { assert, describe, it } from "@effect/vitest"
import { Disconnect } from "effect-ws-hub"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Channel from "../../src/channels/Channel.js"
import { Channels } from "../../src/channels/Channels.js"
import { ProtocolError } from "../../src/channels/ProtocolCode.js"
import { eventuallyEffect } from "../node/support.js"
import { call, open, type Sdk, serve, user } from "./support.js"

const Room = Channel.make("typed:room-{id}", {
  params: { id: Schema.NumberFromString },
  send: Schema.Union(
    Schema.TaggedStruct("Say", { text: Schema.NonEmptyString }),
    Schema.TaggedStruct("Wait", {})
  ),
  receive: Schema.TaggedStruct("Said", { by: Schema.String, text: Schema.String }),
  join: Schema.Struct({ nick: Schema.NonEmptyString })
})

class Banned extends Data.TaggedError("Banned")<{ readonly until: string }> {}
class Full extends Data.TaggedError("Full")<{}> {}

/** A server with the room, and what became of the handlers that wait. */
const rooms = Effect.gen(function*() {
  const server = yield* serve({ namespaces: { typed: open }, hub: { closeGrace: "100 millis" } })
  const waits = yield* Queue.unbounded<string>()
  const ends = yield* Queue.unbounded<Exit.Exit<void>>()
  yield* Layer.build(
    Channel.handler(Room, {
      join: ({ data, params }) =>
        Effect.gen(function*() {
          if (data.nick === "mallory") return yield* new Banned({ until: "monday" })
          if (data.nick === "eve") return yield* new Disconnect({ code: 4501, reason: "not you" })
          if (params.id === 0) return yield* new Full()
        }),
      handle: ({ caller, message }) =>
        message._tag === "Say"
          ? Effect.succeed({ _tag: "Said" as const, by: caller.user, text: message.text })
          : Queue.offer(waits, caller.user).pipe(
            Effect.zipRight(Effect.never),
            Effect.onExit((exit) => Queue.offer(ends, exit))
          ),
      onError: (error) =>
        error._tag === "Banned"
          ? new ProtocolError({ code: 403, reason: `banned until ${error.until}`, temporary: false })
          : new ProtocolError({ code: 429, reason: "the room is full", temporary: true })
    })
  ).pipe(Effect.provideService(Channels, server.channels))
  return { server, waits, ends }
})

/** What the SDK rejects a publication with. */
const refused = ({ client }: Sdk, channel: string, data: unknown) =>
  Effect.map(Effect.flip(call(() => client.publish(channel, data))), ({ code, reason }) => ({ code, reason }))

describe("a typed channel over a socket", () => {
  it.scopedLive("gives clients what is right, and refuses what is not with 107, which says where", () =>
    Effect.gen(function*() {
      const { server } = yield* rooms
      const [ada, bob] = [yield* user(server, "ada"), yield* user(server, "bob")]
      const subs = [
        yield* ada.subscribe("typed:room-1", { data: { nick: "a" } }),
        yield* bob.subscribe("typed:room-1", { data: { nick: "b" } })
      ]
      const wrong: ReadonlyArray<readonly [channel: string, data: unknown, reason: RegExp]> = [
        ["typed:room-1", { _tag: "Say", text: "" }, /^bad request: text: .*non empty string/],
        ["typed:room-1", { _tag: "Say" }, /^bad request: text: is missing$/],
        ["typed:room-1", { _tag: "Shout", text: "x" }, /^bad request: .*"Say".*"Wait"/],
        ["typed:room-1", ["Say"], /^bad request: /],
        ["typed:room-01", { _tag: "Say", text: "x" }, /^bad request: id: expected "1", actual "01"$/],
        ["typed:room-x", { _tag: "Say", text: "x" }, /^bad request: id: Unable to decode "x" into a number$/]
      ]
      for (const [channel, data, reason] of wrong) {
        const answer = yield* refused(ada, channel, data)
        assert.strictEqual(answer.code, 107, JSON.stringify(data))
        assert.match(answer.reason, reason)
      }
      // The connection goes on, and nothing of that was published.
      yield* Effect.promise(() => ada.client.publish("typed:room-1", { _tag: "Say", text: "hi" }))
      for (const sub of subs) assert.deepStrictEqual(yield* sub.data(1), [{ _tag: "Said", by: "ada", text: "hi" }])
      assert.isEmpty(ada.heard("disconnected"))
    }))

  it.scopedLive("refuses who joins with wrong data with 107, and by typed errors with their codes", () =>
    Effect.gen(function*() {
      const { server } = yield* rooms
      const ada = yield* user(server, "ada")
      const ends = (channel: string, data: unknown) =>
        Effect.map(ada.sub(channel, { data }).next("unsubscribed"), ({ code, reason }) => ({ code, reason }))
      const wrong = yield* ends("typed:room-1", { nick: 5 })
      assert.strictEqual(wrong.code, 107)
      assert.match(wrong.reason, /^bad request: nick: .*actual 5/)
      assert.deepStrictEqual(yield* ends("typed:room-2", { nick: "mallory" }), {
        code: 403,
        reason: "banned until monday"
      })
      // The SDK tries again after a temporary error by itself.
      const full = ada.sub("typed:room-0", { data: { nick: "a" } })
      const { error } = yield* full.next("error")
      assert.deepStrictEqual([error.code, error.message], [429, "the room is full"])
      assert.isEmpty(full.heard("unsubscribed"))
      const eve = yield* user(server, "eve")
      eve.sub("typed:room-1", { data: { nick: "eve" } })
      assert.deepStrictEqual(yield* eve.next("disconnected"), { code: 4501, reason: "not you" })
    }))

  it.scopedLive("takes messages of those alone whom it has let in, unless it is for all", () =>
    Effect.gen(function*() {
      const { server } = yield* rooms
      const heard: Array<string> = []
      const Box = Channel.make("typed:box", { receive: Schema.String, send: Schema.String })
      yield* Layer.build(
        Channel.handler(Box, {
          join: () => new ProtocolError({ code: 403, reason: "nobody listens", temporary: false }),
          handle: ({ caller, message }) => Effect.sync(() => void heard.push(`${caller.user}: ${message}`)),
          publishers: "all"
        })
      ).pipe(Effect.provideService(Channels, server.channels))
      const [ada, eve] = [yield* user(server, "ada"), yield* user(server, "eve")]
      const sub = yield* ada.subscribe("typed:room-1", { data: { nick: "a" } })
      const banned = eve.sub("typed:room-1", { data: { nick: "mallory" } })
      assert.strictEqual((yield* banned.next("unsubscribed")).code, 403)
      const say = { _tag: "Say", text: "spam" }
      assert.strictEqual((yield* refused(eve, "typed:room-1", say)).code, 103)
      yield* call(() => ada.client.publish("typed:room-1", { _tag: "Say", text: "hello" }))
      assert.deepStrictEqual(yield* sub.data(1), [{ _tag: "Said", by: "ada", text: "hello" }])
      yield* server.channels.unsubscribe("ada", "typed:room-1")
      yield* sub.next("unsubscribed")
      assert.strictEqual((yield* refused(ada, "typed:room-1", say)).code, 103)
      yield* call(() => eve.client.publish("typed:box", "a letter"))
      assert.deepStrictEqual(heard, ["eve: a letter"])
    }))

  it.scopedLive("decides about channels that are named for users, too", () =>
    Effect.gen(function*() {
      const server = yield* serve({ namespaces: { talk: { allowUserLimitedChannels: true } }, personalChannel: {} })
      const Talk = Channel.make("talk:#{a},{b}", {
        params: { a: Schema.String, b: Schema.String },
        receive: Schema.String,
        join: Schema.Struct({ nick: Schema.NonEmptyString })
      })
      yield* Layer.build(
        Channel.handler(Talk, {
          join: () => new ProtocolError({ code: 403, reason: "closed", temporary: false })
        })
      ).pipe(Effect.provideService(Channels, server.channels))
      const ada = yield* user(server, "ada")
      const code = (data: unknown) =>
        Effect.map(ada.sub("talk:#ada,bob", { data }).next("unsubscribed"), ({ code }) => code)
      assert.strictEqual(yield* code({ nick: "a" }), 403)
      ada.client.removeSubscription(ada.client.getSubscription("talk:#ada,bob"))
      assert.strictEqual(yield* code(undefined), 107)
    }))

  it.scopedLive("interrupts `handle` when its connection's scope closes, and nobody else's", () =>
    Effect.gen(function*() {
      const { ends, server, waits } = yield* rooms
      const [ada, bob] = [yield* user(server, "ada"), yield* user(server, "bob")]
      for (const one of [ada, bob]) yield* one.subscribe("typed:room-1", { data: { nick: "a" } })
      for (const { client } of [ada, bob]) {
        // Never answered: the SDK rejects it when the connection ends.
        const answer = yield* Effect.fork(Effect.exit(call(() => client.publish("typed:room-1", { _tag: "Wait" }))))
        yield* Effect.addFinalizer(() => answer.await)
        yield* Queue.take(waits)
      }
      ada.client.disconnect()
      assert.isTrue(Exit.isInterrupted(yield* Queue.take(ends)))
      yield* eventuallyEffect(Effect.map(server.hub.size, (size) => size === 1))
      assert.strictEqual(yield* Queue.size(ends), 0)
      yield* server.hub.drain
      assert.isTrue(Exit.isInterrupted(yield* Queue.take(ends)))
      bob.client.disconnect()
    }))
})
