/**
 * The server: one hub, its routes, and the order in which they start and stop.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpMiddleware from "@effect/platform/HttpMiddleware"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Hub from "../core/Hub.js"
import type * as HubConfig from "../core/HubConfig.js"
import * as NodeGuard from "../node/NodeGuard.js"
import * as Backend from "./Backend.js"
import * as Page from "./Page.js"
import * as Probes from "./Probes.js"
import * as Realtime from "./Realtime.js"
import { type ServerConfig, warning } from "./ServerConfig.js"
import * as Telemetry from "./Telemetry.js"

/** Not for `HEAD`, which the router answers as it answers `GET`. */
const nothing = HttpLayerRouter.addAll(
  (["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] as const).map((method) =>
    HttpLayerRouter.route(
      method,
      "/*",
      HttpServerResponse.text("There is nothing at this path.\n", { status: 404, headers: { connection: "close" } })
    )
  )
)

/** A URL that works on this machine, for an address that is listened on. */
const url = (address: HttpServer.Address): string => {
  if (address._tag === "UnixAddress") return `unix://${address.path}`
  const host = address.hostname === "0.0.0.0" ? "127.0.0.1" : address.hostname
  return `http://${host.includes(":") ? `[${host}]` : host}:${address.port}`
}

/** Built last: says where the server is, and at the end drains the hub while the probes still answer. */
const lifecycle = (config: ServerConfig) =>
  Layer.scopedDiscard(Effect.gen(function*() {
    const hub = yield* Hub.Hub
    const server = yield* HttpServer.HttpServer
    yield* Effect.addFinalizer(() => Effect.zipRight(Effect.logInfo("draining"), hub.drain))
    yield* Option.match(warning(config), { onNone: () => Effect.void, onSome: (text) => Effect.logWarning(text) })
    if (config.apiKeys.length === 0) {
      yield* Effect.logInfo("no HTTP API, since no API key is configured: HUB_API_KEYS or --api-key")
    }
    yield* Console.log(`effect-ws-hub listens on ${url(server.address)}`)
  }))

/** Takes connections when what is behind it lets it. */
const hub = (options: HubConfig.HubOptions) =>
  Layer.scoped(Hub.Hub, Effect.flatMap(Backend.Readiness, ({ start }) => Hub.make(options, start)))

/** Node wants this to be at most its time for a whole request, which is 5 minutes. */
const longestHeaders = 300_000

/**
 * The server, for as long as the layer lives.
 */
export const layer = (config: ServerConfig, version: string) => {
  const routes = Layer.mergeAll(Realtime.routes(config), Probes.routes, Page.route, nothing)
  const http = HttpLayerRouter.serve(routes, {
    disableLogger: true,
    disableListenLog: true,
    routerConfig: { caseSensitive: true, ignoreTrailingSlash: false }
  }).pipe(HttpMiddleware.withTracerDisabledForUrls(Probes.paths))
  const createServer = () =>
    NodeGuard.createServer({
      headersTimeout: Math.min(config.hub.handshakeTimeout, longestHeaders),
      closeGrace: config.hub.closeGrace
    })
  return lifecycle(config).pipe(
    Layer.provideMerge(http),
    Layer.provide(Realtime.channels(config, version)),
    Layer.provideMerge(hub(config.limits)),
    Layer.provide(NodeHttpServer.layer(createServer, { host: config.host, port: config.port })),
    Layer.provide(Backend.layer(config.broker)),
    Layer.provide(Telemetry.layer(config.telemetry, config.name, version))
  )
}

/**
 * Why a server cannot listen, by the code of the system's error: a sentence for a person.
 */
export const cannotListen = (cause: unknown, { host, port }: Pick<ServerConfig, "host" | "port">): string => {
  const code = typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : undefined
  switch (code) {
    case "EADDRINUSE":
      return `port ${port} of ${host} is in use. Stop the program that uses it, or choose another port: --port or HUB_PORT.`
    case "EACCES":
      return `no permission to listen on port ${port} of ${host}. Choose a port above 1023: --port or HUB_PORT.`
    case "EADDRNOTAVAIL":
      return `${host} is not an address of this machine. Choose another one: --host or HUB_HOST.`
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return `the host name ${host} is not known. Choose another one: --host or HUB_HOST.`
    default:
      return `cannot listen on port ${port} of ${host}: ${cause instanceof Error ? cause.message : String(cause)}.`
  }
}
