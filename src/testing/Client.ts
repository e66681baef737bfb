/**
 * One peer of a run of the model.
 *
 * @since 1.0.0
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import { CloseCode, type CloseReason } from "../core/CloseReason.js"
import type { Connection } from "../core/Connection.js"
import { Disconnect, type HubUnavailable, type TooManyConnections } from "../core/HubError.js"
import type { Transport } from "../core/Transport.js"
import { type End, Expectation } from "./Expectation.js"
import * as TestTransport from "./TestTransport.js"

/** @internal */
export type Refused = HubUnavailable | TooManyConnections

/**
 * How a peer and its handler behave from the start.
 *
 * @internal
 */
export interface Behaviour {
  /** Through `serve`, in a fiber that can be interrupted, instead of `accept`. */
  readonly serve: boolean
  /** The greeting waits to be finished. */
  readonly slow: boolean
  /** The greeting joins this topic. */
  readonly joins: string | undefined
  /** The handler answers each message. */
  readonly echoes: boolean
  /** Milliseconds that the handler takes to end once it is interrupted. */
  readonly cleanup: number
  /** Messages that come after the hub has paused the socket. */
  readonly overshoot: number
}

/**
 * How a handler is told to end.
 *
 * @internal
 */
export type Fate = "end" | "fail" | "disconnect" | "die"

/** @internal */
export class Refusal {
  readonly _tag = "Refusal"
}

/** @internal */
export const fates: Record<Fate, { readonly effect: Effect.Effect<void, Refusal | Disconnect>; readonly end: End }> = {
  end: { effect: Effect.void, end: { by: "handler", code: CloseCode.normal } },
  fail: { effect: Effect.fail(new Refusal()), end: { by: "handler", code: 4400 } },
  disconnect: {
    effect: Effect.suspend(() => Effect.fail(new Disconnect({ code: 4001, reason: "told to" }))),
    end: { by: "handler", code: 4001 }
  },
  die: { effect: Effect.die(new Error("told to")), end: { by: "handler", code: CloseCode.internalError } }
}

/**
 * One of the peers in a run, for a command or an invariant to look at. The peers of a run are new ones: what is kept of
 * them for a check is best kept by their `connection`, in a `WeakMap`.
 *
 * @since 1.0.0
 * @category models
 */
export interface Participant {
  readonly peer: TestTransport.Peer
  readonly connection: Connection
  /** Nothing has ended the connection yet. */
  readonly isOpen: boolean
  /** The peer reads what the hub sends. */
  readonly reads: boolean
}

/**
 * One peer, what it and its handler did, and what is expected of it.
 *
 * @internal
 */
export class Client {
  readonly name: string
  readonly expected = new Expectation()
  readonly peer: TestTransport.Peer
  readonly transport: Transport<undefined>
  readonly behaviour: Behaviour
  readonly greetingGate = Effect.unsafeMakeLatch(false)
  readonly handlerGate = Effect.unsafeMakeLatch(true)
  readonly fate = Deferred.unsafeMake<void, Refusal | Disconnect>(FiberId.none)
  connection: Connection | undefined = undefined
  serving: Fiber.RuntimeFiber<CloseReason, Refused> | undefined = undefined
  refused = false
  told = false
  stalled = false
  wasStalled = false
  reads = true
  /** Did not read at some time, so that what was written may be lost with the socket. */
  wasDeaf = false
  /** The hub has sent its close frame. */
  closing = false
  /** Left of its own accord, in whatever way. */
  left = false
  /** The hub has paused its socket at some time. */
  wasPaused = false
  /** Reads, and did when all had settled: the hub has no leave to drop anything. */
  keepsUp = true
  pongs = true
  mute = false
  heardAt: number
  handlerStarts = 0
  handlerExits = 0
  finalized = 0
  goneAtFinalizer = false
  finalizedEarly = false
  acquired = 0
  released = 0
  readonly reasons: Array<CloseReason> = []
  /** As the event told it. */
  reason: CloseReason | undefined = undefined
  opened = 0
  closed = 0
  sent = 0

  constructor(name: string, behaviour: Behaviour, now: number) {
    this.name = name
    this.behaviour = behaviour
    this.heardAt = now
    const { peer, transport } = TestTransport.unsafeMake({
      principal: undefined,
      highWaterMark: 16,
      overshoot: behaviour.overshoot
    })
    this.peer = peer
    this.transport = transport
    if (!behaviour.slow) this.greetingGate.unsafeOpen()
  }

  /** What commands and invariants of a user see of it, once it is connected. */
  get participant(): Participant | undefined {
    const { connection, expected, peer } = this
    const reads = () => this.reads
    return connection === undefined ? undefined : {
      peer,
      connection,
      get isOpen() {
        return expected.isOpen
      },
      get reads() {
        return reads()
      }
    }
  }
}
