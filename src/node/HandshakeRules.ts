/**
 * The rules of a handshake: what the request itself must be, and what it says of its peer.
 *
 * @since 1.0.0
 */
import * as Option from "effect/Option"
import type { IncomingMessage } from "node:http"
import { type BlockList, isIP } from "node:net"
import * as Refusal from "./Refusal.js"

/**
 * Whether Node has let go of the request's socket (its types do not say that it tells).
 *
 * @internal
 */
export const isUpgrade = (request: IncomingMessage): boolean => "upgrade" in request && request.upgrade === true

/** The rules of RFC 6455 §4.2.1 for a client's handshake. */
const malformed = (request: IncomingMessage): Refusal.Refusal | undefined => {
  if (!isUpgrade(request) || request.headers.upgrade?.toLowerCase() !== "websocket") {
    return Refusal.make("malformed", 426, "This is a WebSocket endpoint: connect with a WebSocket client.", {
      upgrade: "websocket"
    })
  }
  if (request.method !== "GET") {
    return Refusal.make("malformed", 405, "A WebSocket handshake is a GET request.", { allow: "GET" })
  }
  if (request.headers.host === undefined) {
    return Refusal.make("malformed", 400, "The Host header is missing.")
  }
  if (request.headers["sec-websocket-version"] !== "13") {
    return Refusal.make("malformed", 426, "The WebSocket version must be 13.", { "sec-websocket-version": "13" })
  }
  return /^[+/0-9A-Za-z]{22}==$/.test(request.headers["sec-websocket-key"] ?? "")
    ? undefined
    : Refusal.make("malformed", 400, "The Sec-WebSocket-Key header is missing or is not 16 bytes in base64.")
}

/**
 * Which browser origins may connect, in lower case.
 *
 * @internal
 */
export type Origins = "same" | "loopback" | "any" | ReadonlySet<string>

/** RFC 6761 §6.3, and as `URL` writes addresses. */
const loopback = /^((.+\.)?localhost|127(\.\d+){3}|\[::1\])$/

const originAllowed = (request: IncomingMessage, origins: Origins): boolean => {
  const origin = request.headers.origin
  if (origin === undefined || origins === "any") return true
  if (typeof origins !== "string") return origins.has(origin.toLowerCase())
  if (!URL.canParse(origin)) return false
  const { host, hostname } = new URL(origin)
  return host === request.headers.host?.toLowerCase() && (origins === "same" || loopback.test(hostname))
}

const offered = (request: IncomingMessage): ReadonlyArray<string> =>
  (request.headers["sec-websocket-protocol"] ?? "").split(",").map((one) => one.trim()).filter((one) => one !== "")

/**
 * Why this request may never be upgraded here.
 *
 * @internal
 */
export const forbidden = (
  request: IncomingMessage,
  origins: Origins,
  subprotocols: ReadonlySet<string>
): Refusal.Refusal | undefined => {
  const wrong = malformed(request)
  if (wrong !== undefined) return wrong
  if (!originAllowed(request, origins)) return Refusal.make("origin", 403, "This origin may not connect.")
  const protocols = subprotocols.size === 0 ? [] : offered(request)
  return protocols.length === 0 || protocols.some((one) => subprotocols.has(one))
    ? undefined
    : Refusal.make(
      "subprotocol",
      400,
      `None of the subprotocols is spoken here: use ${[...subprotocols].join(", ")}.`
    )
}

/** An IPv4 address that arrived over IPv6 is written as IPv4. */
const plain = (address: string) =>
  address.startsWith("::ffff:") && isIP(address.slice(7)) === 4 ? address.slice(7) : address

/**
 * The peer's address: the socket's, or what trusted proxies say of it.
 *
 * @internal
 */
export const addressOf = (request: IncomingMessage, proxies: BlockList | undefined): Option.Option<string> => {
  let address = plain(request.socket.remoteAddress ?? "")
  if (proxies !== undefined) {
    const forwarded = String(request.headers["x-forwarded-for"] ?? "").split(",").map((part) => part.trim())
    while (isIP(address) !== 0 && proxies.check(address, isIP(address) === 6 ? "ipv6" : "ipv4")) {
      const next = plain(forwarded.pop() ?? "")
      if (isIP(next) === 0) break
      address = next
    }
  }
  return address === "" ? Option.none() : Option.some(address)
}
