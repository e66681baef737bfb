/**
 * Rooms to talk in, over a typed channel: its definition, the server of it, and a client of it.
 *
 *     PORT=8000 npx tsx --conditions=@effect-ws-hub/source examples/typed-channel.ts
 *     npx tsx --conditions=@effect-ws-hub/source examples/typed-channel.ts \
 *       ws://127.0.0.1:8000/connection/websocket Ada tea hello
 *
 * The client says what stands behind the room, and then what is typed. In an application the definition is a file of its
 * own; that of a browser imports `Channel` from `effect-ws-hub/client`.
 */
import { HttpLayerRouter } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Data, Effect, Layer, Schema, Stream } from "effect"
import {
  Authenticator,
  BrokerMemory,
  Channel,
  Channels,
  ChannelsLive,
  Hub,
  NodeGuard,
  NodeUpgrade,
  PresenceMemory,
  ProtocolCode
} from "effect-ws-hub"
import { Client, ClientChannel } from "effect-ws-hub/client"
import { createInterface } from "node:readline"
import { WebSocket } from "ws"

// --- the definition, for both

const Room = Channel.make("room:{name}", {
  params: { name: Schema.NonEmptyString.pipe(Schema.pattern(/^[a-z]+$/)) },
  receive: Schema.Union(
    Schema.TaggedStruct("Said", { by: Schema.String, text: Schema.String, at: Schema.Date }),
    Schema.TaggedStruct("Renamed", { by: Schema.String, title: Schema.String })
  ),
  send: Schema.Union(
    Schema.TaggedStruct("Say", { text: Schema.NonEmptyTrimmedString.pipe(Schema.maxLength(1000)) }),
    Schema.TaggedStruct("Rename", { title: Schema.NonEmptyTrimmedString.pipe(Schema.maxLength(100)) })
  ),
  join: Schema.Struct({ mood: Schema.Literal("good", "bad") }),
  options: { historySize: 100, historyTtl: "10 minutes", forceRecovery: true }
})

// --- the server

class BadMood extends Data.TaggedError("BadMood")<{ readonly user: string }> {}

const RoomHandler = Channel.handler(Room, {
  join: ({ caller, data }) => data.mood === "good" ? Effect.void : new BadMood({ user: caller.user }),
  handle: ({ caller, message }) =>
    Effect.map(Effect.clock, (clock) =>
      message._tag === "Say"
        ? { _tag: "Said", by: caller.user, text: message.text, at: new Date(clock.unsafeCurrentTimeMillis()) }
        : { _tag: "Renamed", by: caller.user, title: message.title }),
  onError: ({ user }) => new ProtocolCode.ProtocolError({ code: 403, reason: `${user}, cheer up`, temporary: false })
})

/** Everybody is who they say. An application checks tokens: `Tokens.layer`. */
const Trusting = Layer.succeed(Authenticator.Authenticator, {
  connect: ({ data }) =>
    Schema.decodeUnknown(Schema.Struct({ name: Schema.NonEmptyTrimmedString }))(data).pipe(
      Effect.map(({ name }) => ({ user: name, clientRefresh: false, subscriptions: new Map() })),
      Effect.mapError(() => ProtocolCode.errors.unauthorized)
    ),
  refresh: () => Effect.fail(ProtocolCode.errors.notAvailable),
  subscribe: () => Effect.fail(ProtocolCode.errors.notAvailable)
})

const Server = Layer.unwrapEffect(
  Effect.map(
    Config.withDefault(Config.integer("PORT"), 8000),
    (port) =>
      HttpLayerRouter.serve(NodeUpgrade.layer("/connection/websocket", Channels.mount), { disableLogger: true }).pipe(
        Layer.merge(RoomHandler),
        Layer.provide(ChannelsLive.layer(Channel.namespaces(Room))),
        Layer.provide([BrokerMemory.layer, PresenceMemory.layer, Trusting]),
        Layer.provide(Hub.layer()),
        Layer.provide(NodeGuard.layer({ host: "127.0.0.1", port }))
      )
  )
)

// --- the client

const lines = Stream.unwrapScoped(Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => createInterface({ input: process.stdin })),
    (input) => Effect.sync(() => input.close())
  ),
  (input) => Stream.fromAsyncIterable(input, () => "the input is broken" as const)
))

const chat = (name: string, text: string) =>
  Effect.gen(function*() {
    const room = yield* ClientChannel.subscribe(Room, { name }, { data: { mood: "good" } })
    const hear = Stream.runForEach(room.events, (event) => {
      switch (event._tag) {
        case "Published":
          return event.data._tag === "Said"
            ? Console.log(`${event.data.by}: ${event.data.text}`)
            : Console.log(`${event.data.by} calls it ${event.data.title}`)
        case "Recovered":
          return Console.log("(back again)")
        case "Gap":
          return Console.log("(something is missing here)")
      }
    })
    const say = Stream.runForEach(
      Stream.concat(Stream.make(text), lines),
      (line) =>
        room.publish(
          line.startsWith("/name ") ? { _tag: "Rename", title: line.slice(6) } : { _tag: "Say", text: line.trim() }
        ).pipe(Effect.catchTags({ ProtocolError: Console.error, Unanswered: Console.error }))
    )
    yield* Effect.raceFirst(hear, say)
  }).pipe(Effect.scoped)

const [url, user = "nobody", room = "tea", ...words] = process.argv.slice(2)

if (url === undefined) NodeRuntime.runMain(Layer.launch(Server))
else {
  NodeRuntime.runMain(
    Effect.provide(chat(room, words.join(" ")), Client.layer({ url, websocket: WebSocket, data: { name: user } }))
  )
}
