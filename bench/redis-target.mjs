/**
 * One node of the hub on Redis: `node bench/redis-target.mjs PORT REDIS_URL` serves the channel protocol as
 * `target.mjs` does, with the broker and the presence of all nodes in Redis.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { Authenticator, Channels, ChannelsLive, Hub, NodeGuard, NodeUpgrade, ProtocolCode } from "../dist/index.js"
import { Redis, RedisConnection } from "../dist/redis/index.js"

const [port, url] = process.argv.slice(2)

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

const Protocol = NodeUpgrade.layerGuard("/connection/websocket", Channels.mount).pipe(
  Layer.provide(ChannelsLive.layer({ withoutNamespace: open, namespaces: { kept } })),
  Layer.provide(Anonymous)
)

const Ready = Layer.effectDiscard(Effect.gen(function*() {
  const redis = yield* RedisConnection.RedisConnection
  yield* redis.connected
  process.stdout.write("ready\n")
}))

const Main = Layer.provideMerge(Ready, Protocol).pipe(
  Layer.provide(Redis.layer({ url })),
  Layer.provide(Hub.layer({ connections: 20_000, messagesPerSecond: 1_000_000 })),
  Layer.provide(NodeGuard.layer({ host: "127.0.0.1", port: Number(port) }))
)

NodeRuntime.runMain(Layer.launch(Main))
