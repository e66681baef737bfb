/** A node of the hub as a program of its own: websocket, server API and probes, over Redis. Its settings are JSON in NODE. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import { Hub, NodeGuard, NodeUpgrade } from "effect-ws-hub"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Authenticator, type Credentials } from "../../../src/channels/Authenticator.js"
import { mount } from "../../../src/channels/Channels.js"
import * as ChannelsLive from "../../../src/channels/ChannelsLive.js"
import * as ServerApi from "../../../src/channels/ServerApi.js"
import * as Redis from "../../../src/redis/Redis.js"
import { RedisConnection } from "../../../src/redis/RedisConnection.js"
import { Readiness } from "../../../src/server/Backend.js"
import * as Probes from "../../../src/server/Probes.js"
import { apiKey, type NodeSettings } from "./NodeSettings.js"

const settings: NodeSettings = JSON.parse(process.env["NODE"] ?? "{}")

/** A token is the user's name. */
const named = (user: string): Effect.Effect<Credentials> =>
  Effect.succeed({ user, info: { name: user }, clientRefresh: false, subscriptions: new Map() })

const authenticator = Layer.succeed(Authenticator, {
  connect: ({ token }) => named(token),
  refresh: named,
  subscribe: () => Effect.succeed({})
})

const routes = Layer.mergeAll(
  Probes.routes,
  NodeUpgrade.layer("/connection/websocket", { origins: "any", ...mount }),
  ServerApi.layer({ keys: [Redacted.make(apiKey)] })
)

/** As the program does it. */
const readiness = Layer.effect(
  Readiness,
  Effect.map(RedisConnection, ({ isConnected }) => ({
    start: undefined,
    trouble: Effect.map(isConnected, (is) => is ? undefined : "Redis does not answer")
  }))
)
const backend = Layer.provideMerge(readiness, Redis.layer(settings.redis))

const listening = Layer.effectDiscard(
  Effect.flatMap(
    HttpServer.HttpServer,
    ({ address }) => Console.log(`listens on ${address._tag === "TcpAddress" ? address.port : address.path}`)
  )
)

const program = listening.pipe(
  Layer.provideMerge(HttpLayerRouter.serve(routes, { disableLogger: true, disableListenLog: true })),
  Layer.provide(ChannelsLive.layer(settings.channels)),
  Layer.provide([backend, authenticator]),
  Layer.provide(Hub.layer({ messagesPerSecond: "off" })),
  Layer.provide(NodeHttpServer.layer(() => NodeGuard.createServer(), { host: "127.0.0.1", port: 0 }))
)

Layer.launch(program).pipe(NodeRuntime.runMain)
