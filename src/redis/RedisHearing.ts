/**
 * What is listened to on one server.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import { attempt, ping, type RedisClient, type RedisFailure } from "./RedisClient.js"
import { RedisLink } from "./RedisLink.js"
import * as Metrics from "./RedisMetrics.js"
import type { RedisConfig, RedisServer } from "./RedisOptions.js"
import { late } from "./RedisReading.js"
import { groupsOf, isMoved, nameOf, Subscription, type Waiter } from "./RedisSubscription.js"

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

  constructor(config: RedisConfig, locate: Effect.Effect<RedisServer, RedisFailure>, ear: Ear, events: HearingEvents) {
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

  /** Fails at the deadline: then nobody wants the name, unless somebody else waits for it. */
  subscribe(
    owner: string,
    name: string,
    done: Waiter,
    deadline = performance.now() + this.config.commandTimeout
  ): void {
    const found = this.subscriptions.get(name)
    if (found?.isHeard === true) return done(undefined)
    if (!this.link.isReady) return done(notConnected())
    const subscription = found ?? new Subscription(owner, name)
    subscription.isWanted = true
    this.lingering.delete(subscription)
    this.subscriptions.set(name, subscription)
    if (subscription.state === "Lost") {
      subscription.state = "Joining"
      this.joining.push(subscription)
    } else if (subscription.state === "Live" && subscription.waiters.length === 0) this.returning.push(subscription)
    subscription.wait(done, deadline - performance.now(), () => {
      if (subscription.waiters.length === 0) this.unsubscribe(name)
      return late(this.config)
    })
    this.flushing ??= setImmediate(this.flush)
  }

  /** Whoever waits for it waits no longer. */
  unsubscribe(name: string): void {
    const found = this.subscriptions.get(name)
    if (found === undefined || !found.isWanted) return
    found.isWanted = found.isHeard = false
    found.leaveAt = performance.now() + this.config.linger
    this.lingering.add(found)
    this.sweep ??= setTimeout(this.expire, this.config.linger)
    found.answer(undefined)
  }

  /** Ends all that waits. */
  close(): void {
    this.lose()
    for (const subscription of this.subscriptions.values()) this.drop(subscription, notConnected())
    clearTimeout(this.sweep)
    clearImmediate(this.flushing)
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
      if (subscription.state === "Live" || subscription.state === "Lost" && this.link.isReady) {
        this.drop(subscription, undefined)
      } else {
        subscription.leaveAt = now + Math.max(this.config.linger, leastLinger)
        this.lingering.delete(subscription)
        this.lingering.add(subscription)
      }
    }
  }

  private readonly flush = (): void => {
    this.flushing = undefined
    const { events: { slotOf }, joining, leaving, link: { client }, returning } = this
    this.joining = []
    this.leaving = []
    this.returning = []
    if (client === undefined) return
    for (const group of groupsOf(leaving, (name) => name, slotOf)) {
      this.leave(client, group).catch(() => {
        // The connection is lost, or the slot has moved, and the subscription with it.
      })
    }
    this.joinAll(client, joining.filter((subscription) => this.subscriptions.get(subscription.name) === subscription))
    // What was published while nobody wanted it may still be on its way: it comes before the answer.
    if (returning.length > 0) {
      ping(client).then(
        () => this.settle(returning, "Live", undefined),
        (error: unknown) => this.settle(returning, "Live", error)
      )
    }
  }

  private joinAll(client: RedisClient, subscriptions: ReadonlyArray<Subscription>): void {
    for (const subscription of subscriptions) subscription.state = "Joining"
    for (const group of groupsOf(subscriptions, nameOf, this.events.slotOf)) {
      this.join(client, group).then(
        () => this.settle(group, "Joining", undefined),
        (error: unknown) => this.settle(group, "Joining", error)
      )
    }
  }

  /**
   * The only way to become live. Who waits is told; who was told before hears of a gap, if there was one. Those that are
   * in another state by now are in other hands: lost again, or moved.
   */
  private settle(subscriptions: ReadonlyArray<Subscription>, from: Subscription["state"], error: unknown): void {
    let isRefused = false
    const gaps: Array<string> = []
    for (const subscription of subscriptions) {
      const { isHeard, isWanted, name, owner, state } = subscription
      if (state !== from || this.subscriptions.get(name) !== subscription) continue
      if (error === undefined) {
        subscription.state = "Live"
        subscription.isHeard = isWanted
        if (isHeard) gaps.push(owner)
        subscription.answer(undefined)
      } else if (isHeard) {
        subscription.state = "Lost"
        isRefused = true
      } else this.drop(subscription, error)
    }
    if (gaps.length > 0) Metrics.resubscribes.unsafeUpdate(gaps.length, [])
    for (const owner of gaps) this.ear.onGap(owner)
    if (isRefused) this.events.onMoved?.()
  }

  /** Forgets a name. Who waits for it is told of the error. */
  private drop(subscription: Subscription, error: unknown): void {
    this.subscriptions.delete(subscription.name)
    this.lingering.delete(subscription)
    if (subscription.state === "Live") {
      this.leaving.push(subscription.name)
      this.flushing ??= setImmediate(this.flush)
    }
    subscription.answer(error)
  }

  private lose(): void {
    for (const subscription of this.subscriptions.values()) {
      subscription.state = "Lost"
      if (!subscription.isHeard) this.drop(subscription, notConnected())
    }
  }

  private restore(client: RedisClient): Effect.Effect<void, RedisFailure> {
    // What was left since is not subscribed again; an attempt before this one may have got half of it.
    this.lose()
    const joinAll = (group: ReadonlyArray<Subscription>) =>
      attempt(() => this.join(client, group)).pipe(
        Effect.map(() => {
          for (const subscription of group) subscription.state = "Restored"
        }),
        Effect.catchIf(isMoved, () => Effect.void)
      )
    client.on("sharded-channel-moved", (name: string) => this.moved(name))
    const lost = Array.from(this.subscriptions.values())
    return Effect.forEach(groupsOf(lost, nameOf, this.events.slotOf), joinAll, {
      discard: true,
      concurrency: this.slotted ? 100 : 1
    })
  }

  private restored(): void {
    this.settle(Array.from(this.subscriptions.values()), "Restored", undefined)
    this.rejoin()
  }

  /** Gives up the names that do not stay, and returns those that are to be heard elsewhere. */
  release(stays: (name: string) => boolean): ReadonlyArray<Subscription> {
    const released = Array.from(this.subscriptions.values()).filter(({ name }) => !stays(name))
    for (const subscription of released) this.drop(subscription, new Error("MOVED"))
    return released.filter(({ isHeard }) => isHeard)
  }

  /** Takes a name that was heard elsewhere; `rejoin` subscribes it. */
  adopt(subscription: Subscription): void {
    subscription.state = "Lost"
    this.subscriptions.set(subscription.name, subscription)
  }

  /** Subscribes what was lost though the connection is not. */
  rejoin(): void {
    const { client } = this.link
    if (client === undefined) return
    this.joinAll(
      client,
      Array.from(this.subscriptions.values()).filter(({ isHeard, state, waiters }) =>
        state === "Lost" && (isHeard || waiters.length > 0)
      )
    )
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
}
