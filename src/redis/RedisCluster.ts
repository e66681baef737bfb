/**
 * A Redis Cluster: its nodes share 16384 slots, and move them among each other.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { ask, attempt, failure, RedisFailure } from "./RedisClient.js"
import type { Ear, HearingEvents } from "./RedisHearing.js"
import type { Done } from "./RedisLink.js"
import type { RedisConfig, RedisServer } from "./RedisOptions.js"
import { RedisShard, type RedisTopology } from "./RedisShard.js"
import { ownerSlot, slotCount, slotOf } from "./RedisSlots.js"
import { isMoved, type Subscription } from "./RedisSubscription.js"

/** A node that has slots. */
interface Member {
  readonly address: string
  readonly shard: RedisShard
  readonly scope: Scope.CloseableScope
}

/** As the Cluster tells it: who has which slots. */
interface Range {
  readonly from: number
  readonly to: number
  readonly host: string
  readonly port: number
}

const rangesOf = (reply: unknown, asked: RedisServer): ReadonlyArray<Range> => {
  if (!Array.isArray(reply) || reply.length === 0) throw new Error("the Cluster has no slots yet")
  return reply.map((range: unknown) => {
    const [from, to, master] = range as readonly [number, number, readonly [string | null, number]]
    const host = master[0] === null || master[0] === "" || master[0] === "?" ? asked.host : master[0]
    return { from: Number(from), to: Number(to), host, port: Number(master[1]) }
  })
}

/** Attempts at one command, of which all but the last were sent elsewhere, or were too early. */
const mostAttempts = 8
const pause = 25

/** The Cluster is asked for its slots at least so often, and at most. */
const longestRefresh = 10_000
const shortestRefresh = 100

/**
 * Each node has a connection for commands and one to hear; names follow their slots.
 *
 * @internal
 */
export class RedisCluster implements RedisTopology {
  readonly publishing = "SPUBLISH"
  private members: ReadonlyMap<string, Member> = new Map()
  private slots: ReadonlyArray<RedisShard | undefined> = []
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
  }

  get isConnected(): boolean {
    return this.slots.length === slotCount && !this.slots.includes(undefined) &&
      Array.from(this.members.values()).every(({ shard }) => shard.isReady)
  }

  command(owner: string, args: Array<string>, runAt: number, weight: number, done: Done, attempt = 1): void {
    const shard = this.slots[ownerSlot(owner)]
    if (shard === undefined) return done(new Error("Redis is not connected"), undefined)
    this.attempt(
      shard,
      args,
      runAt,
      weight,
      done,
      () => this.command(owner, args, runAt, weight, done, attempt + 1),
      attempt
    )
  }

  private attempt(
    shard: RedisShard,
    args: Array<string>,
    runAt: number,
    weight: number,
    done: Done,
    again: () => void,
    attempt: number
  ): void {
    shard.command(args, runAt, weight, (error, reply) => {
      if (!(error instanceof Error) || attempt >= mostAttempts) return done(error, reply)
      const [kind, , address = ""] = error.message.split(" ")
      if (kind === "MOVED" || kind === "CLUSTERDOWN") this.refresh()
      if (kind === "MOVED" || kind === "TRYAGAIN") return void setTimeout(again, pause * attempt)
      if (kind !== "ASK") return done(error, reply)
      const target = this.members.get(address)
      if (target === undefined) {
        this.refresh()
        return void setTimeout(again, pause * attempt)
      }
      // The next command on this connection, and only that, may use a slot that is on its way there.
      target.shard.commands.command(["ASKING"], 0, () => {})
      this.attempt(target.shard, args, runAt, weight, done, again, attempt + 1)
    })
  }

  subscribe(owner: string, name: string, done: (error: unknown) => void, attempt = 1): void {
    const shard = this.slots[slotOf(name)]
    if (shard === undefined) return done(new Error("Redis is not connected"))
    shard.hearing.subscribe(owner, name, (error) => {
      if (!isMoved(error) || attempt >= mostAttempts) return done(error)
      this.refresh()
      setTimeout(() => this.subscribe(owner, name, done, attempt + 1), pause * attempt)
    })
  }

  unsubscribe(_: string, name: string): void {
    this.homeless = this.homeless.filter((subscription) => subscription.name !== name)
    this.slots[slotOf(name)]?.hearing.unsubscribe(name)
  }

  get keep(): Effect.Effect<void, never, Scope.Scope> {
    return Effect.gen(this, function*() {
      const scope = yield* Effect.scope
      let failures = 0
      const refresh = Effect.gen(this, function*() {
        this.asked.unsafeClose()
        const ranges = yield* this.askSlots
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

  private get askSlots(): Effect.Effect<ReadonlyArray<Range>, RedisFailure> {
    const known = Array.from(this.members.values()).flatMap(({ address, shard }) => {
      const { client } = shard.commands
      return client === undefined ? [] : [[this.serverOf(address), client] as const]
    })
    const asked = [
      ...known.map(([server, client]) =>
        attempt((): Promise<unknown> => client.sendCommand(["CLUSTER", "SLOTS"]))
          .pipe(
            Effect.timeoutFail({ duration: this.config.commandTimeout, onTimeout: () => failure("no answer") }),
            Effect.map((reply) => [reply, server] as const)
          )
      ),
      ...this.seeds.map((server) =>
        Effect.map(ask(server, this.config, ["CLUSTER", "SLOTS"]), (reply) => [reply, server] as const)
      )
    ]
    return Effect.validateFirst(
      asked,
      (effect) =>
        Effect.flatMap(
          effect,
          ([reply, server]) =>
            Effect.try({ try: () => rangesOf(reply, server), catch: (cause) => new RedisFailure({ cause }) })
        )
    ).pipe(
      Effect.mapError((errors) => failure(Array.from(new Set(errors.map(({ message }) => message))).join(", ")))
    )
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
      const members = new Map<string, Member>()
      for (const { host, port } of ranges) {
        const address = `${host}:${port}`
        if (members.has(address)) continue
        members.set(address, this.members.get(address) ?? (yield* this.join(address, scope)))
      }
      const slots: Array<RedisShard | undefined> = new Array(slotCount).fill(undefined)
      for (const { from, host, port, to } of ranges) slots.fill(members.get(`${host}:${port}`)?.shard, from, to + 1)
      const before = this.members
      this.members = members
      this.slots = slots
      for (const { shard } of before.values()) {
        this.homeless.push(...shard.hearing.release((name) => slots[slotOf(name)] === shard))
      }
      this.homeless = this.homeless.filter((subscription) => {
        const shard = slots[slotOf(subscription.name)]
        shard?.hearing.adopt(subscription)
        return shard === undefined
      })
      for (const { shard } of members.values()) shard.hearing.rejoin()
      for (const [address, member] of before) {
        if (!members.has(address)) yield* Scope.close(member.scope, Exit.void)
      }
      if (this.isConnected) this.onConnected()
    })
  }

  private join(address: string, parent: Scope.Scope): Effect.Effect<Member> {
    return Effect.gen(this, function*() {
      const scope = yield* Scope.fork(parent, ExecutionStrategy.sequential)
      const events: HearingEvents & { onFailed: () => void } = {
        slotOf,
        onReady: () => {
          if (this.isConnected) this.onConnected()
        },
        onMoved: () => this.refresh(),
        onFailed: () => this.refresh()
      }
      const shard = new RedisShard(this.config, Effect.succeed(this.serverOf(address)), this.ear, events)
      yield* Scope.extend(shard.keep, scope)
      return { address, shard, scope }
    })
  }
}
