/**
 * The guard for a server's sockets: what must be in place before any handler runs.
 *
 * @since 1.0.0
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import type { ServeError } from "@effect/platform/HttpServerError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"
import type { Duplex } from "node:stream"
import * as HubMetrics from "../core/HubMetrics.js"

/** A socket that breaks during a handshake is destroyed by Node itself; without a listener the process would end. */
const ignore = (): void => {}

/** After a refusal the socket is not left half-open to a peer that never closes its side. */
function destroy(this: Duplex): void {
  this.destroy()
}

/**
 * Keeps a reset from ending the process, and a refused peer from holding its socket. Safe to call twice.
 *
 * @internal
 */
export const protect = (socket: Duplex): void => {
  if (socket.listenerCount("finish", destroy) > 0) return
  socket.on("error", ignore)
  socket.on("finish", destroy)
}

/**
 * The socket has an owner that listens for itself.
 *
 * @internal
 */
export const release = (socket: Duplex): void => {
  socket.off("error", ignore)
  socket.off("finish", destroy)
}

const none = Buffer.alloc(0)
const heads = new WeakMap<Http.IncomingMessage, Buffer>()

/**
 * What the peer sent after its handshake without waiting for the answer, if the guard saw it.
 *
 * @internal
 */
export const headOf = (request: Http.IncomingMessage): Buffer => heads.get(request) ?? none

/**
 * Writes an HTTP response of one sentence to a socket that Node has let go of, and ends it.
 *
 * @internal
 */
export const answer = (
  socket: Duplex,
  response: {
    readonly status: number
    readonly message: string
    readonly headers: Readonly<Record<string, string>>
  }
): void => {
  const body = Buffer.from(response.message)
  const headers = { ...response.headers, "content-type": "text/plain", "content-length": String(body.length) }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  const status = `HTTP/1.1 ${response.status} ${Http.STATUS_CODES[response.status] ?? "Refused"}\r\n`
  socket.end(Buffer.concat([Buffer.from(`${status}${lines.join("")}\r\n`), body]))
}

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
 * Options of the guarded server, in milliseconds.
 *
 * @since 1.0.0
 * @category models
 */
export interface Options {
  /** Time for a client to send the headers of a request. Defaults to 10000. */
  readonly headersTimeout?: number | undefined
  /** Time that requests under way have to end after the server began to close. Defaults to 2000. */
  readonly closeGrace?: number | undefined
}

/**
 * Makes an HTTP server for `NodeHttpServer.layer` that is safe to upgrade on, from its first connection: a reset in any
 * phase of a handshake is survived, also while middleware runs; before an application is mounted, and after it was
 * unmounted, every request and upgrade is answered 503 with `Retry-After`; headers that come too slowly are refused with
 * 408; and closing the server does not wait for requests that do not end. Throws a `RangeError` for an option that is no
 * time.
 *
 * @since 1.0.0
 * @category constructors
 */
export const createServer = (options: Options = {}): Http.Server => make(options).server

const checked = (key: keyof Options, millis: number): number => {
  if (millis >= 0 && millis <= 2_147_483_647) return millis
  throw new RangeError(`${key} of a guarded server is a number of milliseconds from 0 to 2147483647, and not ${millis}`)
}

const make = (options: Options): { readonly server: Http.Server; readonly guard: Guard["Type"] } => {
  const closeGrace = checked("closeGrace", options.closeGrace ?? 2000)
  // Node takes whole milliseconds only.
  const headersTimeout = Math.ceil(checked("headersTimeout", options.headersTimeout ?? 10_000))
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
    if (head.length > 0) heads.set(request, head)
    const upgrade = mounts.get(request.url?.split("?", 1)[0] ?? "")?.at(-1)
    if (upgrade !== undefined) {
      try {
        upgrade(request, socket)
      } finally {
        // Unless it has an owner that listens for itself.
        if (socket.listenerCount("error") === 0) protect(socket)
      }
      return true
    }
    protect(socket)
    if (server.listenerCount("upgrade") > 1) emit(event, ...args)
    else {
      HubMetrics.refusals("not-mounted").unsafeUpdate(1, [])
      answer(socket, unavailable)
    }
    return true
  }
  // With a listener Node gives every upgrade to the server, and none to the requests.
  server.on("upgrade", ignore)
  server.on("request", (_request, response) => {
    if (server.listenerCount("request") > 1) return
    response.writeHead(unavailable.status, { ...unavailable.headers, "content-type": "text/plain" })
    response.end(unavailable.message)
  })
  const close = server.close.bind(server)
  server.close = (callback) => {
    const timer = setTimeout(() => server.closeAllConnections(), closeGrace)
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

/**
 * A guarded HTTP server that listens, for an application and for `NodeUpgrade.layerGuard`. `host` defaults to all
 * addresses; `port` 0 picks a free one. Provide it outermost: built first, released last.
 *
 * @since 1.0.0
 * @category layers
 */
export const layer = (
  options: Options & { readonly port: number; readonly host?: string | undefined }
): Layer.Layer<Guard | Layer.Layer.Success<ReturnType<typeof NodeHttpServer.layer>>, ServeError> =>
  Layer.unwrapEffect(Effect.sync(() => {
    const { guard, server } = make(options)
    const listen = options.host === undefined ? { port: options.port } : { port: options.port, host: options.host }
    return Layer.merge(Layer.succeed(Guard, guard), NodeHttpServer.layer(() => server, listen))
  }))
