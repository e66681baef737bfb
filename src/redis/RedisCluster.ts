/**
 * A Redis Cluster: its nodes share 16384 slots, and move them among each other.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Scope from "effect/Scope"
import { type Place, RedisCalls } from "./RedisCalls.js"
import type { Ear, HearingEvents } from "./RedisHearing.js"
import type { Done } from "./RedisLink.js"
import type { RedisConfig, RedisServer } from "./RedisOptions.js"
import { askRanges, type Range } from "./RedisRanges.js"
import { RedisShard, type RedisTopology } from "./RedisShard.js"
import { ownerSlot, slotCount, slotOf } from "./RedisSlots.js"
import { isMoved, type Subscription, type Waiter } from "./RedisSubscription.js"

/** A node that has slots, or was named by one. */
interface Member extends Place {
  readonly scope: Scope.CloseableScope
  hasSlots: boolean
  /** Since it was looked last who has slots. */
  isNamed: boolean
}

/** Milliseconds before a name is subscribed again that has moved. */
const pause = 50

/** The Cluster is asked for its slots at least so often, and at most. */
const longestRefresh = 2000
const shortestRefresh = 100

/**
 * Each node has a connection for commands and one to hear; names follow their slots.
 *
 * @internal
 */
export class RedisCluster implements RedisTopology {
  readonly publishing = "SPUBLISH"
  private readonly members = new Map<string, Member>()
  private slots: ReadonlyArray<Member | undefined> = []
  /** Where slots are, by the word of who had them, since it was looked last. */
  private readonly named = new Map<number, Member>()
  private readonly calls: RedisCalls
  /** Names that are subscribed again in a moment. */
  private readonly paused = new Set<{ readonly name: string; readonly done: Waiter; readonly timer: NodeJS.Timeout }>()
  private join: (address: string) => void = () => {}
  /** Names that are heard, whose slot nobody has now. */
  private homeless: Array<Subscription> = []
  private readonly asked = Effect.unsafeMakeLatch(false)
  private readonly config: RedisConfig
  private readonly seeds: ReadonlyArray<RedisServer>
  private readonly ear: Ear
  private readonly onConnected: () => void

  constructor(config: RedisConfig, seeds: ReadonlyArray<RedisServer>, ear: Ear, onConnected: () => void) {
    this.config = config
    this.seeds = seeds
    this.ear = ear
    this.onConnected = onConnected
    this.calls = new RedisCalls(config, {
      ownerOf: (slot) => this.named.get(slot) ?? this.slots[slot],
      at: (address) => this.at(address),
      moved: (slot, address) => {
        const member = this.at(address)
        if (member !== undefined) this.named.set(slot, member)
      },
      refresh: () => this.refresh()
    })
  }

  get isConnected(): boolean {
    return this.slots.length === slotCount && !this.slots.includes(undefined) &&
      Array.from(this.members.values()).every(({ hasSlots, shard }) => !hasSlots || shard.isReady)
  }

  /** A Cluster has no other. */
  databaseOf(): number {
    return 0
  }

  command(owner: string, args: Array<string>, runAt: number, weight: number, done: Done): void {
    this.calls.call(ownerSlot(owner), args, runAt, weight, done)
  }

  subscribe(
    owner: string,
    name: string,
    done: Waiter,
    deadline = performance.now() + this.config.commandTimeout
  ): void {
    const member = this.slots[slotOf(name)]
    if (member === undefined) return done(new Error("Redis is not connected"))
    member.shard.hearing.subscribe(owner, name, (error) => {
      if (!isMoved(error) || performance.now() >= deadline) return done(error)
      this.refresh()
      const timer = setTimeout(() => {
        this.paused.delete(waiting)
        this.subscribe(owner, name, done, deadline)
      }, pause)
      const waiting = { name, done, timer }
      this.paused.add(waiting)
    }, deadline)
  }

  unsubscribe(_: string, name: string): void {
    this.homeless = this.homeless.filter((subscription) => subscription.name !== name)
    this.slots[slotOf(name)]?.shard.hearing.unsubscribe(name)
    this.resume((waiting) => waiting.name === name, undefined)
  }

  /** Ends pauses: nothing is subscribed after them. */
  private resume(which: (waiting: { readonly name: string }) => boolean, error: unknown): void {
    for (const waiting of this.paused) {
      if (!which(waiting)) continue
      this.paused.delete(waiting)
      clearTimeout(waiting.timer)
      waiting.done(error)
    }
  }

  get keep(): Effect.Effect<void, never, Scope.Scope> {
    return Effect.gen(this, function*() {
      const scope = yield* Effect.scope
      const fork = yield* FiberSet.makeRuntime<never>().pipe(Effect.interruptible)
      this.join = (address) => void fork(Effect.uninterruptible(this.member(address, scope)))
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          this.join = () => {}
          this.calls.close()
          this.resume(() => true, new Error("Redis is not connected"))
        })
      )
      let failures = 0
      const refresh = Effect.gen(this, function*() {
        this.asked.unsafeClose()
        const connected = Array.from(this.members.values()).flatMap(({ address, shard }) => {
          const { client } = shard.commands
          return client === undefined ? [] : [[this.serverOf(address), client] as const]
        })
        const ranges = yield* askRanges(this.config, connected, this.seeds)
        failures = 0
        yield* Effect.uninterruptible(this.apply(ranges, scope))
      }).pipe(Effect.catchAll(({ message }) =>
        failures++ === 0
          ? Effect.logWarning(`No word from the Cluster: ${message}`)
          : Effect.logDebug(`Still no word from the Cluster: ${message}`)
      ))
      yield* Effect.gen(this, function*() {
        yield* refresh
        const wait = this.slots.length === 0 ? this.config.retryInterval : longestRefresh
        yield* Effect.raceFirst(this.asked.await, Effect.sleep(wait))
        yield* Effect.sleep(shortestRefresh)
      }).pipe(Effect.forever, Effect.interruptible, Effect.forkIn(scope))
    })
  }

  /** Asks the Cluster again, soon. */
  private refresh(): void {
    this.asked.unsafeOpen()
  }

  private serverOf(address: string): RedisServer {
    const [seed] = this.seeds
    if (seed === undefined) throw new Error("BUG: no server")
    const colon = address.lastIndexOf(":")
    return { ...seed, host: address.slice(0, colon), port: Number(address.slice(colon + 1)) }
  }

  /** Connects to nodes that have slots now, leaves those that have none any more, and moves names to where they belong. */
  private apply(ranges: ReadonlyArray<Range>, scope: Scope.Scope): Effect.Effect<void> {
    return Effect.gen(this, function*() {
      const owners = new Set<Member>()
      const slots: Array<Member | undefined> = new Array(slotCount).fill(undefined)
      for (const { address, from, to } of ranges) {
        const owner = yield* this.member(address, scope)
        owners.add(owner)
        slots.fill(owner, from, to + 1)
      }
      this.slots = slots
      this.named.clear()
      const members = Array.from(this.members.values())
      for (const member of members) {
        member.hasSlots = owners.has(member)
        this.homeless.push(...member.shard.hearing.release((name) => slots[slotOf(name)] === member))
      }
      this.homeless = this.homeless.filter((subscription) => {
        const owner = slots[slotOf(subscription.name)]
        owner?.shard.hearing.adopt(subscription)
        return owner === undefined
      })
      for (const { shard } of owners) shard.hearing.rejoin()
      for (const member of members) {
        const isOver = !member.hasSlots && !member.isNamed
        member.isNamed = false
        if (!isOver) continue
        this.members.delete(member.address)
        yield* Scope.close(member.scope, Exit.void)
      }
      if (this.isConnected) this.onConnected()
    })
  }

  /** Who a node has named. */
  private at(address: string): Member | undefined {
    if (!this.members.has(address)) this.join(address)
    const member = this.members.get(address)
    if (member !== undefined) member.isNamed = true
    return member
  }

  /** Connects to a node, if that was not so yet. */
  private member(address: string, parent: Scope.Scope): Effect.Effect<Member> {
    const known = this.members.get(address)
    if (known !== undefined) return Effect.succeed(known)
    return Effect.gen(this, function*() {
      const events: HearingEvents & { onFailed: () => void } = {
        slotOf,
        onReady: () => {
          if (this.isConnected) this.onConnected()
        },
        onMoved: () => this.refresh(),
        onFailed: () => this.refresh()
      }
      const scope = yield* Scope.fork(parent, ExecutionStrategy.sequential)
      const other = this.members.get(address)
      if (other !== undefined) return other
      const shard = new RedisShard(this.config, Effect.succeed(this.serverOf(address)), this.ear, events)
      const member = { address, shard, scope, hasSlots: false, isNamed: false }
      this.members.set(address, member)
      yield* Scope.extend(shard.keep, scope)
      return member
    })
  }
}
