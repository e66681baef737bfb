/**
 * A connection to one server, and the next one when it is lost.
 *
 * @since 1.0.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import { RedisBound, unitsOf } from "./RedisBound.js"
import { attempt, connect, failure, openClient, ping, type RedisClient, RedisFailure } from "./RedisClient.js"
import * as Metrics from "./RedisMetrics.js"
import type { RedisConfig, RedisServer } from "./RedisOptions.js"
import { afterReading, late, reading } from "./RedisReading.js"

/**
 * Called once: with an error, or with `undefined` and the reply.
 *
 * @internal
 */
export type Done = (error: unknown, reply: unknown) => void

class Pending {
  readonly done: Done
  readonly deadline: number
  readonly weight: number
  readonly units: number
  isSettled = false

  constructor(done: Done, deadline: number, weight: number, units: number) {
    this.done = done
    this.deadline = deadline
    this.weight = weight
    this.units = units
  }
}

/**
 * What becomes of a link.
 *
 * @internal
 */
export interface LinkEvents {
  /** A connection is open, and is not used yet by others. */
  readonly prepare?: ((client: RedisClient) => Effect.Effect<void, RedisFailure>) | undefined
  readonly onReady?: (() => void) | undefined
  readonly onLost?: (() => void) | undefined
  /** A connection was lost, or could not be made. */
  readonly onFailed?: (() => void) | undefined
  /** How long a sign of life took, in milliseconds. */
  readonly onPing?: ((millis: number) => void) | undefined
}

const firstRetry = 50

/** Reasons that are warned of while there is no connection. */
const mostReasons = 5

/** Connections that are open, of all links. */
let open = 0

/**
 * Commands go to the server in the order of the calls; those of one turn of the event loop go in one write.
 *
 * @internal
 */
export class RedisLink {
  /** While commands are answered. */
  client: RedisClient | undefined
  /** Oldest first, since all have the same time. */
  private readonly pending = new Set<Pending>()
  private readonly unanswered: RedisBound
  private sweep: NodeJS.Timeout | undefined
  private readonly config: RedisConfig
  private readonly locate: Effect.Effect<RedisServer, RedisFailure>
  private readonly events: LinkEvents
  private failures = 0
  /** Why there is none, as far as the log has it: the first reason is often just that the connection ended. */
  private readonly said = new Set<string>()
  private present: Deferred.Deferred<never, RedisFailure> | undefined
  private wasReady = false

  constructor(config: RedisConfig, locate: Effect.Effect<RedisServer, RedisFailure>, events: LinkEvents = {}) {
    this.config = config
    this.locate = locate
    this.events = events
    this.unanswered = new RedisBound(config)
  }

  get isReady(): boolean {
    return this.client !== undefined
  }

  /** `weight`: how many publications it is. */
  command(args: ReadonlyArray<string>, weight: number, done: Done): void {
    const { client, config } = this
    if (client === undefined) return done(new Error("Redis is not connected"), undefined)
    const { refusal } = this.unanswered
    if (refusal !== undefined) return done(refusal, undefined)
    const units = unitsOf(args)
    this.unanswered.add(weight, units)
    const pending = new Pending(done, performance.now() + config.commandTimeout, weight, units)
    this.pending.add(pending)
    this.sweep ??= setTimeout(this.expire, config.commandTimeout)
    client.sendCommand(args).then(
      (reply: unknown) => this.answered(pending, undefined, reply),
      (error: unknown) => this.answered(pending, error, undefined)
    )
  }

  private answered(pending: Pending, error: unknown, reply: unknown): void {
    this.unanswered.remove(pending.weight, pending.units)
    this.pending.delete(pending)
    this.settle(pending, error, reply)
  }

  private settle(pending: Pending, error: unknown, reply: unknown): void {
    if (pending.isSettled) return
    pending.isSettled = true
    pending.done(error, reply)
  }

  private readonly expire = (): void => afterReading(this.endOverdue)

  private readonly endOverdue = (): void => {
    this.sweep = undefined
    const now = performance.now()
    for (const pending of this.pending) {
      if (pending.deadline > now) {
        this.sweep = setTimeout(this.expire, Math.ceil(pending.deadline - now))
        return
      }
      this.pending.delete(pending)
      this.settle(pending, late(this.config), undefined)
    }
  }

  /** Gives the present connection up, or the attempt to make one, and makes another. */
  drop(reason: RedisFailure): void {
    if (this.present !== undefined) Deferred.unsafeDone(this.present, Effect.fail(reason))
  }

  /** Connects, and again whenever the connection is lost, for as long as it runs. */
  get keep(): Effect.Effect<never> {
    return Effect.forever(
      Effect.catchAllCause(this.session, (cause) =>
        Effect.gen(this, function*() {
          const found = Cause.squash(cause)
          const reason = found instanceof RedisFailure ? found.message : String(found)
          const isKnown = this.said.has(reason) || this.said.size >= mostReasons
          this.failures++
          this.said.add(reason)
          yield* isKnown
            ? Effect.logDebug(`Still no connection to Redis: ${reason}`)
            : Effect.logWarning(`No connection to Redis: ${reason}`)
          this.events.onFailed?.()
          const most = Math.min(firstRetry * 2 ** Math.min(this.failures - 1, 20), this.config.retryInterval)
          yield* Effect.sleep(most * (0.5 + 0.5 * (yield* Random.next)))
        }))
    )
  }

  /** One connection, from its beginning until it is lost. */
  private get session(): Effect.Effect<never, RedisFailure> {
    return Effect.scoped(Effect.gen(this, function*() {
      // From here on it can be dropped: who is located may have been replaced before the answer is here.
      const lost = this.present = yield* Deferred.make<never, RedisFailure>()
      const server = yield* Effect.raceFirst(this.locate, lost)
      const client = yield* openClient(server, this.config, lost, (closed) => this.leave(closed))
      yield* connect(client, this.config, lost)
      const use = Effect.gen(this, function*() {
        yield* this.events.prepare?.(client) ?? Effect.void
        if (this.failures > 0) yield* Effect.logInfo("Connected to Redis")
        this.failures = 0
        this.said.clear()
        this.client = client
        Metrics.connections.unsafeUpdate(++open, [])
        if (this.wasReady) Metrics.reconnects.unsafeUpdate(1, [])
        this.wasReady = true
        this.events.onReady?.()
        return yield* Effect.never
      })
      return yield* Effect.raceFirst(lost, Effect.raceFirst(use, this.watch(client)))
    }))
  }

  private leave(client: RedisClient): void {
    if (this.client !== client) return
    this.client = undefined
    Metrics.connections.unsafeUpdate(--open, [])
    this.events.onLost?.()
  }

  /** A server that is stopped, or behind a wire that is cut, says nothing: not even that it is gone. */
  private watch(client: RedisClient): Effect.Effect<never, RedisFailure> {
    const { commandTimeout, pingInterval } = this.config
    const silence = Effect.zipRight(
      Effect.zipRight(Effect.sleep(commandTimeout), reading),
      failure(`no sign of life within ${commandTimeout} ms`)
    )
    const sign = Effect.raceFirst(attempt(() => ping(client)), silence)
    return Effect.forever(Effect.gen(this, function*() {
      yield* Effect.sleep(pingInterval)
      const before = performance.now()
      yield* sign
      this.events.onPing?.(performance.now() - before)
    }))
  }

  /** Runs `keep` with the real clock: a server does not follow that of a test. */
  get forkKeep(): Effect.Effect<unknown, never, Scope.Scope> {
    return this.keep.pipe(
      Effect.ensuring(Effect.sync(() => {
        clearTimeout(this.sweep)
        this.sweep = undefined
      })),
      Effect.withClock(Clock.make()),
      Effect.interruptible,
      Effect.forkScoped
    )
  }
}
