/**
 * The rules of a handshake, and what follows: who may connect, and the way from an HTTP request to the hub.
 *
 * @since 1.0.0
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { IncomingMessage } from "node:http"
import { type BlockList, isIP } from "node:net"
import type { Duplex } from "node:stream"
import { type PerMessageDeflateOptions, type ServerOptions, WebSocketServer } from "ws"
import type { Handler, HandlerOptions } from "../core/Handler.js"
import { Hub } from "../core/Hub.js"
import { HubUnavailable, type InvalidOption, type TooManyConnections } from "../core/HubError.js"
import * as HubMetrics from "../core/HubMetrics.js"
import type { Handshake } from "../core/Transport.js"
import * as MountOptions from "./MountOptions.js"
import * as NodeGuard from "./NodeGuard.js"
import * as NodeTransport from "./NodeTransport.js"

/**
 * Fail with this in `authorize` to refuse a handshake with an HTTP status: 401 (unknown), 403 (not allowed), 429 (too
 * often), 503 (not now), or another from 400 to 599 (any other throws a
 * `RangeError`). `message` is the body, one sentence for the client.
 *
 * @since 1.0.0
 * @category errors
 */
export class Refused extends Data.TaggedError("Refused")<{
  readonly status: number
  readonly message: string
  /** When to try again; sent as `Retry-After` in whole seconds. 503 and 429 say 1 second if this is not given. */
  readonly retryAfter?: Duration.DurationInput | undefined
}> {
  constructor(args: {
    readonly status: number
    readonly message: string
    readonly retryAfter?: Duration.DurationInput | undefined
  }) {
    if (!(Number.isInteger(args.status) && args.status >= 400 && args.status <= 599)) {
      throw new RangeError(`A handshake cannot be refused with status ${args.status}: use 400 to 599.`)
    }
    super(args)
  }
}

/**
 * How a mount greets, authorises and serves its peers.
 *
 * @since 1.0.0
 * @category models
 */
export interface Options<P, E, R, E1 = never, R1 = never> extends HandlerOptions<P, E, E1, R1> {
  readonly handler: Handler<P, E, R>
  /**
   * The browser origins that may connect: `"same"` (the default: the origin's host is the request's `Host`), `"any"`, or
   * a list such as `["https://app.example"]`. Peers that send no `Origin` are no browsers and are let in.
   */
  readonly origins?: "same" | "any" | ReadonlyArray<string> | undefined
  /** The subprotocols that are spoken: the first of the peer's that is among them is chosen; if none is, 400. */
  readonly subprotocols?: ReadonlyArray<string> | undefined
  /** Compresses messages (RFC 7692) for peers that ask for it. Costs memory and time; off by default. */
  readonly compression?: boolean | PerMessageDeflateOptions | undefined
  /**
   * Addresses and CIDR ranges of the proxies whose `X-Forwarded-For` is believed; the peer is then the last address in
   * it that is not one of them. None by default.
   */
  readonly trustedProxies?: ReadonlyArray<string> | undefined
}

/**
 * What to answer instead of an upgrade.
 *
 * @internal
 */
export interface Refusal {
  readonly status: number
  readonly message: string
  readonly headers: Readonly<Record<string, string>>
}

const refusal = (
  reason: string,
  status: number,
  message: string,
  headers: Readonly<Record<string, string>> = {}
): Refusal => {
  HubMetrics.refusals(reason).unsafeUpdate(1, [])
  return { status, message, headers: { ...headers, connection: "close" } }
}

const slow = new Refused({ status: 503, message: "The handshake took too long. Try again later." })

const refusalOf = (error: Refused | HubUnavailable | TooManyConnections): Refusal => {
  switch (error._tag) {
    case "Refused": {
      const retries = error.status === 429 || error.status === 503
      const after = error.retryAfter === undefined ? 1 : Math.ceil(Duration.toSeconds(error.retryAfter))
      const headers = retries || error.retryAfter !== undefined ? { "retry-after": String(after) } : {}
      return refusal(error === slow ? "timeout" : "unauthorized", error.status, error.message, headers)
    }
    case "HubUnavailable":
      return refusal("unavailable", 503, error.message, { "retry-after": "1" })
    case "TooManyConnections":
      return refusal("full", error.scope === "hub" ? 503 : 429, error.message, { "retry-after": "5" })
  }
}

/**
 * Whether Node has let go of the request's socket (its types do not say that it tells).
 *
 * @internal
 */
export const isUpgrade = (request: IncomingMessage): boolean => "upgrade" in request && request.upgrade === true

/** The rules of RFC 6455 §4.2.1 for a client's handshake. */
const malformed = (request: IncomingMessage): Refusal | undefined => {
  if (!isUpgrade(request) || request.headers.upgrade?.toLowerCase() !== "websocket") {
    return refusal("malformed", 426, "This is a WebSocket endpoint: connect with a WebSocket client.", {
      upgrade: "websocket"
    })
  }
  if (request.method !== "GET") {
    return refusal("malformed", 405, "A WebSocket handshake is a GET request.", { allow: "GET" })
  }
  if (request.headers["sec-websocket-version"] !== "13") {
    return refusal("malformed", 426, "The WebSocket version must be 13.", { "sec-websocket-version": "13" })
  }
  return /^[+/0-9A-Za-z]{22}==$/.test(request.headers["sec-websocket-key"] ?? "")
    ? undefined
    : refusal("malformed", 400, "The Sec-WebSocket-Key header is missing or is not 16 bytes in base64.")
}

const originAllowed = (request: IncomingMessage, origins: "same" | "any" | ReadonlySet<string>): boolean => {
  const origin = request.headers.origin
  if (origin === undefined || origins === "any") return true
  if (origins !== "same") return origins.has(origin.toLowerCase())
  return URL.canParse(origin) && new URL(origin).host === request.headers.host?.toLowerCase()
}

/** The peer's address: the socket's, or what trusted proxies say of it. */
const addressOf = (request: IncomingMessage, proxies: BlockList | undefined): Option.Option<string> => {
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

/** An IPv4 address that arrived over IPv6 is written as IPv4. */
const plain = (address: string) =>
  address.startsWith("::ffff:") && isIP(address.slice(7)) === 4 ? address.slice(7) : address

/** Every mount has its own class of facts, which tells its connections from those of others. */
const makeFacts = () =>
  class Facts<out P> implements Handshake<P> {
    readonly url: string
    readonly headers: Handshake["headers"]
    readonly remoteAddress: Option.Option<string>
    readonly subprotocol: Option.Option<string>
    readonly principal: P

    constructor(request: IncomingMessage, remoteAddress: Option.Option<string>, subprotocol: string, principal: P) {
      this.url = request.url ?? ""
      this.headers = request.headers
      this.remoteAddress = remoteAddress
      this.subprotocol = subprotocol === "" ? Option.none() : Option.some(subprotocol)
      this.principal = principal
    }
  }

const offered = (request: IncomingMessage): ReadonlyArray<string> =>
  (request.headers["sec-websocket-protocol"] ?? "").split(",").map((one) => one.trim()).filter((one) => one !== "")

/** Sees the end of a stream that nobody reads from yet, and leaves what there is to read. */
function look(this: Duplex): void {
  this.read(0)
}

/** Lets go of a peer that ends its side while the effect runs. */
const whileThere = <A, E, R>(socket: Duplex, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.acquireUseRelease(
    Effect.sync(() => socket.on("readable", look).on("end", socket.destroy)),
    () => effect,
    () => Effect.sync(() => socket.off("readable", look).off("end", socket.destroy))
  )

/**
 * The handshakes of one mount. Both ways yield a refusal, or nothing once the peer is in the hub's care; `claim` runs
 * just before the answer is written to the socket.
 *
 * @internal
 */
export interface Handshakes<P> {
  /** Without authorisation: in one step. */
  readonly now: (request: IncomingMessage, claim: () => void) => Refusal | undefined
  readonly authorized: <RA>(
    request: IncomingMessage,
    authorize: Effect.Effect<P, Refused, RA>,
    claim: () => void
  ) => Effect.Effect<Refusal | undefined, never, RA>
}

/**
 * Checks the options and makes the handshakes of one mount. When the scope closes, no more are let in and the mount's
 * connections are drained, so that the HTTP server can close whether it is provided inside or outside of the hub.
 *
 * @internal
 */
export const make = <P, E, R, E1, R1>(
  options: Options<P | undefined, E, R, E1, R1>
): Effect.Effect<Handshakes<P>, InvalidOption, Hub | Scope.Scope | Exclude<R | R1, Scope.Scope>> =>
  Effect.gen(function*() {
    const hub = yield* Hub
    const runtime = yield* Effect.runtime<Exclude<R | R1, Scope.Scope>>()
    const proxies = yield* MountOptions.trustedProxies(options.trustedProxies)
    const origins = yield* MountOptions.origins(options.origins)
    const subprotocols = yield* MountOptions.subprotocols(options.subprotocols)
    const perMessageDeflate = yield* MountOptions.compression(options.compression)
    yield* MountOptions.closeWith(options.closeWith)
    const serverOptions = {
      noServer: true,
      clientTracking: false,
      maxPayload: hub.config.messageBytes,
      closeTimeout: hub.config.closeGrace + 1000,
      perMessageDeflate,
      handleProtocols: (offered: Set<string>) =>
        Array.from(offered).find((protocol) => subprotocols.has(protocol)) ?? false
    } satisfies ServerOptions & { readonly closeTimeout: number }
    const server = new WebSocketServer(serverOptions)
    const Facts = makeFacts()
    let handshakes = 0
    let unmounted = false
    yield* Effect.addFinalizer(() => {
      unmounted = true
      return hub.drainWhere((connection) => connection.handshake instanceof Facts)
    })

    /** Why this peer may not come in now, handshakes under way included. */
    const notNow = (address: Option.Option<string>, others: number): Refusal | undefined => {
      if (unmounted) return refusalOf(new HubUnavailable({ state: "Draining" }))
      const refused = hub.unsafeRefusal(address, others)
      return refused === undefined ? undefined : refusalOf(refused)
    }

    const timely = <A, E, R>(effect: Effect.Effect<A, E | Refused, R>): Effect.Effect<A, E | Refused, R> =>
      hub.config.handshakeTimeout === 0
        ? effect
        : Effect.timeoutFail(effect, { duration: hub.config.handshakeTimeout, onTimeout: () => slow })

    /**
     * From 101 to registered in one step: no other fiber, and no interruption, comes between. The connection descends from
     * the mount, not from the request's fiber. The hub answers a transport that it cannot take itself.
     */
    const upgrade = (
      request: IncomingMessage,
      address: Option.Option<string>,
      principal: P | undefined,
      claim: () => void
    ): undefined => {
      claim()
      server.handleUpgrade(request, request.socket, NodeGuard.headOf(request), (ws) => {
        NodeGuard.release(request.socket)
        const facts = new Facts(request, address, ws.protocol, principal)
        hub.unsafeAccept(runtime, NodeTransport.makeToOpen(ws, request.socket, facts), options.handler, options)
      })
    }

    const forbidden = (request: IncomingMessage): Refusal | undefined => {
      const wrong = malformed(request)
      if (wrong !== undefined) return wrong
      if (!originAllowed(request, origins)) return refusal("origin", 403, "This origin may not connect.")
      const protocols = subprotocols.size === 0 ? [] : offered(request)
      return protocols.length === 0 || protocols.some((one) => subprotocols.has(one))
        ? undefined
        : refusal(
          "subprotocol",
          400,
          `None of the subprotocols is spoken here: use ${[...subprotocols].join(", ")}.`
        )
    }

    return {
      now: (request, claim) => {
        const address = addressOf(request, proxies)
        return forbidden(request) ?? notNow(address, handshakes) ?? upgrade(request, address, undefined, claim)
      },
      authorized: (request, authorize, claim) =>
        Effect.suspend(() => {
          const address = addressOf(request, proxies)
          const refused = forbidden(request) ?? notNow(address, handshakes)
          if (refused !== undefined) return Effect.succeed(refused)
          return Effect.acquireUseRelease(
            Effect.sync(() => handshakes++),
            () =>
              whileThere(
                request.socket,
                Effect.withSpan(timely(Effect.interruptible(authorize)), "NodeUpgrade.authorize")
              ).pipe(
                Effect.match({
                  onFailure: refusalOf,
                  onSuccess: (principal) =>
                    notNow(address, handshakes - 1) ?? upgrade(request, address, principal, claim)
                }),
                Effect.tapDefect((cause) => Effect.logError("The authorisation of a handshake failed", cause)),
                Effect.catchAllDefect(() => Effect.succeed(refusal("failed", 500, "The handshake failed.")))
              ),
            () => Effect.sync(() => handshakes--)
          )
        })
    }
  })
