/**
 * The socket of a handshake, until it has an owner that listens for itself.
 *
 * @since 1.0.0
 */
import * as Http from "node:http"
import type { Duplex } from "node:stream"
import type { Refusal } from "./Refusal.js"

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
  begun.delete(socket)
}

const begun = new WeakMap<Duplex, number>()

/**
 * The connection is there: the time of its handshake begins.
 *
 * @internal
 */
export const begin = (socket: Duplex): void => {
  begun.set(socket, performance.now())
}

/**
 * The connection has brought another request first, so what comes next has begun at a time that nobody knows.
 *
 * @internal
 */
export const forget = (socket: Duplex): void => {
  begun.delete(socket)
}

/**
 * Milliseconds that the handshake has taken up to now, as far as the guard saw it begin.
 *
 * @internal
 */
export const spent = (socket: Duplex): number => {
  const since = begun.get(socket)
  return since === undefined ? 0 : performance.now() - since
}

const none = Buffer.alloc(0)
const heads = new WeakMap<Http.IncomingMessage, Buffer>()

/**
 * Keeps what the peer sent after its handshake without waiting for the answer.
 *
 * @internal
 */
export const keepHead = (request: Http.IncomingMessage, head: Buffer): void => {
  if (head.length > 0) heads.set(request, head)
}

/**
 * What was kept, if the guard saw it.
 *
 * @internal
 */
export const headOf = (request: Http.IncomingMessage): Buffer => heads.get(request) ?? none

/**
 * Writes an HTTP response of one sentence to a socket that Node has let go of, and ends it.
 *
 * @internal
 */
export const answer = (socket: Duplex, response: Refusal): void => {
  const body = Buffer.from(response.message)
  const headers = { ...response.headers, "content-type": "text/plain", "content-length": String(body.length) }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  const status = `HTTP/1.1 ${response.status} ${Http.STATUS_CODES[response.status] ?? "Refused"}\r\n`
  socket.end(Buffer.concat([Buffer.from(`${status}${lines.join("")}\r\n`), body]))
}
