/**
 * Chat rooms. Whoever connects to `/rooms/tea?name=Ada` is told who is there, and hears what is said in the room.
 *
 *     PORT=8000 npx tsx --conditions=@effect-ws-hub/source examples/rooms.ts
 */
import { HttpLayerRouter, HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { Config, Data, Effect, Layer, type ParseResult, Schema } from "effect"
import { type Connection, Disconnect, Hub, NodeGuard, NodeUpgrade } from "effect-ws-hub"

/** What a client sends. */
const Say = Schema.parseJson(Schema.Struct({ text: Schema.NonEmptyTrimmedString.pipe(Schema.maxLength(1000)) }))

/** What a client gets. */
const Event = Schema.parseJson(Schema.Union(
  Schema.TaggedStruct("Welcome", { names: Schema.Array(Schema.String) }),
  Schema.TaggedStruct("Joined", { name: Schema.String }),
  Schema.TaggedStruct("Said", { name: Schema.String, text: Schema.String }),
  Schema.TaggedStruct("Left", { name: Schema.String })
))
const encode = Schema.encodeSync(Event)

class NameTaken extends Data.TaggedError("NameTaken")<{ readonly name: string }> {}

/** Who is in which room. */
class Presence extends Effect.Service<Presence>()("Presence", {
  sync: () => {
    const rooms = new Map<string, Set<string>>()
    const leave = (room: string, name: string) => {
      const names = rooms.get(room)
      if (names !== undefined && names.delete(name) && names.size === 0) rooms.delete(room)
    }
    return {
      names: (room: string) => Effect.sync(() => Array.from(rooms.get(room) ?? [])),
      /** Enters a room until the connection's scope closes. */
      enter: (room: string, name: string) =>
        Effect.acquireRelease(
          Effect.suspend(() => {
            const names = rooms.get(room) ?? new Set()
            if (names.has(name)) return new NameTaken({ name })
            rooms.set(room, names.add(name))
            return Effect.void
          }),
          () => Effect.sync(() => leave(room, name))
        )
    }
  }
}) {}

/** Before the upgrade: who is it, and which room? */
const authorize = () =>
  Effect.all({
    path: HttpRouter.schemaPathParams(Schema.Struct({ room: Schema.NonEmptyString })),
    search: HttpServerRequest.schemaSearchParams(Schema.Struct({ name: Schema.NonEmptyTrimmedString }))
  }).pipe(
    Effect.map(({ path, search }) => ({ room: path.room, name: search.name })),
    Effect.catchAll(() => new NodeUpgrade.Refused({ status: 400, message: "Connect to /rooms/ROOM?name=NAME." }))
  )

type Guest = Connection<{ readonly room: string; readonly name: string }>

/** The first thing that the peer hears. */
const greeting = (guest: Guest) =>
  Effect.gen(function*() {
    const presence = yield* Presence
    const { name, room } = guest.handshake.principal
    yield* presence.enter(room, name)
    yield* guest.join(room)
    yield* guest.send(encode({ _tag: "Welcome", names: yield* presence.names(room) }))
  })

/** From then on: what the peer says, the room hears. */
const handler = (guest: Guest) =>
  Effect.gen(function*() {
    const hub = yield* Hub.Hub
    const { name, room } = guest.handshake.principal
    yield* hub.publish(room, encode({ _tag: "Joined", name }), { except: guest })
    yield* guest.runForEach((message) =>
      Effect.flatMap(
        Schema.decodeUnknown(Say)(message),
        ({ text }) => hub.publish(room, encode({ _tag: "Said", name, text }))
      )
    ).pipe(Effect.ensuring(hub.publish(room, encode({ _tag: "Left", name }))))
  })

/** What a failure of either means for the peer. */
const onFailure = (error: NameTaken | ParseResult.ParseError) =>
  error._tag === "NameTaken"
    ? new Disconnect({ code: 4409, reason: `${error.name} is here already` })
    : new Disconnect({ code: 4400, reason: "expected {\"text\": \"…\"}" })

const Routes = Layer.merge(
  NodeUpgrade.layer("/rooms/:room", { authorize, greeting, handler, onFailure }),
  HttpLayerRouter.add("GET", "/health", HttpServerResponse.text("ok"))
)

const Main = Layer.unwrapEffect(
  Effect.map(
    Config.withDefault(Config.integer("PORT"), 8000),
    (port) =>
      HttpLayerRouter.serve(Routes, { disableLogger: true }).pipe(
        Layer.provide([Presence.Default, Hub.layer()]),
        Layer.provide(NodeGuard.layer({ host: "127.0.0.1", port }))
      )
  )
)

NodeRuntime.runMain(Layer.launch(Main))
