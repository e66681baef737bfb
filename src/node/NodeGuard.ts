/**
 * The guard for a server's sockets: what must be in place before any handler runs.
 *
 * @since 1.0.0
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import type { ServeError } from "@effect/platform/HttpServerError"
import type { ConfigError } from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"
import type { Duplex } from "node:stream"
import * as HubMetrics from "../core/HubMetrics.js"
import * as GuardOptions from "./GuardOptions.js"
import * as HandshakeSocket from "./HandshakeSocket.js"
import * as UnreadableRequest from "./UnreadableRequest.js"

export {
  /**
   * The options from `Config`.
   *
   * @since 1.0.0
   * @category config
   */
  config,
  /**
   * Options of the guarded server.
   *
   * @since 1.0.0
   * @category models
   */
  type Options
} from "./GuardOptions.js"

const unavailable = {
  status: 503,
  message: "The application is not ready. Try again later.",
  headers: { "connection": "close", "retry-after": "1" }
}

/** What a mount does with an upgrade. */
type Upgrade = (request: Http.IncomingMessage, socket: Duplex) => unknown

/**
 * A guarded server as a place to mount upgrades, in front of its HTTP application.
 *
 * @since 1.0.0
 * @category tags
 */
export class Guard extends Context.Tag("effect-ws-hub/NodeGuard")<Guard, {
  /** Gives upgrades at this path to the function, until the scope closes. The latest mount of a path has it. */
  readonly mount: (path: string, upgrade: Upgrade) => Effect.Effect<unknown, never, Scope.Scope>
}>() {}

/**
 * Makes an HTTP server for `NodeHttpServer.layer` that is safe to upgrade on, from its first connection: a reset in any
 * phase of a handshake is survived, also while middleware runs; before an application is mounted, and after it was
 * unmounted, every request and upgrade is answered 503 with `Retry-After`; what is no request is refused with 400, headers
 * that are too large with 431, and headers that come too slowly with 408, each with a sentence; an upgrade that does not
 * wait for the answer to an earlier request ends its connection; and closing the server does not wait for requests that do
 * not end. Throws a `RangeError` for an option that is no time.
 *
 * @since 1.0.0
 * @category constructors
 */
export const createServer = (options: GuardOptions.Options = {}): Http.Server => make(options).server

const ignore = (): void => {}

const make = (options: GuardOptions.Options): { readonly server: Http.Server; readonly guard: Guard["Type"] } => {
  const times = GuardOptions.make(options)
  // Node takes whole milliseconds only.
  const headersTimeout = Math.ceil(times.headersTimeout)
  const mounts = new Map<string, ReadonlyArray<Upgrade>>()
  const server = Http.createServer({
    headersTimeout,
    // Node wants this to be the longer of the two; 0 stands for no limit in both.
    requestTimeout: headersTimeout === 0 ? 0 : Math.max(headersTimeout, 300_000),
    connectionsCheckingInterval: headersTimeout === 0
      ? 2000
      : Math.max(100, Math.min(Math.ceil(headersTimeout / 4), 2000))
  })
  const emit = server.emit.bind(server)
  server.emit = (event: string, ...args: Array<unknown>): boolean => {
    if (event !== "upgrade") return emit(event, ...args)
    const [request, socket, head] = args as [Http.IncomingMessage, Duplex, Buffer]
    if (UnreadableRequest.cutOff(request)) return true
    HandshakeSocket.keepHead(request, head)
    const upgrade = mounts.get(request.url?.split("?", 1)[0] ?? "")?.at(-1)
    if (upgrade !== undefined) {
      try {
        upgrade(request, socket)
      } finally {
        // Unless it has an owner that listens for itself.
        if (socket.listenerCount("error") === 0) HandshakeSocket.protect(socket)
      }
      return true
    }
    HandshakeSocket.protect(socket)
    if (server.listenerCount("upgrade") > 1) emit(event, ...args)
    else {
      HubMetrics.refusals("not-mounted").unsafeUpdate(1, [])
      HandshakeSocket.answer(socket, unavailable)
    }
    return true
  }
  // With a listener Node gives every upgrade to the server, and none to the requests.
  server.on("upgrade", ignore)
  server.on("connection", HandshakeSocket.begin)
  server.on("clientError", (error, socket) => {
    if (server.listenerCount("clientError") === 1) UnreadableRequest.refuse(error, socket)
  })
  server.on("request", (request, response) => {
    HandshakeSocket.forget(request.socket)
    if (server.listenerCount("request") > 1) return
    response.writeHead(unavailable.status, { ...unavailable.headers, "content-type": "text/plain" })
    response.end(unavailable.message)
  })
  const close = server.close.bind(server)
  server.close = (callback) => {
    const timer = setTimeout(() => server.closeAllConnections(), times.closeGrace)
    return close((error) => {
      clearTimeout(timer)
      callback?.(error)
    })
  }
  const guard = Guard.of({
    mount: (path, upgrade) =>
      Effect.acquireRelease(
        Effect.sync(() => mounts.set(path, [...mounts.get(path) ?? [], upgrade])),
        () =>
          Effect.sync(() => {
            const others = (mounts.get(path) ?? []).filter((other) => other !== upgrade)
            if (others.length === 0) mounts.delete(path)
            else mounts.set(path, others)
          })
      )
  })
  return { server, guard }
}

type Listen = { readonly port: number; readonly host?: string | undefined }
type Served = Guard | Layer.Layer.Success<ReturnType<typeof NodeHttpServer.layer>>

const listening = ({ host, port, ...options }: GuardOptions.Options & Listen): Layer.Layer<Served, ServeError> => {
  const { guard, server } = make(options)
  const listen = host === undefined ? { port } : { port, host }
  return Layer.merge(Layer.succeed(Guard, guard), NodeHttpServer.layer(() => server, listen))
}

/**
 * A guarded HTTP server that listens, for an application and for `NodeUpgrade.layerGuard`. `host` defaults to all
 * addresses; `port` 0 picks a free one. Provide it outermost: built first, released last.
 *
 * @since 1.0.0
 * @category layers
 */
export const layer = (options: GuardOptions.Options & Listen): Layer.Layer<Served, ServeError> =>
  Layer.unwrapEffect(Effect.sync(() => listening(options)))

/**
 * As `layer`, with the times that `Config` gives (see {@link config}), and these where it gives none.
 *
 * @since 1.0.0
 * @category layers
 */
export const layerConfig = (options: GuardOptions.Options & Listen): Layer.Layer<Served, ServeError | ConfigError> =>
  Layer.unwrapEffect(Effect.map(GuardOptions.config, (config) => listening({ ...options, ...config })))
