/**
 * The real hub of a run of the model, its peers, and everything that can be seen of them.
 *
 * @since 1.0.0
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { CloseCode } from "../core/CloseReason.js"
import type { Connection } from "../core/Connection.js"
import type { Message } from "../core/Frame.js"
import type { Handler, HandlerOptions } from "../core/Handler.js"
import type * as Hub from "../core/Hub.js"
import { Disconnect } from "../core/HubError.js"
import type { Transport } from "../core/Transport.js"
import { type Behaviour, Client, type Fate, fates, type Participant, type Refused } from "./Client.js"
import { expect, type Item, show } from "./Expectation.js"
import { settle } from "./HubTest.js"
import { scripted } from "./Scripted.js"
import type { Setup } from "./Setup.js"
import type { VirtualClock } from "./VirtualClock.js"

/**
 * What the application adds when the model runs its handler.
 *
 * @internal
 */
export interface Application<E, R, E1, R1> extends HandlerOptions<undefined, E, E1, R1> {
  readonly handler: Handler<undefined, E, R>
}

/**
 * Hands a client's transport to the hub, with the application's handler.
 *
 * @internal
 */
export type Enter = (
  world: World,
  client: Client,
  transport: Transport<undefined>
) => Effect.Effect<Client, Refused, Hub.Hub>

/**
 * A run of the model, as commands see it. The hub is in their environment: `Hub.Hub`.
 *
 * @since 1.0.0
 * @category models
 */
export class World {
  /** @internal */
  readonly clients: Array<Client> = []
  /** @internal */
  readonly events: Array<Hub.HubEvent> = []
  /** @internal */
  readonly hub: Hub.Hub["Type"]
  /** @internal */
  readonly clock: VirtualClock
  /** @internal */
  readonly setup: Setup
  /** @internal */
  readonly scope: Scope.CloseableScope
  /** @internal */
  readonly ready: Deferred.Deferred<void>
  /** @internal */
  readonly runtime: Runtime.Runtime<Hub.Hub>
  /** @internal */
  readonly application: Enter | undefined
  /** @internal */
  readonly eventsEnded: Fiber.RuntimeFiber<void>
  /** @internal */
  state: Hub.HubState
  /** @internal */
  lastState: Hub.HubState = "Starting"
  /** @internal */
  drains: Array<Fiber.RuntimeFiber<void>> = []
  /** @internal */
  closing: Fiber.RuntimeFiber<void> | undefined = undefined
  private counter = 0

  /** @internal */
  constructor(
    hub: Hub.Hub["Type"],
    clock: VirtualClock,
    setup: Setup,
    scope: Scope.CloseableScope,
    ready: Deferred.Deferred<void>,
    runtime: Runtime.Runtime<Hub.Hub>,
    application: Enter | undefined
  ) {
    this.hub = hub
    this.clock = clock
    this.setup = setup
    this.scope = scope
    this.ready = ready
    this.runtime = runtime
    this.application = application
    this.state = setup.late ? "Starting" : "Open"
    this.eventsEnded = this.fork(Stream.runForEach(hub.events, (event) => Effect.sync(() => this.events.push(event))))
  }

  /** The peers that the hub has accepted, in the order in which they came; those that have left too. */
  get participants(): ReadonlyArray<Participant> {
    return this.members.flatMap((client) => client.participant ?? [])
  }

  /** Moves the clock by so many milliseconds, and lets happen what is due. */
  advance(millis: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      // Which connections a heartbeat may end while the clock moves is known; when exactly, is not.
      for (const client of this.members) {
        if (!client.pongs || !client.reads) client.expected.mayEnd({ by: "heartbeat", code: CloseCode.timeout })
      }
      return this.clock.advance(millis, this.settle)
    })
  }

  /** @internal */
  fork<A, E>(effect: Effect.Effect<A, E, Hub.Hub>): Fiber.RuntimeFiber<A, E> {
    return Runtime.runFork(this.runtime)(effect)
  }

  /**
   * A message like no other; every third is binary.
   *
   * @internal
   */
  message(prefix: string): Message {
    const text = `${prefix}-${++this.counter}`
    return this.counter % 3 === 0 ? new TextEncoder().encode(text) : text
  }

  /**
   * Accepted connections.
   *
   * @internal
   */
  get members(): ReadonlyArray<Client> {
    return this.clients.filter((client) => !client.refused)
  }

  /** @internal */
  pick(at: number): Client | undefined {
    const members = this.members
    return members[at % members.length]
  }

  /**
   * Whether nothing gives the hub leave to drop what is sent to this peer now.
   *
   * @internal
   */
  isSafe(client: Client): boolean {
    return this.setup.overflow === "none" || client.keepsUp && client.reads && client.expected.greeted
  }

  /**
   * Something was offered to a peer: notes that it is due, and that it may be too much for the peer.
   *
   * @internal
   */
  offered(client: Client, to: Array<Item>, message: Message, accepted: boolean): void {
    to.push({ text: show(message), certain: accepted && this.isSafe(client) })
    if (this.setup.overflow === "disconnect" || this.setup.overflow === "conflate") {
      if (!this.isSafe(client)) client.expected.mayEnd({ by: "slow-consumer", code: CloseCode.policyViolation })
    }
  }

  /**
   * Connects a peer. Returns the error if the hub refuses it.
   *
   * @internal
   */
  connect(behaviour: Behaviour): Effect.Effect<Client, Refused, Hub.Hub> {
    return Effect.suspend(() => {
      const client = new Client(`#${this.clients.length}`, behaviour, this.clock.now)
      this.clients.push(client)
      const transport: Transport<undefined> = {
        ...client.transport,
        close: (code, reason) => {
          client.closing = true
          client.transport.close(code, reason)
        },
        open: (events) =>
          client.transport.open({
            onMessage: (message) => {
              client.heardAt = this.clock.now
              if (!client.expected.isEnded) {
                client.expected.arrived.push({ text: show(message), certain: client.expected.isOpen })
              }
              events.onMessage(message)
            },
            onPong: () => {
              client.heardAt = this.clock.now
              events.onPong()
            },
            onDrain: () => events.onDrain(),
            onEnd: (reason) => {
              if (reason.by !== "peer" || !client.closing) client.left = true
              client.expected.end(reason, this.clock.now)
              events.onEnd(reason)
            },
            onGone: () => events.onGone()
          })
      }
      const accept = this.application === undefined
        ? this.enter(client, transport, scripted(this, client))
        : this.application(this, client, transport)
      return Effect.onError(accept, () => Effect.sync(() => void (client.refused = true)))
    })
  }

  /** @internal */
  enter<E2, R2, E3, R3>(
    client: Client,
    transport: Transport<undefined>,
    application: Application<E2, R2, E3, R3>
  ): Effect.Effect<Client, Refused, Exclude<R2 | R3, Scope.Scope>> {
    const ended = (exit: Exit.Exit<unknown, unknown>) => {
      if (!client.expected.isEnded) this.handlerEnded(client, exit)
    }
    const options: HandlerOptions<undefined, E2, E3, R3> = {
      ...application,
      greeting: (connection) =>
        Effect.suspend((): Effect.Effect<unknown, E3, R3> => application.greeting?.(connection) ?? Effect.void).pipe(
          Effect.onError((cause) => Effect.sync(() => ended(Exit.failCause(cause))))
        )
    }
    const run = (connection: Connection<undefined>) => {
      client.expected.greeted = true
      return Effect.suspend(() => {
        client.handlerStarts++
        return Effect.onExit(application.handler(connection), (exit) =>
          Effect.sync(() => {
            client.handlerExits++
            ended(exit)
          }))
      })
    }
    const watch = Effect.flatMap(this.hub.connections, (connections) => {
      const connection = connections.find((connection) => connection.handshake === transport.handshake)
      expect(connection !== undefined, "L3", () => `${client.name} was accepted, and is not registered`)
      if (connection === undefined) return Effect.void
      client.connection = connection
      this.fork(Effect.map(connection.closed, (reason) => client.reasons.push(reason)))
      return Scope.addFinalizer(
        connection.scope,
        Effect.flatMap(client.peer.isGone, (gone) =>
          Effect.sync(() => {
            client.finalized++
            client.goneAtFinalizer = gone
            client.finalizedEarly = client.handlerStarts > client.handlerExits
          }))
      )
    })
    if (!client.behaviour.serve) {
      return Effect.as(Effect.zipRight(this.hub.accept(transport, run, options), watch), client)
    }
    return Effect.flatMap(Effect.runtime<Exclude<R2 | R3, Scope.Scope>>(), (runtime) => {
      const serving = Runtime.runFork(runtime)(this.hub.serve(transport, run, options))
      client.serving = serving
      const exit = serving.unsafePoll()
      return exit !== null && Exit.isFailure(exit)
        ? Effect.failCause(exit.cause)
        : Effect.as(watch, client)
    })
  }

  private handlerEnded(client: Client, exit: Exit.Exit<unknown, unknown>): void {
    if (this.application !== undefined) client.expected.endSoon({ by: "handler" })
    else if (Exit.isSuccess(exit)) client.expected.endSoon(fates.end.end)
    else if (Option.isSome(Cause.dieOption(exit.cause))) client.expected.endSoon(fates.die.end)
    else {
      const failure = Cause.failureOption(exit.cause)
      if (Option.isSome(failure)) {
        client.expected.endSoon((failure.value instanceof Disconnect ? fates.disconnect : fates.fail).end)
      }
    }
  }

  /** @internal */
  tell(client: Client, fate: Fate): void {
    client.told = true
    Deferred.unsafeDone(client.fate, fates[fate].effect)
  }

  /** @internal */
  readonly settle = settle
}
