import { assert, describe, it } from "@effect/vitest"
import { Channel } from "effect-ws-hub"
import { Client, ClientChannel } from "effect-ws-hub/client"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Channels } from "../../src/channels/Channels.js"
import { ProtocolError } from "../../src/channels/ProtocolCode.js"
import { serve, type Server } from "../channels/support.js"
import { connect, data, failure, next, refusal, take } from "./support.js"

const Room = Channel.make("chat:room-{id}", {
  params: { id: Schema.NumberFromString },
  receive: Schema.TaggedStruct("Said", { by: Schema.String, text: Schema.String, at: Schema.Date }),
  send: Schema.Struct({ text: Schema.NonEmptyString, at: Schema.DateFromNumber }),
  join: Schema.Struct({ nick: Schema.NonEmptyString, born: Schema.Date }),
  options: { historySize: 10, historyTtl: "1 minute", allowHistoryForSubscriber: true }
})
const Lobby = Channel.make("lobby", { receive: Schema.NumberFromString, options: {} })

const at = new Date(0)
const join = { nick: "ada", born: at }

const serveRooms = Effect.gen(function*() {
  const server = yield* serve(Channel.namespaces(Room, Lobby))
  const handlers = Layer.merge(
    Channel.handler(Room, {
      join: ({ data, params }) =>
        params.id === 7 && data.born.getTime() === 0
          ? Effect.succeed({ data: { hello: data.nick } })
          : Effect.fail(new ProtocolError({ code: 403, reason: "not yours", temporary: false })),
      handle: ({ caller, message, params }) =>
        Effect.succeed({ _tag: "Said", by: `${caller.user}@${params.id}`, text: message.text, at: message.at })
    }),
    Channel.handler(Lobby, { join: () => Effect.void })
  )
  yield* Layer.build(Layer.provide(handlers, Layer.succeed(Channels, server.channels)))
  return server
})

const joined = (server: Server) => connect(server, { claims: { user: "ada" } })

const asClient = <A, E, R>(client: Client.Client["Type"], effect: Effect.Effect<A, E, R | Client.Client>) =>
  Effect.provideService(effect, Client.Client, client)

describe("a typed channel", () => {
  it.scopedLive("is one definition for both: what goes is encoded, what comes is decoded", () =>
    Effect.gen(function*() {
      const server = yield* serveRooms
      const client = yield* joined(server)
      const room = yield* asClient(client, ClientChannel.subscribe(Room, { id: 7 }, { data: join }))
      assert.strictEqual(room.channel, "chat:room-7")
      assert.deepStrictEqual(room.data, { hello: "ada" })
      yield* room.publish({ text: "hello", at })
      const said = { _tag: "Said", by: "ada@7", text: "hello", at } as const
      assert.deepStrictEqual(yield* data(room, 1), [said])
      yield* asClient(client, ClientChannel.publish(Room, { id: 7 }, { text: "again", at }))
      assert.deepInclude(yield* next(room.events), { _tag: "Published", data: { ...said, text: "again" } })
      const { publications } = yield* room.history({ limit: 1 })
      assert.deepStrictEqual(publications[0]?.data, said)
    }))

  it.scopedLive("is a stream, without a subscription at hand", () =>
    Effect.gen(function*() {
      const server = yield* serveRooms
      const client = yield* joined(server)
      yield* Effect.forkScoped(
        Effect.forever(Effect.zipRight(server.channels.publish("lobby", "7"), Effect.yieldNow()))
      )
      const [publication] = yield* asClient(client, take(ClientChannel.stream(Lobby, {}), 1))
      assert.strictEqual(publication?.data, 7)
    }))

  it.scopedLive("what its schemas refuse is not sent", () =>
    Effect.gen(function*() {
      const server = yield* serveRooms
      const client = yield* joined(server)
      const room = yield* asClient(client, ClientChannel.subscribe(Room, { id: 7 }, { data: join }))
      const message = `bad request: text: Expected a non empty string, actual "" (107)`
      assert.strictEqual((yield* refusal(room.publish({ text: "", at }))).message, message)
      const publish = ClientChannel.publish(Room, { id: 7 }, { text: "", at })
      assert.strictEqual((yield* refusal(asClient(client, publish))).message, message)
      const subscribe = ClientChannel.subscribe(Room, { id: 7 }, { data: { nick: "", born: at } })
      assert.deepInclude(yield* refusal(asClient(client, subscribe)), { _tag: "ProtocolError", code: 107 })
      const nameless = ClientChannel.publish(Room, { id: Number.NaN }, { text: "hello", at })
      assert.deepInclude(yield* refusal(asClient(client, nameless)), { _tag: "ProtocolError", code: 107 })
      // Where nothing is declared to be sent, nothing is.
      const nothing = Effect.flip(ClientChannel.publish(Lobby, {}, undefined as never))
      assert.deepInclude(yield* asClient(client, nothing), { _tag: "ProtocolError", code: 103 })
    }))

  it.scopedLive("what the application refuses has its code", () =>
    Effect.gen(function*() {
      const client = yield* joined(yield* serveRooms)
      const error = yield* Effect.flip(asClient(client, ClientChannel.subscribe(Room, { id: 8 }, { data: join })))
      assert.deepInclude(error, { _tag: "ProtocolError", code: 403, reason: "not yours" })
    }))

  it.scopedLive("what is not as it says is told, or skipped", () =>
    Effect.gen(function*() {
      const server = yield* serveRooms
      const client = yield* joined(server)
      const strict = yield* asClient(client, ClientChannel.subscribe(Room, { id: 7 }, { data: join }))
      const lenient = yield* asClient(
        client,
        ClientChannel.subscribe(Room, { id: 7 }, { data: join, malformed: "skip" })
      )
      // By name, past the definition.
      yield* server.channels.publish("chat:room-7", { _tag: "Sad" })
      yield* strict.publish({ text: "hello", at })
      const error = yield* failure(strict.publications)
      assert.deepInclude(error, { _tag: "Malformed", channel: "chat:room-7" })
      assert.deepInclude("publication" in error ? error.publication : {}, { data: { _tag: "Sad" }, offset: 1 })
      assert.include(error.message, "\"Said\"")
      assert.notInclude(error.message, "bad request")
      for (const room of [strict, lenient]) assert.deepInclude((yield* data(room, 1))[0], { text: "hello" })
      assert.deepInclude(yield* Effect.flip(strict.history({ limit: 10 })), { _tag: "Malformed" })
      assert.lengthOf((yield* lenient.history({ limit: 10 })).publications, 1)
    }))
})
