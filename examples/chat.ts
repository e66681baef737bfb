/**
 * Rooms without a protocol: what one sends to `/rooms/:room`, text or binary, everyone in it gets, the sender too.
 * `/stats/:room` tells how many are in it, now and whenever that changes; `/echo` sends back. The page at `/` uses both
 * of the former: open it in two tabs.
 *
 *     PORT=8000 npx tsx --conditions=@effect-ws-hub/source examples/chat.ts
 */
import { HttpLayerRouter, HttpRouter, HttpServerResponse } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer, Schema } from "effect"
import { type Connection, Hub, NodeGuard, NodeUpgrade } from "effect-ws-hub"
import { fileURLToPath } from "node:url"

const Path = Schema.Struct({ room: Schema.String.pipe(Schema.pattern(/^[\w-]{1,64}$/)) })

/** Before the upgrade: which room? */
const authorize = () =>
  HttpRouter.schemaPathParams(Path).pipe(
    Effect.map(({ room }) => ({ inside: `inside/${room}`, watching: `watching/${room}` })),
    Effect.mapError(() =>
      new NodeUpgrade.Refused({ status: 400, message: "A room is 1 to 64 letters, digits, hyphens and underscores." })
    )
  )

type Room = Effect.Effect.Success<ReturnType<typeof authorize>>

const count = ({ inside }: Room) =>
  Effect.flatMap(Hub.Hub, (hub) => Effect.map(hub.members(inside), (members) => String(members.length)))

/** Who watches a room gets its count. */
const tell = (room: Room) =>
  Effect.flatMap(Hub.Hub, (hub) => Effect.flatMap(count(room), (text) => hub.publish(room.watching, text)))

const Rooms = NodeUpgrade.layer("/rooms/:room", {
  authorize,
  greeting: (connection: Connection<Room>) => {
    const room = connection.handshake.principal
    return Effect.acquireRelease(
      Effect.zipRight(connection.join(room.inside), tell(room)),
      () => tell(room) // a connection that has ended is in no topic any more
    )
  },
  handler: (connection) =>
    Effect.flatMap(Hub.Hub, (hub) => {
      const { inside } = connection.handshake.principal
      return connection.runForEach((message) => hub.publish(inside, message))
    })
})

const Stats = NodeUpgrade.layer("/stats/:room", {
  authorize,
  greeting: (connection: Connection<Room>) => {
    const room = connection.handshake.principal
    return Effect.zipRight(connection.join(room.watching), Effect.flatMap(count(room), connection.send))
  },
  handler: (connection) => connection.discard
})

const Echo = NodeUpgrade.layer("/echo", { handler: (connection) => connection.runForEach(connection.send) })

const Page = HttpLayerRouter.add(
  "GET",
  "/",
  HttpServerResponse.file(fileURLToPath(new URL("chat.html", import.meta.url)))
)

const Main = Layer.unwrapEffect(
  Effect.map(
    Config.withDefault(Config.integer("PORT"), 8000),
    (port) =>
      HttpLayerRouter.serve(Layer.mergeAll(Rooms, Stats, Echo, Page), { disableLogger: true }).pipe(
        Layer.provide(Hub.layer()),
        Layer.provide(NodeGuard.layer({ host: "127.0.0.1", port }))
      )
  )
)

NodeRuntime.runMain(Layer.launch(Main))
