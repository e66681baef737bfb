/**
 * The hub under measurement: `node bench/target.mjs PORT` prints `ready` once it listens on 127.0.0.1:PORT.
 * `/` delivers every text message to all connected clients, the sender included; `/echo` echoes. The limits on the
 * number of messages are raised; everything else is the ordinary public API with its defaults.
 */
import { HttpLayerRouter } from "@effect/platform"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { Hub, NodeGuard, NodeUpgrade } from "../dist/index.js"

const port = Number(process.argv[2])

const Broadcast = Layer.unwrapEffect(Effect.map(Hub.Hub, (hub) =>
  NodeUpgrade.layer("/", {
    handler: (connection) => connection.runForEach((message) => hub.broadcast(message))
  })))

const Echo = NodeUpgrade.layer("/echo", {
  handler: (connection) => connection.runForEach((message) => connection.send(message))
})

const Ready = Layer.effectDiscard(Effect.sync(() => process.stdout.write("ready\n")))

const Main = Layer.provideMerge(
  Ready,
  HttpLayerRouter.serve(Layer.merge(Broadcast, Echo), { disableLogger: true, disableListenLog: true })
).pipe(
  Layer.provide(Hub.layer({ connections: 20_000, messagesPerSecond: 1_000_000 })),
  Layer.provide(NodeHttpServer.layer(() => NodeGuard.createServer(), { host: "127.0.0.1", port }))
)

NodeRuntime.runMain(Layer.launch(Main))
