/**
 * What is listened to on one server.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import type { RedisClient } from "./RedisClient.js"
import { RedisLink } from "./RedisLink.js"
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

/** @internal */
export interface HearingEvents {
  readonly onReady: () => void
  readonly onFailed?: (() => void) | undefined
  /** In a Cluster: the slot of a name. */
  readonly slotOf?: ((name: string) => number) | undefined
  /** Names do not belong here any more. */
  readonly onMoved?: (() => void) | undefined
}

type Waiter = (error: unknown) => void

/**
 * A name that somebody wants to hear, or wanted until a moment ago.
 *
 * @internal
 */
export class Subscription {
  readonly owner: string
  readonly name: string
  isWanted = true
  /** Whoever wants it was told that it is subscribed, and hears of a gap if it was not for a while. */
  isHeard = false
  /** Whether its messages come, on the present connection. */
  state: "Joining" | "Live" | "Lost" | "Restored" = "Joining"
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
  private readonly events: HearingEvents

  constructor(config: RedisConfig, locate: Effect.Effect<RedisServer, unknown>, ear: Ear, events: HearingEvents) {
    this.config = config
    this.ear = ear
    this.events = events
    this.link = new RedisLink(config, locate, {
      prepare: (client) => this.restore(client),
      onReady: () => {
        this.restored()
        events.onReady()
      },
      onFailed: events.onFailed,
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
    // A little early, so that what was left one after the other goes in one command.
    const due = now + this.config.linger / 10
    for (const subscription of this.lingering) {
      if (subscription.leaveAt > due) {
        this.sweep = setTimeout(this.expire, Math.ceil(subscription.leaveAt - now))
        return
      }
      this.lingering.delete(subscription)
      if (subscription.state === "Lost" && this.link.isReady) {
        this.subscriptions.delete(subscription.name)
        continue
      }
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
    for (const group of this.groups(leaving, (name) => name)) {
      this.leave(client, group).catch(() => {
        // The connection is lost, or the slot has moved, and the subscription with it.
      })
    }
    for (const group of this.groups(joining, nameOf)) {
      this.join(client, group).then(
        () => this.joined(group, undefined),
        (error: unknown) => this.joined(group, error)
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
    const joinAll = (group: ReadonlyArray<Subscription>) =>
      Effect.tryPromise({ try: () => this.join(client, group), catch: (error) => error }).pipe(
        Effect.map(() => {
          for (const subscription of group) subscription.state = "Restored"
        }),
        Effect.catchIf(isMoved, () => Effect.void)
      )
    client.on("sharded-channel-moved", (name: string) => this.moved(name))
    return Effect.forEach(this.groups(lost, nameOf), joinAll, { discard: true, concurrency: this.slotted ? 100 : 1 })
  }

  private restored(): void {
    const restored = Array.from(this.subscriptions.values()).filter(({ state }) => state === "Restored")
    this.tellGaps(restored)
    this.rejoin()
  }

  private tellGaps(subscriptions: ReadonlyArray<Subscription>): void {
    if (subscriptions.length > 0) Metrics.resubscribes.unsafeUpdate(subscriptions.length, [])
    for (const subscription of subscriptions) subscription.state = "Live"
    for (const { isHeard, owner } of subscriptions) if (isHeard) this.ear.onGap(owner)
  }

  /** Gives up the names that do not stay, and returns those that are to be heard elsewhere. */
  release(stays: (name: string) => boolean): ReadonlyArray<Subscription> {
    const released: Array<Subscription> = []
    for (const subscription of this.subscriptions.values()) {
      if (stays(subscription.name)) continue
      this.subscriptions.delete(subscription.name)
      this.lingering.delete(subscription)
      if (subscription.isHeard) released.push(subscription)
      const { waiters } = subscription
      subscription.waiters = []
      for (const waiter of waiters) waiter(new Error("MOVED"))
      if (subscription.state === "Live") {
        this.leaving.push(subscription.name)
        this.flushing ??= setImmediate(this.flush)
      }
    }
    return released
  }

  /** Takes a name that was heard elsewhere; `rejoin` subscribes it. */
  adopt(subscription: Subscription): void {
    subscription.state = "Lost"
    this.subscriptions.set(subscription.name, subscription)
  }

  /** Subscribes what is heard and was lost, though the connection is not. */
  rejoin(): void {
    const { client } = this.link
    if (client === undefined) return
    const lost = Array.from(this.subscriptions.values()).filter(({ isHeard, state }) => isHeard && state === "Lost")
    for (const subscription of lost) subscription.state = "Joining"
    for (const group of this.groups(lost, nameOf)) {
      this.join(client, group).then(
        () => this.tellGaps(group.filter(({ name, state }) => state === "Joining" && this.subscriptions.has(name))),
        () => {
          for (const subscription of group) if (subscription.state === "Joining") subscription.state = "Lost"
          this.events.onMoved?.()
        }
      )
    }
  }

  private moved(name: string): void {
    const found = this.subscriptions.get(name)
    if (found !== undefined) found.state = "Lost"
    this.events.onMoved?.()
  }

  private get slotted(): boolean {
    return this.events.slotOf !== undefined
  }

  private join(client: RedisClient, group: ReadonlyArray<Subscription>): Promise<void> {
    const names = group.map(nameOf)
    return this.slotted ? client.sSubscribe(names, this.hear) : client.subscribe(names, this.hear)
  }

  private leave(client: RedisClient, names: Array<string>): Promise<void> {
    return this.slotted ? client.sUnsubscribe(names, this.hear) : client.unsubscribe(names, this.hear)
  }

  /** What may go in one command: names of one slot, and not too many. */
  private groups<A>(all: ReadonlyArray<A>, name: (one: A) => string): ReadonlyArray<Array<A>> {
    const { slotOf } = this.events
    if (slotOf === undefined) {
      return Array.from(
        { length: Math.ceil(all.length / chunk) },
        (_, index) => all.slice(index * chunk, (index + 1) * chunk)
      )
    }
    const groups = new Map<number, Array<A>>()
    for (const one of all) {
      const slot = slotOf(name(one))
      const group = groups.get(slot)
      if (group === undefined) groups.set(slot, [one])
      else group.push(one)
    }
    return Array.from(groups.values())
  }
}

const nameOf = ({ name }: Subscription): string => name

const isMoved = (error: unknown): boolean => error instanceof Error && error.message.startsWith("MOVED")
