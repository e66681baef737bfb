/**
 * The WebSocket handshake as a route of an Effect HTTP application.
 *
 * @since 1.0.0
 */
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import type { IncomingMessage } from "node:http"
import { BlockList, isIP } from "node:net"
import { type PerMessageDeflateOptions, type ServerOptions, WebSocketServer } from "ws"
import type { Handler, HandlerOptions } from "../core/Handler.js"
import { Hub } from "../core/Hub.js"
import { HubUnavailable, InvalidOption, TooManyConnections } from "../core/HubError.js"
import * as HubMetrics from "../core/HubMetrics.js"
import type { Handshake } from "../core/Transport.js"
import * as NodeGuard from "./NodeGuard.js"
import * as NodeTransport from "./NodeTransport.js"

/**
 * Fail with this in `authorize` to refuse a handshake with an HTTP status: 401 (unknown), 403 (not allowed), 429 (too
 * often), 503 (not now), or another from 400 to 599. `message` is the body, one sentence for the client.
 *
 * @since 1.0.0
 * @category errors
 */
export class Refused extends Data.TaggedError("Refused")<{
  readonly status: number
  readonly message: string
  /** When to try again; sent as `Retry-After` in whole seconds. 503 and 429 say 1 second if this is not given. */
  readonly retryAfter?: Duration.DurationInput | undefined
}> {}

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
 * Decides before the upgrade who the peer is, from its request: yields the principal, or refuses. Runs within the hub's
 * handshake timeout and is interrupted when the peer leaves.
 *
 * @since 1.0.0
 * @category models
 */
export type Authorize<P, RA> = (
  request: HttpServerRequest.HttpServerRequest
) => Effect.Effect<P, Refused, RA>

const text = (status: number, message: string, headers: Record<string, string> = {}) =>
  HttpServerResponse.text(message, { status, headers: { ...headers, connection: "close" } })

const refuse = (reason: string, response: HttpServerResponse.HttpServerResponse) => {
  HubMetrics.refusals(reason).unsafeUpdate(1, [])
  return response
}

const toResponse = (error: Refused | HubUnavailable | TooManyConnections) => {
  switch (error._tag) {
    case "Refused": {
      const retries = error.status === 429 || error.status === 503
      const after = error.retryAfter === undefined ? 1 : Math.ceil(Duration.toSeconds(error.retryAfter))
      const headers = retries || error.retryAfter !== undefined ? { "retry-after": String(after) } : {}
      return refuse("unauthorized", text(error.status, error.message, headers))
    }
    case "HubUnavailable":
      return refuse("unavailable", text(503, error.message, { "retry-after": "1" }))
    case "TooManyConnections":
      return refuse("full", text(error.scope === "hub" ? 503 : 429, error.message, { "retry-after": "5" }))
  }
}

/** Whether Node has let go of the request's socket (its types do not say that it tells). */
const isUpgrade = (request: IncomingMessage): boolean => "upgrade" in request && request.upgrade === true

/** The rules of RFC 6455 §4.2.1 for a client's handshake. */
const malformed = (request: IncomingMessage): HttpServerResponse.HttpServerResponse | undefined => {
  if (!isUpgrade(request) || request.headers.upgrade?.toLowerCase() !== "websocket") {
    return text(426, "This is a WebSocket endpoint: connect with a WebSocket client.", { upgrade: "websocket" })
  }
  if (request.method !== "GET") return text(405, "A WebSocket handshake is a GET request.", { allow: "GET" })
  if (request.headers["sec-websocket-version"] !== "13") {
    return text(426, "The WebSocket version must be 13.", { "sec-websocket-version": "13" })
  }
  return /^[+/0-9A-Za-z]{22}==$/.test(request.headers["sec-websocket-key"] ?? "")
    ? undefined
    : text(400, "The Sec-WebSocket-Key header is missing or is not 16 bytes in base64.")
}

const originAllowed = (request: IncomingMessage, origins: "same" | "any" | ReadonlySet<string>): boolean => {
  const origin = request.headers.origin
  if (origin === undefined || origins === "any") return true
  if (origins !== "same") return origins.has(origin.toLowerCase())
  return URL.canParse(origin) && new URL(origin).host === request.headers.host?.toLowerCase()
}

const parseProxies = (
  proxies: ReadonlyArray<string> | undefined
): Effect.Effect<BlockList | undefined, InvalidOption> =>
  Effect.gen(function*() {
    if (proxies === undefined || proxies.length === 0) return undefined
    const list = new BlockList()
    for (const proxy of proxies) {
      const [address = "", prefix, more] = proxy.split("/")
      const family = isIP(address) === 6 ? "ipv6" : "ipv4"
      const bits = prefix === undefined ? undefined : Number(prefix)
      const valid = isIP(address) !== 0 && more === undefined &&
        (bits === undefined || (/^\d+$/.test(prefix ?? "") && bits <= (family === "ipv6" ? 128 : 32)))
      if (!valid) {
        return yield* new InvalidOption({
          key: "trustedProxies",
          expected: "IP addresses or CIDR ranges such as 10.0.0.0/8",
          actual: proxy
        })
      }
      if (bits === undefined) list.addAddress(address, family)
      else list.addSubnet(address, bits, family)
    }
    return list
  })

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

/** What a mount needs where it is made, and what its route needs for each request. */
type Mount<R, RA> = Effect.Effect<
  Effect.Effect<HttpServerResponse.HttpServerResponse, never, HttpServerRequest.HttpServerRequest | RA>,
  InvalidOption,
  Hub | Scope.Scope | Exclude<R, Scope.Scope>
>

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

/**
 * Makes the handler of a route (or a whole `HttpApp`) that upgrades requests and hands their sockets to the hub. The
 * route answers when the peer is connected; from then on the connection is in the hub's care. What the connection's
 * handler requires is taken from where `make` runs, what `authorize` requires from the request.
 *
 * A refusal is an ordinary HTTP response of one sentence: 400, 405 and 426 for a wrong handshake, 403 for an origin that
 * is not allowed, 429 and 503 with `Retry-After` when the hub is full, not open, or the handshake takes too long, and
 * whatever `authorize` says.
 *
 * When the scope closes (the route is unmounted), its connections are drained, so that the HTTP server can close
 * whether it is provided inside or outside of the hub.
 *
 * @since 1.0.0
 * @category constructors
 */
export const make: {
  <P, E, R, E1 = never, R1 = never, RA = never>(
    options: Options<P, E, R, E1, R1> & { readonly authorize: Authorize<P, RA> }
  ): Mount<R | R1, RA>
  <E, R, E1 = never, R1 = never>(
    options: Options<undefined, E, R, E1, R1> & { readonly authorize?: undefined }
  ): Mount<R | R1, never>
} = <P, E, R, E1, R1, RA>(
  options: Options<P | undefined, E, R, E1, R1> & { readonly authorize?: Authorize<P, RA> | undefined }
): Mount<R | R1, RA> => mount(options)

const mount = <P, E, R, E1, R1, RA>(
  options: Options<P | undefined, E, R, E1, R1> & { readonly authorize?: Authorize<P, RA> | undefined }
): Mount<R | R1, RA> =>
  Effect.gen(function*() {
    const hub = yield* Hub
    const runtime = yield* Effect.runtime<Exclude<R | R1, Scope.Scope>>()
    const proxies = yield* parseProxies(options.trustedProxies)
    const origins = typeof options.origins === "object"
      ? new Set(options.origins.map((origin) => origin.toLowerCase()))
      : options.origins ?? "same"
    const subprotocols = new Set(options.subprotocols)
    const serverOptions = {
      noServer: true,
      clientTracking: false,
      maxPayload: hub.config.messageBytes,
      closeTimeout: hub.config.closeGrace + 1000,
      perMessageDeflate: options.compression ?? false,
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

    const full = Effect.fail(new TooManyConnections({ scope: "hub", limit: hub.config.connections }))
    const closing = Effect.fail(new HubUnavailable({ state: "Draining" }))
    const admit = (address: Option.Option<string>) =>
      unmounted
        ? closing
        : Effect.flatMap(hub.size, (size) => size + handshakes > hub.config.connections ? full : hub.admit(address))

    const slow = () => new Refused({ status: 503, message: "The handshake took too long. Try again later." })
    const timely = <A, E, R>(effect: Effect.Effect<A, E | Refused, R>): Effect.Effect<A, E | Refused, R> =>
      hub.config.handshakeTimeout === 0
        ? effect
        : Effect.timeoutFail(effect, { duration: hub.config.handshakeTimeout, onTimeout: slow })

    /** From 101 to registered in one step: no other fiber, and no interruption, comes between. */
    const upgrade = (
      request: HttpServerRequest.HttpServerRequest,
      source: IncomingMessage,
      address: Option.Option<string>,
      principal: P | undefined
    ) =>
      Effect.sync(() => {
        const response = NodeHttpServerRequest.toServerResponse(request)
        response.detachSocket(source.socket)
        response.end()
        server.handleUpgrade(source, source.socket, NodeGuard.headOf(source), (ws) => {
          NodeGuard.release(source.socket)
          const facts = new Facts(source, address, ws.protocol, principal)
          const transport = NodeTransport.make(ws, source.socket, facts)
          // The hub answers a transport that it cannot take itself.
          Runtime.runFork(runtime)(Effect.exit(hub.accept(transport, options.handler, options)))
        })
        return HttpServerResponse.empty({ status: 101 })
      })

    const authorized = (
      authorize: Authorize<P, RA>,
      request: HttpServerRequest.HttpServerRequest,
      source: IncomingMessage,
      address: Option.Option<string>
    ) =>
      Effect.suspend(() => {
        handshakes++
        return admit(address)
      }).pipe(
        Effect.zipRight(timely(Effect.interruptible(Effect.suspend(() => authorize(request))))),
        Effect.tap(admit(address)),
        Effect.flatMap((principal) => upgrade(request, source, address, principal)),
        Effect.ensuring(Effect.sync(() => {
          handshakes--
        }))
      )

    return Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
      const source = NodeHttpServerRequest.toIncomingMessage(request)
      if (isUpgrade(source)) NodeGuard.protect(source.socket)
      const wrong = malformed(source)
      if (wrong !== undefined) return Effect.sync(() => refuse("malformed", wrong))
      if (!originAllowed(source, origins)) {
        return Effect.sync(() => refuse("origin", text(403, "This origin may not connect.")))
      }
      if (
        subprotocols.size > 0 && offered(source).length > 0 && !offered(source).some((one) => subprotocols.has(one))
      ) {
        return Effect.sync(() =>
          refuse(
            "subprotocol",
            text(400, `None of the subprotocols is spoken here: use ${[...subprotocols].join(", ")}.`)
          )
        )
      }
      const address = addressOf(source, proxies)
      const handshake = options.authorize === undefined
        ? Effect.zipRight(admit(address), upgrade(request, source, address, undefined))
        : authorized(options.authorize, request, source, address)
      return Effect.catchAll(handshake, (error) => Effect.sync(() => toResponse(error)))
    })
  })

const offered = (request: IncomingMessage): ReadonlyArray<string> =>
  (request.headers["sec-websocket-protocol"] ?? "").split(",").map((one) => one.trim()).filter((one) => one !== "")

/**
 * Adds a route that upgrades to an `HttpLayerRouter`. See {@link make}.
 *
 * @since 1.0.0
 * @category layers
 */
export const layer: {
  <P, E, R, E1 = never, R1 = never, RA = never>(
    path: HttpLayerRouter.PathInput,
    options: Options<P, E, R, E1, R1> & { readonly authorize: Authorize<P, RA> }
  ): Route<R | R1, RA>
  <E, R, E1 = never, R1 = never>(
    path: HttpLayerRouter.PathInput,
    options: Options<undefined, E, R, E1, R1> & { readonly authorize?: undefined }
  ): Route<R | R1, never>
} = <P, E, R, E1, R1, RA>(
  path: HttpLayerRouter.PathInput,
  options: Options<P | undefined, E, R, E1, R1> & { readonly authorize?: Authorize<P, RA> | undefined }
): Route<R | R1, RA> =>
  HttpLayerRouter.use((router) => Effect.flatMap(mount(options), (app) => router.add("GET", path, app)))

type Route<R, RA> = Layer.Layer<
  never,
  InvalidOption,
  | Hub
  | HttpLayerRouter.HttpRouter
  | Exclude<R, Scope.Scope>
  | HttpLayerRouter.Request.From<"Requires", Exclude<RA, HttpLayerRouter.Provided>>
>
