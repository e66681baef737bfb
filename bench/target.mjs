/**
 * The hub under measurement: `node bench/target.mjs PORT` prints `ready` once it listens on 127.0.0.1:PORT.
 * `/` delivers every text message to all connected clients, the sender included; `/echo` echoes.
 * `/connection/websocket` serves the channel protocol to anonymous clients, who may subscribe and publish to every
 * channel: `bench` and all others without a namespace keep nothing; those of `kept:` have history and recovery, those
 * of `seen:` have presence besides.
 * The limits on the number of connections and messages are raised; everything else is the ordinary public API with its
 * defaults.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import {
  Authenticator,
  BrokerMemory,
  Channels,
  ChannelsLive,
  Hub,
  NodeGuard,
  NodeUpgrade,
  PresenceMemory,
  ProtocolCode
} from "../dist/index.js"

const Broadcast = Layer.unwrapEffect(Effect.map(Hub.Hub, (hub) =>
  NodeUpgrade.layerGuard("/", {
    handler: (connection) => connection.runForEach((message) => hub.broadcast(message))
  })))

const Echo = NodeUpgrade.layerGuard("/echo", {
  handler: (connection) => connection.runForEach(connection.send)
})

const Anonymous = Layer.succeed(Authenticator.Authenticator, {
  connect: () => Effect.succeed({ user: "", clientRefresh: false, subscriptions: new Map() }),
  refresh: () => Effect.fail(ProtocolCode.errors.permissionDenied),
  subscribe: () => Effect.fail(ProtocolCode.errors.permissionDenied)
})

const open = {
  allowSubscribeForClient: true,
  allowSubscribeForAnonymous: true,
  allowPublishForClient: true,
  allowPublishForAnonymous: true
}
const kept = { ...open, historySize: 100, historyTtl: "5 minutes", forceRecovery: true }
const seen = { ...kept, presence: true, allowPresenceForClient: true, allowPresenceForAnonymous: true }

const Protocol = NodeUpgrade.layerGuard("/connection/websocket", Channels.mount).pipe(
  Layer.provide(ChannelsLive.layer({ withoutNamespace: open, namespaces: { kept, seen } })),
  Layer.provide([Anonymous, BrokerMemory.layer, PresenceMemory.layer])
)

const Ready = Layer.effectDiscard(Effect.sync(() => process.stdout.write("ready\n")))

const Main = Layer.provideMerge(Ready, Layer.mergeAll(Broadcast, Echo, Protocol)).pipe(
  Layer.provide(Hub.layer({ connections: 20_000, messagesPerSecond: 1_000_000 })),
  Layer.provide(NodeGuard.layer({ host: "127.0.0.1", port: Number(process.argv[2]) }))
)

NodeRuntime.runMain(Layer.launch(Main))
