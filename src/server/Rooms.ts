/**
 * Rooms: what one says, everyone in it gets. Beside each room stands its number of connections, for those who watch.
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { Connection } from "../core/Connection.js"
import type { Handler } from "../core/Handler.js"
import { Hub } from "../core/Hub.js"
import * as NodeUpgrade from "../node/NodeUpgrade.js"
import type { ServerConfig } from "./ServerConfig.js"

/** The shortest time between two counts of a room: many who come or go at once are told once. */
const coalescing = "100 millis"

/**
 * Who is in which room.
 */
export class Rooms extends Context.Tag("effect-ws-hub/server/Rooms")<Rooms, {
  /** Lets a connection into a room, until the scope closes. */
  readonly enter: (connection: Connection, room: string) => Effect.Effect<void, never, Scope.Scope>
  /** Tells a connection the number of connections in a room, now and whenever it changes. */
  readonly watch: (connection: Connection, room: string) => Effect.Effect<void>
}>() {
  static readonly layer: Layer.Layer<Rooms, never, Hub> = Layer.scoped(
    Rooms,
    Effect.gen(function*() {
      const hub = yield* Hub
      const changed = new Set<string>()
      const latch = yield* Effect.makeLatch(false)

      const count = (room: string) =>
        Effect.map(hub.members(inside(room)), (members) => JSON.stringify({ room, connections: members.length }))
      const change = (room: string) => Effect.zipRight(Effect.sync(() => changed.add(room)), latch.open)

      const tell = Effect.suspend(() => {
        const rooms = [...changed]
        changed.clear()
        return Effect.forEach(
          rooms,
          (room) => Effect.flatMap(count(room), (text) => hub.publish(watching(room), text, { key: room })),
          { discard: true }
        )
      })
      yield* latch.await.pipe(
        Effect.zipRight(Effect.sleep(coalescing)),
        Effect.zipRight(latch.close),
        Effect.zipRight(tell),
        Effect.forever,
        Effect.interruptible,
        Effect.forkScoped
      )

      return Rooms.of({
        enter: (connection, room) =>
          Effect.acquireRelease(Effect.zipRight(connection.join(inside(room)), change(room)), () => change(room)),
        watch: (connection, room) =>
          Effect.zipRight(
            connection.join(watching(room)),
            Effect.flatMap(count(room), (text) => connection.send(text))
          )
      })
    })
  )
}

const inside = (room: string) => `room/${room}`
const watching = (room: string) => `stats/${room}`

/** The room that a URL names. Nothing in it is decoded: what is allowed needs no encoding. */
const authorize = (
  request: HttpServerRequest.HttpServerRequest
): Effect.Effect<string, NodeUpgrade.Refused> => {
  const room = /^\/\w+\/([A-Za-z0-9_-]{1,64})(?:\?|$)/.exec(request.url)?.[1]
  return room === undefined
    ? new NodeUpgrade.Refused({
      status: 400,
      message: "The name of a room is 1 to 64 letters (A to Z, a to z), digits, hyphens and underscores."
    })
    : Effect.succeed(room)
}

type Admission = Pick<ServerConfig, "origins" | "trustedProxies">

/**
 * The routes of the rooms, and `/echo`.
 */
export const routes = (admission: Admission) =>
  Layer.unwrapEffect(Effect.gen(function*() {
    const hub = yield* Hub
    const rooms = yield* Rooms
    const relay: Handler<string, never, Scope.Scope> = (connection) => {
      const topic = inside(connection.handshake.principal)
      return connection.runForEach((message) => hub.publish(topic, message))
    }
    return Layer.mergeAll(
      NodeUpgrade.layer("/rooms/*", {
        ...admission,
        authorize,
        greeting: (connection) => rooms.enter(connection, connection.handshake.principal),
        handler: relay
      }),
      NodeUpgrade.layer("/stats/*", {
        ...admission,
        authorize,
        greeting: (connection) => rooms.watch(connection, connection.handshake.principal),
        handler: (connection) => connection.runForEach(() => Effect.void)
      }),
      NodeUpgrade.layer("/echo", {
        ...admission,
        handler: (connection) => connection.runForEach((message) => connection.send(message))
      })
    )
  }))
