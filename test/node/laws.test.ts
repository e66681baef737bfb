import { assert, it } from "@effect/vitest"
import { type Connection, Hub, NodeUpgrade } from "effect-ws-hub"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Scope from "effect/Scope"
import { WebSocket } from "ws"
import { eventually, eventuallyEffect, holds, openSockets, Peer, serve, serveGuard, type Server } from "./support.js"

/** What happens: to a client, to one of the hub's connections, to the hub. None of them waits for what it sets off. */
type Command =
  | { readonly _tag: "Connect"; readonly compressed: boolean }
  | { readonly _tag: "Say" | "Close" | "Reset" | "Pause" | "Resume" | "Crash" | "Kick"; readonly who: number }
  | { readonly _tag: "Publish"; readonly count: number; readonly size: number }
  | { readonly _tag: "Turns"; readonly count: number }
  | { readonly _tag: "Drain" | "CloseHub" }

const who = FastCheck.nat(30)

const command: FastCheck.Arbitrary<Command> = FastCheck.oneof(
  {
    weight: 6,
    arbitrary: FastCheck.record({ _tag: FastCheck.constant("Connect" as const), compressed: FastCheck.boolean() })
  },
  { weight: 8, arbitrary: FastCheck.record({ _tag: FastCheck.constant("Say" as const), who }) },
  {
    weight: 6,
    arbitrary: FastCheck.record({
      _tag: FastCheck.constantFrom(
        "Close" as const,
        "Reset" as const,
        "Pause" as const,
        "Resume" as const,
        "Crash" as const,
        "Kick" as const
      ),
      who
    })
  },
  {
    weight: 6,
    arbitrary: FastCheck.record({
      _tag: FastCheck.constant("Publish" as const),
      count: FastCheck.integer({ min: 1, max: 40 }),
      size: FastCheck.constantFrom(0, 10, 200, 70_000)
    })
  },
  { weight: 8, arbitrary: FastCheck.record({ _tag: FastCheck.constant("Turns" as const), count: FastCheck.nat(5) }) },
  { weight: 1, arbitrary: FastCheck.record({ _tag: FastCheck.constantFrom("Drain" as const, "CloseHub" as const) }) }
)

type Kind = "guard" | "server of Node" | "straight at the guard"

interface Client {
  readonly peer: Peer
  /** It was closed, reset or crashed by its own side: what it got may end anywhere. */
  left: boolean
}

const quiet = Logger.minimumLogLevel(LogLevel.None)

/** Runs the commands, and checks what every client has got. */
const scenario = (commands: ReadonlyArray<Command>, kind: Kind) =>
  Effect.gen(function*() {
    const sockets = openSockets()
    const scope = yield* Scope.make()
    /** The number of the next message: all of them are one order. */
    let next = 0
    const publish = (hub: Hub.Hub["Type"], size = 0) =>
      Effect.suspend(() => hub.publish("all", `${next++} ${"x".repeat(size)}`))
    const options = (hub: Hub.Hub["Type"]) => ({
      compression: true,
      greeting: (connection: Connection) =>
        Effect.zipRight(
          connection.join("all"),
          Effect.suspend(() => connection.send(`${next} ${connection.id}`))
        ),
      handler: (connection: Connection) =>
        connection.runForEach((message) => message === "crash" ? Effect.die("told to") : publish(hub))
    })
    const limits = { hub: { outboxBytes: 1e9, closeGrace: 5000, drainDeadline: 20_000 } }
    const server: Server = yield* (kind === "straight at the guard"
      ? serveGuard(Layer.unwrapEffect(Effect.map(Hub.Hub, (hub) => NodeUpgrade.layerGuard("/", options(hub)))), limits)
      : serve(Layer.unwrapEffect(Effect.map(Hub.Hub, (hub) => NodeUpgrade.layer("/", options(hub)))), {
        plain: kind === "server of Node",
        ...limits
      })).pipe(Scope.extend(scope))
    const { hub } = server
    const clients: Array<Client> = []
    /** The number of the next message when a connection was ended by the server. */
    const ended = new Map<number, number>()
    let going = false

    const perform = (command: Command): Effect.Effect<void> =>
      Effect.suspend(() => {
        const client = "who" in command ? clients[command.who % clients.length] : undefined
        const ws = client?.peer.ws
        switch (command._tag) {
          case "Connect": {
            const ws = new WebSocket(server.url("/"), { perMessageDeflate: command.compressed })
            clients.push({ peer: new Peer(ws), left: false })
            return Effect.void
          }
          case "Publish":
            return Effect.replicateEffect(publish(hub, command.size), command.count, { discard: true })
          case "Turns":
            return Effect.replicateEffect(eventually(() => true), command.count, { discard: true })
          case "Drain":
            going = true
            return Effect.asVoid(Effect.forkIn(hub.drain, scope))
          case "CloseHub":
            // Between unmounting and closing, a server of Node leaves newcomers without an answer: the guard is for that.
            if (kind === "server of Node") return Effect.void
            going = true
            return Effect.asVoid(Effect.forkDaemon(Scope.close(scope, Exit.void)))
          case "Kick":
            return Effect.flatMap(hub.connections, (connections) => {
              const connection = connections[command.who % connections.length]
              if (connection === undefined) return Effect.void
              return Effect.map(hub.close(connection.id, { code: 4000 }), (open) => {
                if (open) ended.set(connection.id, next)
              })
            })
          case "Say":
            if (ws?.readyState === WebSocket.OPEN) ws.send("more")
            return Effect.void
          case "Crash":
            if (client !== undefined && ws?.readyState === WebSocket.OPEN) {
              client.left = true
              ws.send("crash")
            }
            return Effect.void
          case "Close":
            if (client !== undefined) {
              client.left = true
              client.peer.ws.close(1000)
            }
            return Effect.void
          case "Reset":
            if (client !== undefined) {
              client.left = true
              client.peer.ws.terminate()
            }
            return Effect.void
          case "Pause":
            if (ws?.readyState === WebSocket.OPEN) ws.pause()
            return Effect.void
          case "Resume":
            if (ws?.readyState === WebSocket.OPEN) ws.resume()
            return Effect.void
        }
      })

    yield* Effect.forEach(commands, perform, { discard: true })
    for (const { peer } of clients) if (peer.ws.isPaused) peer.ws.resume()
    if (!going) {
      // Whoever is still connecting is waited for, and the last message is for all.
      yield* eventually(() => clients.every(({ peer }) => peer.ws.readyState !== WebSocket.CONNECTING))
      yield* publish(hub)
      for (const connection of yield* hub.connections) {
        if (yield* hub.close(connection.id, { code: 4000 })) ended.set(connection.id, next)
      }
    }
    for (const { left, peer } of clients) {
      const [greeting, ...received] = (yield* peer.rest).map((message) => message.toString().split(" ", 2))
      if (greeting === undefined) continue
      // Without a gap, without a repetition, in the one order, from the greeting on.
      const from = Number(greeting[0])
      assert.deepStrictEqual(received.map(([number]) => Number(number)), received.map((_, n) => from + n))
      // And to the end, if it was the server that ended it.
      const until = ended.get(Number(greeting[1]))
      if (until !== undefined && !left) {
        assert.strictEqual(from + received.length, until)
        assert.strictEqual((yield* peer.closed).code, 4000)
      }
    }
    yield* eventuallyEffect(Effect.map(hub.size, (size) => size === 0))
    assert.deepStrictEqual(yield* hub.topics, [])
    if (!going) yield* eventuallyEffect(holds(server, 0))
    yield* Scope.close(scope, Exit.void)
    assert.strictEqual(yield* hub.state, "Closed")
    yield* eventually(() => openSockets() === sockets)
  })

for (const kind of ["guard", "server of Node", "straight at the guard"] as const) {
  it(`any interleaving over real sockets: ${kind}`, () =>
    FastCheck.assert(
      FastCheck.asyncProperty(
        FastCheck.array(command, { minLength: 5, maxLength: 80, size: "max" }),
        (commands) => Effect.runPromise(Effect.provide(scenario(commands, kind), quiet))
      ),
      { numRuns: process.env.TEST_LONG === undefined ? 15 : 150 }
    ))
}
