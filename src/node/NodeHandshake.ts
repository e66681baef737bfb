/**
 * The way of a handshake from an HTTP request to the hub.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { IncomingMessage } from "node:http"
import type { Duplex } from "node:stream"
import { type ServerOptions, WebSocketServer } from "ws"
import { Hub } from "../core/Hub.js"
import { HubUnavailable, type InvalidOption } from "../core/HubError.js"
import type { Handshake } from "../core/Transport.js"
import * as HandshakeRules from "./HandshakeRules.js"
import * as HandshakeSocket from "./HandshakeSocket.js"
import * as MountOptions from "./MountOptions.js"
import * as NodeTransport from "./NodeTransport.js"
import * as Refusal from "./Refusal.js"

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
  readonly now: (request: IncomingMessage, claim: () => void) => Refusal.Refusal | undefined
  readonly authorized: <RA>(
    request: IncomingMessage,
    authorize: Effect.Effect<P, Refusal.Refused, RA>,
    claim: () => void
  ) => Effect.Effect<Refusal.Refusal | undefined, never, RA>
}

/**
 * Checks the options and makes the handshakes of one mount. When the scope closes, no more are let in and the mount's
 * connections are drained, so that the HTTP server can close whether it is provided inside or outside of the hub.
 *
 * @internal
 */
export const make = <P, E, R, E1, R1>(
  options: MountOptions.Options<P | undefined, E, R, E1, R1>
): Effect.Effect<Handshakes<P>, InvalidOption, Hub | Scope.Scope | Exclude<R | R1, Scope.Scope>> =>
  Effect.gen(function*() {
    const hub = yield* Hub
    const runtime = yield* Effect.runtime<Exclude<R | R1, Scope.Scope>>()
    const { compression, origins, subprotocols, trustedProxies } = yield* MountOptions.make(options)
    const serverOptions = {
      noServer: true,
      clientTracking: false,
      maxPayload: hub.config.messageBytes,
      closeTimeout: hub.config.closeGrace + 1000,
      perMessageDeflate: compression,
      handleProtocols: (offered: Set<string>) =>
        Array.from(offered).find((protocol) => subprotocols.has(protocol)) ?? false
    } satisfies ServerOptions & { readonly closeTimeout: number }
    const server = new WebSocketServer(serverOptions)
    // What only `ws` looks at: the lists of subprotocols and extensions.
    server.on("wsClientError", (error: Error, socket: Duplex) => {
      const message = `The handshake has an ${error.message.replace("Invalid", "invalid")}.`
      HandshakeSocket.protect(socket)
      HandshakeSocket.answer(socket, Refusal.make("malformed", 400, message))
    })
    const Facts = makeFacts()
    const { handshakeTimeout } = hub.config
    // Acquired before the drain, so released after it.
    const authorisations = yield* FiberSet.make<unknown, unknown>()
    let handshakes = 0
    let unmounted = false
    yield* Effect.addFinalizer(() => {
      unmounted = true
      return hub.drainWhere((connection) => connection.handshake instanceof Facts)
    })

    /** Why this peer may not come in now, handshakes under way included. */
    const notNow = (address: Option.Option<string>, others: number): Refusal.Refusal | undefined => {
      if (unmounted) return Refusal.of(new HubUnavailable({ state: "Draining" }))
      const refused = hub.unsafeRefusal(address, others)
      return refused === undefined ? undefined : Refusal.of(refused)
    }

    /** What is left of the handshake's time, in milliseconds. */
    const timeLeft = (request: IncomingMessage): number =>
      handshakeTimeout === 0 ? Infinity : handshakeTimeout - HandshakeSocket.spent(request.socket)

    /** Who is interrupted does not wait for an effect that cannot be: the end of the mount does. */
    const apart = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
      Effect.uninterruptible(Effect.flatMap(
        FiberSet.run(authorisations, Effect.interruptible(effect)),
        (fiber) =>
          Effect.onInterrupt(
            Effect.interruptible(Fiber.join(fiber)),
            () => Fiber.interruptAsFork(fiber, FiberId.none)
          )
      ))

    /** Within what is left of the handshake's time. */
    const timely = <A, R>(
      request: IncomingMessage,
      effect: Effect.Effect<A, Refusal.Refused, R>
    ): Effect.Effect<A, Refusal.Refused | Refusal.TooSlow, R> => {
      const duration = Math.max(0, timeLeft(request))
      return handshakeTimeout === 0
        ? effect
        : Effect.timeoutFail(effect, { duration, onTimeout: () => new Refusal.TooSlow() })
    }

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
      server.handleUpgrade(request, request.socket, HandshakeSocket.headOf(request), (ws) => {
        HandshakeSocket.release(request.socket)
        const facts = new Facts(request, address, ws.protocol, principal)
        hub.unsafeAccept(runtime, NodeTransport.makeToOpen(ws, request.socket, facts), options.handler, options)
      })
    }

    /** Why this request is not upgraded, as far as its head tells. */
    const refusal = (request: IncomingMessage, address: Option.Option<string>): Refusal.Refusal | undefined =>
      HandshakeRules.forbidden(request, origins, subprotocols) ??
        (timeLeft(request) > 0 ? notNow(address, handshakes) : Refusal.of(new Refusal.TooSlow()))

    return {
      now: (request, claim) => {
        const address = HandshakeRules.addressOf(request, trustedProxies)
        return refusal(request, address) ?? upgrade(request, address, undefined, claim)
      },
      authorized: (request, authorize, claim) =>
        Effect.suspend(() => {
          const address = HandshakeRules.addressOf(request, trustedProxies)
          const refused = refusal(request, address)
          if (refused !== undefined) return Effect.succeed(refused)
          return Effect.acquireUseRelease(
            Effect.sync(() => handshakes++),
            () =>
              whileThere(
                request.socket,
                Effect.withSpan(timely(request, apart(authorize)), "NodeUpgrade.authorize")
              ).pipe(
                Effect.match({
                  onFailure: Refusal.of,
                  onSuccess: (principal) =>
                    notNow(address, handshakes - 1) ?? upgrade(request, address, principal, claim)
                }),
                Effect.tapDefect((cause) => Effect.logError("The authorisation of a handshake failed", cause)),
                Effect.catchAllDefect(() => Effect.succeed(Refusal.make("failed", 500, "The handshake failed.")))
              ),
            () => Effect.sync(() => handshakes--)
          )
        })
    }
  })
