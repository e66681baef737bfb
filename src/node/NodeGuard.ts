/**
 * The guard for a server's sockets: what must be in place before any handler runs.
 *
 * @since 1.0.0
 */
import * as Http from "node:http"
import type { Duplex } from "node:stream"

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
  if (socket.listeners("error").includes(ignore)) return
  socket.on("error", ignore)
  socket.once("finish", destroy)
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

const heads = new WeakMap<Http.IncomingMessage, Buffer>()

/**
 * What the peer sent after its handshake without waiting for the answer, if the guard saw it.
 *
 * @internal
 */
export const headOf = (request: Http.IncomingMessage): Buffer => heads.get(request) ?? Buffer.alloc(0)

const unavailable = "The application is not ready. Try again later."

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
 * 408; and closing the server does not wait for requests that do not end.
 *
 * @since 1.0.0
 * @category constructors
 */
export const createServer = (options: Options = {}): Http.Server => {
  const { closeGrace = 2000, headersTimeout = 10_000 } = options
  const server = Http.createServer({
    headersTimeout,
    connectionsCheckingInterval: Math.max(100, Math.min(headersTimeout / 4, 2000))
  })
  server.on("upgrade", (request: Http.IncomingMessage, socket: Duplex, head: Buffer) => {
    protect(socket)
    if (head.length > 0) heads.set(request, head)
    if (server.listenerCount("upgrade") > 1) return
    socket.end(
      "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Type: text/plain\r\n" +
        `Content-Length: ${unavailable.length}\r\n\r\n${unavailable}`
    )
  })
  server.on("request", (_request, response) => {
    if (server.listenerCount("request") > 1) return
    response.writeHead(503, { "connection": "close", "retry-after": "1", "content-type": "text/plain" })
    response.end(unavailable)
  })
  const close = server.close.bind(server)
  server.close = (callback) => {
    const timer = setTimeout(() => server.closeAllConnections(), closeGrace)
    return close((error) => {
      clearTimeout(timer)
      callback?.(error)
    })
  }
  return server
}
