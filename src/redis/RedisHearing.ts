/**
 * What is listened to on one server.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import { type RedisClient, RedisLink } from "./RedisLink.js"
import * as Metrics from "./RedisMetrics.js"
import type { RedisConfig, RedisServer } from "./RedisOptions.js"

/**
 * Whom to tell what was heard. Returns at once and does not throw.
 *
 * @internal
 */
export interface Ear {
  readonly onMessage: (owner: string, message: string) => void
  readonly onGap: (owner: string) => void
}

type Waiter = (error: unknown) => void

/** A name that somebody wants to hear, or wanted until a moment ago. */
class Subscription {
  readonly owner: string
  readonly name: string
  isWanted = true
  /** Whoever wants it was told that it is subscribed, and hears of a gap if it was not for a while. */
  isHeard = false
  /** Whether its messages come, on the present connection. */
  state: "Joining" | "Live" | "Lost" = "Joining"
  waiters: Array<Waiter> = []
  leaveAt = 0

  constructor(owner: string, name: string) {
    this.owner = owner
    this.name = name
  }
}

/** Names in one command: others must not wait too long for their turn. */
const chunk = 5000

/** Pause before it is looked again whether a name that is left was subscribed meanwhile. */
const leastLinger = 10

const notConnected = () => new Error("Redis is not connected")

/**
 * Subscribes names with one command per turn, and leaves them with one; what was lost with a connection is subscribed
 * again with the next one.
 *
 * @internal
 */
export class RedisHearing {
  readonly link: RedisLink
  private readonly subscriptions = new Map<string, Subscription>()
  private joining: Array<Subscription> = []
  /** Still subscribed, and wanted again. */
  private returning: Array<Subscription> = []
  private leaving: Array<string> = []
  private flushing: NodeJS.Immediate | undefined
  /** Oldest first. */
  private readonly lingering = new Set<Subscription>()
  private sweep: NodeJS.Timeout | undefined
  private readonly config: RedisConfig
  private readonly ear: Ear

  constructor(config: RedisConfig, locate: Effect.Effect<RedisServer, unknown>, ear: Ear, onReady: () => void) {
    this.config = config
    this.ear = ear
    this.link = new RedisLink(config, locate, {
      prepare: (client) => this.restore(client),
      onReady: () => {
        this.tellGaps()
        onReady()
      },
      onLost: () => this.lose(),
      onPing: (millis) => Metrics.lag.unsafeUpdate(millis / 1000, [])
    })
  }

  subscribe(owner: string, name: string, done: Waiter): void {
    const found = this.subscriptions.get(name)
    if (found?.isHeard === true) return done(undefined)
    if (!this.link.isReady) return done(notConnected())
    const subscription = found ?? new Subscription(owner, name)
    subscription.isWanted = true
    this.lingering.delete(subscription)
    if (found === undefined) {
      this.subscriptions.set(name, subscription)
      this.joining.push(subscription)
    } else if (found.state === "Live" && found.waiters.length === 0) this.returning.push(found)
    subscription.waiters.push(done)
    this.flushing ??= setImmediate(this.flush)
  }

  unsubscribe(name: string): void {
    const found = this.subscriptions.get(name)
    if (found === undefined || !found.isWanted) return
    found.isWanted = found.isHeard = false
    found.leaveAt = performance.now() + this.config.linger
    this.lingering.add(found)
    this.sweep ??= setTimeout(this.expire, this.config.linger)
  }

  /** Ends all that waits. */
  close(): void {
    clearTimeout(this.sweep)
    clearImmediate(this.flushing)
    this.subscriptions.clear()
    this.joined(this.joining, notConnected())
    this.returned(this.returning, notConnected())
  }

  private readonly hear = (message: string, name: string): void => {
    const found = this.subscriptions.get(name)
    Metrics.messages.unsafeUpdate(1, [])
    if (found?.isHeard === true && found.state === "Live") this.ear.onMessage(found.owner, message)
  }

  private readonly expire = (): void => {
    this.sweep = undefined
    const now = performance.now()
    for (const subscription of this.lingering) {
      if (subscription.leaveAt > now) {
        this.sweep = setTimeout(this.expire, Math.ceil(subscription.leaveAt - now))
        return
      }
      this.lingering.delete(subscription)
      if (subscription.state !== "Live") {
        subscription.leaveAt = now + Math.max(this.config.linger, leastLinger)
        this.lingering.add(subscription)
        continue
      }
      this.subscriptions.delete(subscription.name)
      this.leaving.push(subscription.name)
      this.flushing ??= setImmediate(this.flush)
    }
  }

  private readonly flush = (): void => {
    this.flushing = undefined
    const { joining, leaving, returning } = this
    const { client } = this.link
    this.joining = []
    this.leaving = []
    this.returning = []
    if (client === undefined) {
      this.joined(joining, notConnected())
      return this.returned(returning, notConnected())
    }
    if (leaving.length > 0) {
      client.unsubscribe(leaving, this.hear).catch(() => {
        // The connection is lost, and the subscription with it.
      })
    }
    if (joining.length > 0) {
      client.subscribe(joining.map(({ name }) => name), this.hear).then(
        () => this.joined(joining, undefined),
        (error: unknown) => this.joined(joining, error)
      )
    }
    // What was published while nobody wanted it may still be on its way: it comes before the answer.
    if (returning.length > 0) {
      client.sendCommand(["PING"]).then(
        () => this.returned(returning, undefined),
        (error: unknown) => this.returned(returning, error)
      )
    }
  }

  private joined(subscriptions: ReadonlyArray<Subscription>, error: unknown): void {
    for (const subscription of subscriptions) {
      if (error === undefined) subscription.state = "Live"
      else if (this.subscriptions.get(subscription.name) === subscription) {
        this.lingering.delete(subscription)
        this.subscriptions.delete(subscription.name)
      }
    }
    this.returned(subscriptions, error)
  }

  private returned(subscriptions: ReadonlyArray<Subscription>, error: unknown): void {
    for (const subscription of subscriptions) {
      const { waiters } = subscription
      subscription.waiters = []
      if (error === undefined) subscription.isHeard = subscription.isWanted
      else if (subscription.isWanted) this.unsubscribe(subscription.name)
      for (const waiter of waiters) waiter(error)
    }
  }

  private lose(): void {
    for (const subscription of this.subscriptions.values()) subscription.state = "Lost"
  }

  private restore(client: RedisClient): Effect.Effect<void, unknown> {
    const lost: Array<Subscription> = []
    for (const subscription of this.subscriptions.values()) {
      if (subscription.isHeard) lost.push(subscription)
      else {
        this.lingering.delete(subscription)
        this.subscriptions.delete(subscription.name)
      }
    }
    const chunks = Array.from(
      { length: Math.ceil(lost.length / chunk) },
      (_, index) => lost.slice(index * chunk, (index + 1) * chunk)
    )
    return Effect.forEach(chunks, (some) =>
      Effect.tryPromise({
        try: () => client.subscribe(some.map(({ name }) => name), this.hear),
        catch: (error) => error
      }), { discard: true })
  }

  private tellGaps(): void {
    const restored = Array.from(this.subscriptions.values()).filter(({ state }) => state === "Lost")
    if (restored.length > 0) Metrics.resubscribes.unsafeUpdate(restored.length, [])
    for (const subscription of restored) subscription.state = "Live"
    for (const { isHeard, owner } of restored) if (isHeard) this.ear.onGap(owner)
  }
}
