/**
 * A hub for tests, and peers that connect to it.
 *
 * @since 1.0.0
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { Connection } from "../core/Connection.js"
import type { Handler, HandlerOptions } from "../core/Handler.js"
import * as Hub from "../core/Hub.js"
import type { HubOptions } from "../core/HubConfig.js"
import type { HubUnavailable, InvalidOption, TooManyConnections } from "../core/HubError.js"
import * as TestTransport from "./TestTransport.js"

/** The peers that {@link connect} made, for the end of a test. */
const peers = new WeakMap<Hub.Hub["Type"], Set<TestTransport.Peer>>()

const turn = Effect.async<void>((resume) => {
  const immediate = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(immediate))
})

/** The clock of the test. When the test is over it waits for nothing: a test clock would stand still for ever. */
const until = (over: Effect.Effect<void>, clock: Clock.Clock): Clock.Clock => ({
  [Clock.ClockTypeId]: Clock.ClockTypeId,
  unsafeCurrentTimeMillis: () => clock.unsafeCurrentTimeMillis(),
  unsafeCurrentTimeNanos: () => clock.unsafeCurrentTimeNanos(),
  currentTimeMillis: clock.currentTimeMillis,
  currentTimeNanos: clock.currentTimeNanos,
  sleep: (duration) => Effect.raceFirst(clock.sleep(duration), Effect.zipRight(over, turn))
})

const make = (options?: HubOptions): Effect.Effect<Hub.Hub["Type"], InvalidOption, Scope.Scope> =>
  Effect.gen(function*() {
    const over = yield* Deferred.make<void>()
    const clock = until(Deferred.await(over), yield* Effect.clock)
    const hub = yield* Effect.withClock(Hub.make(options), clock)
    yield* Effect.addFinalizer(() =>
      Effect.all([
        Deferred.succeed(over, undefined),
        hub.closeAll({ code: 1001 }),
        Effect.suspend(() => Effect.forEach(peers.get(hub) ?? [], (peer) => peer.reset))
      ])
    )
    return hub
  })

/**
 * A hub with limits that a test reaches soon: an inbox of 4096 bytes, an outbox of 16384, and 100 connections. The
 * options given go before these. At the end of the test the handlers that still run are interrupted, the sockets of
 * {@link connect} that are still open are reset, and the hub waits for no time: the test clock may stand still.
 *
 * @since 1.0.0
 * @category layers
 */
export const layer = (options?: HubOptions): Layer.Layer<Hub.Hub, InvalidOption> =>
  Layer.scoped(Hub.Hub, make({ inboxBytes: 4096, outboxBytes: 16384, connections: 100, ...options }))

/**
 * A peer that connects, and the handler that serves it.
 *
 * @since 1.0.0
 * @category models
 */
export interface ConnectOptions<P, E, R, E1 = never, R1 = never>
  extends TestTransport.Options<P>, HandlerOptions<P, E, E1, R1>
{
  /** Defaults to one that takes all messages and does nothing. */
  readonly handler?: Handler<P, E, R> | undefined
}

/**
 * Both ends of a connection.
 *
 * @since 1.0.0
 * @category models
 */
export interface Connected<out P = undefined> extends TestTransport.TestTransport<P> {
  readonly connection: Connection<P>
}

type Connect<P, R> = Effect.Effect<Connected<P>, HubUnavailable | TooManyConnections, Hub.Hub | Exclude<R, Scope.Scope>>

const discard = <P>(connection: Connection<P>): Effect.Effect<void> => connection.runForEach(() => Effect.void)

/**
 * Connects a peer to the hub. Its handler has not taken its first step when this returns.
 *
 * @since 1.0.0
 * @category testing
 */
export function connect<P, E = never, R = never, E1 = never, R1 = never>(
  options: ConnectOptions<P, E, R, E1, R1>
): Connect<P, R | R1>
export function connect<E = never, R = never, E1 = never, R1 = never>(
  options?: Omit<ConnectOptions<undefined, E, R, E1, R1>, "principal">
): Connect<undefined, R | R1>
export function connect<P, E, R, E1, R1>(
  options: Partial<ConnectOptions<P | undefined, E, R, E1, R1>> = {}
): Connect<P | undefined, R | R1> {
  // @effect-diagnostics-next-line missingEffectContext:off
  return Effect.flatMap(Hub.Hub, (hub) => {
    const { peer, transport } = TestTransport.unsafeMake({ ...options, principal: options.principal })
    return Effect.map(hub.accept(transport, options.handler ?? discard, options), (connection) => {
      peers.set(hub, (peers.get(hub) ?? new Set()).add(peer))
      return { connection, peer, transport }
    })
  })
}

/**
 * Lets fibers, sockets and the hub's writes go on until nothing is left to do but to wait: for a peer, or for time.
 * It takes a few turns of the event loop and no time.
 *
 * @since 1.0.0
 * @category testing
 */
export const settle: Effect.Effect<void> = Effect.repeatN(turn, 5)
