/**
 * The hub under measurement: `node bench/target.mjs PORT` prints `ready` once it listens on 127.0.0.1:PORT.
 * `/` delivers every text message to all connected clients, the sender included; `/echo` echoes. The limits on the
 * number of connections and messages are raised; everything else is the ordinary public API with its defaults.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { Hub, NodeGuard, NodeUpgrade } from "../dist/index.js"

const Broadcast = Layer.unwrapEffect(Effect.map(Hub.Hub, (hub) =>
  NodeUpgrade.layerGuard("/", {
    handler: (connection) => connection.runForEach((message) => hub.broadcast(message))
  })))

const Echo = NodeUpgrade.layerGuard("/echo", {
  handler: (connection) => connection.runForEach(connection.send)
})

const Ready = Layer.effectDiscard(Effect.sync(() => process.stdout.write("ready\n")))

const Main = Layer.provideMerge(Ready, Layer.merge(Broadcast, Echo)).pipe(
  Layer.provide(Hub.layer({ connections: 20_000, messagesPerSecond: 1_000_000 })),
  Layer.provide(NodeGuard.layer({ host: "127.0.0.1", port: Number(process.argv[2]) }))
)

NodeRuntime.runMain(Layer.launch(Main))
