/**
 * The WebSocket handshake as a route of an Effect HTTP application, or straight at the guarded server.
 *
 * @since 1.0.0
 */
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { IncomingMessage } from "node:http"
import type { Duplex } from "node:stream"
import type { Hub } from "../core/Hub.js"
import type { InvalidOption } from "../core/HubError.js"
import * as HandshakeRules from "./HandshakeRules.js"
import * as HandshakeSocket from "./HandshakeSocket.js"
import type * as MountOptions from "./MountOptions.js"
import * as NodeGuard from "./NodeGuard.js"
import * as NodeHandshake from "./NodeHandshake.js"
import * as Refusal from "./Refusal.js"
import * as UnreadableRequest from "./UnreadableRequest.js"

export {
  /**
   * How a mount greets, authorises and serves its peers.
   *
   * @since 1.0.0
   * @category models
   */
  type Options
} from "./MountOptions.js"
export {
  /**
   * Fail with this in `authorize` to refuse a handshake with an HTTP status.
   *
   * @since 1.0.0
   * @category errors
   */
  Refused
} from "./Refusal.js"

/**
 * Decides before the upgrade who the peer is, from its request: yields the principal, or refuses. Runs within the hub's
 * handshake timeout and is interrupted when the peer leaves.
 *
 * @since 1.0.0
 * @category models
 */
export type Authorize<P, RA> = (
  request: HttpServerRequest.HttpServerRequest
) => Effect.Effect<P, Refusal.Refused, RA>

/** What a mount needs where it is made, and what its route needs for each request. */
type Mount<R, RA> = Effect.Effect<
  Effect.Effect<HttpServerResponse.HttpServerResponse, never, HttpServerRequest.HttpServerRequest | RA>,
  InvalidOption,
  Hub | Scope.Scope | Exclude<R, Scope.Scope>
>

/** Says that the response is claimed; what the peer got is the answer of `ws`. */
const switched = HttpServerResponse.empty({ status: 101 })

const responseOf = (refusal: Refusal.Refusal) => HttpServerResponse.text(refusal.message, refusal)

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
    options: MountOptions.Options<P, E, R, E1, R1> & { readonly authorize: Authorize<P, RA> }
  ): Mount<R | R1, RA>
  <E, R, E1 = never, R1 = never>(
    options: MountOptions.Options<undefined, E, R, E1, R1> & { readonly authorize?: undefined }
  ): Mount<R | R1, never>
} = <P, E, R, E1, R1, RA>(
  options: MountOptions.Options<P | undefined, E, R, E1, R1> & { readonly authorize?: Authorize<P, RA> | undefined }
): Mount<R | R1, RA> => mount(options)

const mount = <P, E, R, E1, R1, RA>(
  options: MountOptions.Options<P | undefined, E, R, E1, R1> & {
    readonly authorize?: Authorize<P, RA> | undefined
  }
): Mount<R | R1, RA> =>
  Effect.map(
    NodeHandshake.make<P, E, R, E1, R1>(options),
    (handshakes) =>
      Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
        const source = NodeHttpServerRequest.toIncomingMessage(request)
        if (HandshakeRules.isUpgrade(source)) {
          if (UnreadableRequest.cutOff(source)) return Effect.interrupt
          HandshakeSocket.protect(source.socket)
        }
        let claimed = false
        const claim = () => {
          claimed = true
          const response = NodeHttpServerRequest.toServerResponse(request)
          response.detachSocket(source.socket)
          response.end()
        }
        const { authorize } = options
        const handshake = authorize === undefined
          ? Effect.sync(() => handshakes.now(source, claim))
          : handshakes.authorized(source, Effect.suspend(() => authorize(request)), claim)
        return handshake.pipe(
          Effect.map((refusal) => refusal === undefined ? switched : responseOf(refusal)),
          // A defect, since nothing else of an interrupted fiber is answered with. A peer that left is not refused.
          Effect.onInterrupt(() =>
            claimed || source.socket.destroyed ? Effect.void : Effect.die(responseOf(goingAway()))
          )
        )
      })
  )

/**
 * Adds a route that upgrades to an `HttpLayerRouter`. See {@link make}.
 *
 * @since 1.0.0
 * @category layers
 */
export const layer: {
  <P, E, R, E1 = never, R1 = never, RA = never>(
    path: HttpLayerRouter.PathInput,
    options: MountOptions.Options<P, E, R, E1, R1> & { readonly authorize: Authorize<P, RA> }
  ): Route<R | R1, RA>
  <E, R, E1 = never, R1 = never>(
    path: HttpLayerRouter.PathInput,
    options: MountOptions.Options<undefined, E, R, E1, R1> & { readonly authorize?: undefined }
  ): Route<R | R1, never>
} = <P, E, R, E1, R1, RA>(
  path: HttpLayerRouter.PathInput,
  options: MountOptions.Options<P | undefined, E, R, E1, R1> & { readonly authorize?: Authorize<P, RA> | undefined }
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

/**
 * Decides before the upgrade who the peer is, as `Authorize` does, from Node's own request.
 *
 * @since 1.0.0
 * @category models
 */
export type AuthorizeNode<P, RA> = (request: IncomingMessage) => Effect.Effect<P, Refusal.Refused, RA>

/**
 * Upgrades at this path (compared with the whole path of the request, without its query) straight at the guarded server,
 * before the HTTP application sees the request: no router, middleware or tracing runs, which makes a handshake
 * cheaper. Needs `NodeGuard.layer` as the server. The answers are those of {@link make}.
 *
 * @since 1.0.0
 * @category layers
 */
export const layerGuard: {
  <P, E, R, E1 = never, R1 = never, RA = never>(
    path: `/${string}`,
    options: MountOptions.Options<P, E, R, E1, R1> & { readonly authorize: AuthorizeNode<P, RA> }
  ): Layer.Layer<never, InvalidOption, Hub | NodeGuard.Guard | RA | Exclude<R | R1, Scope.Scope>>
  <E, R, E1 = never, R1 = never>(
    path: `/${string}`,
    options: MountOptions.Options<undefined, E, R, E1, R1> & { readonly authorize?: undefined }
  ): Layer.Layer<never, InvalidOption, Hub | NodeGuard.Guard | Exclude<R | R1, Scope.Scope>>
} = <P, E, R, E1, R1, RA>(
  path: `/${string}`,
  options: MountOptions.Options<P | undefined, E, R, E1, R1> & {
    readonly authorize?: AuthorizeNode<P, RA> | undefined
  }
): Layer.Layer<never, InvalidOption, Hub | NodeGuard.Guard | RA | Exclude<R | R1, Scope.Scope>> =>
  Layer.scopedDiscard(Effect.gen(function*() {
    const guard = yield* NodeGuard.Guard
    const handshakes = yield* NodeHandshake.make<P, E, R, E1, R1>(options)
    const run = yield* FiberSet.makeRuntime<RA>().pipe(Effect.interruptible)
    const { authorize } = options
    const answer = (socket: Duplex, refusal: Refusal.Refusal | undefined) =>
      refusal !== undefined && HandshakeSocket.answer(socket, refusal)
    yield* guard.mount(path, (request, socket) => {
      if (authorize === undefined) return answer(socket, handshakes.now(request, () => {}))
      let claimed = false
      const claim = () => {
        claimed = true
      }
      const fiber = run(
        handshakes.authorized(request, Effect.suspend(() => authorize(request)), claim).pipe(
          // A peer that left is not refused.
          Effect.onInterrupt(() => Effect.sync(() => claimed || socket.destroyed || answer(socket, goingAway()))),
          Effect.map((refusal) => claimed || answer(socket, refusal))
        )
      )
      const leave = () => fiber.unsafeInterruptAsFork(FiberId.none)
      socket.once("close", leave)
      fiber.addObserver(() => socket.off("close", leave))
    })
  }))

const goingAway = () =>
  Refusal.make("unavailable", 503, "The server is going away. Try again later.", { "retry-after": "1" })
