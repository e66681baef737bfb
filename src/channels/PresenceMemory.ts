/**
 * Who is in a channel, for a hub of one process.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { type Expiring, ExpiringMap, monotonic } from "./ExpiringMap.js"
import { Presence, type PresenceStats } from "./Presence.js"
import type { ClientInfo } from "./Publication.js"

interface Lease {
  readonly info: ClientInfo
  readonly until: number
}

/** Leases by client, in the order in which they end. */
interface Leases {
  readonly byClient: Map<string, Lease>
  /**
   * None ends before. A map is not asked for its first entry without need: it would step over all that were renewed
   * since it last made room.
   */
  first: number
}

/** Who is in one channel. */
class Members implements Expiring {
  /** By `ttl`: the order in which leases were made is then the order in which they end. One, as a rule. */
  private readonly leases = new Map<number, Leases>()
  /** How many clients each user has. */
  private readonly users = new Map<string, number>()

  add(info: ClientInfo, ttl: number, now: number): void {
    this.remove(info.client)
    const found = this.leases.get(ttl)
    const until = now + ttl
    const leases = found ?? { byClient: new Map<string, Lease>(), first: until }
    if (found === undefined) this.leases.set(ttl, leases)
    leases.byClient.set(info.client, { info, until })
    this.users.set(info.user, (this.users.get(info.user) ?? 0) + 1)
  }

  remove(client: string): void {
    for (const [ttl, leases] of this.leases) {
      const lease = leases.byClient.get(client)
      if (lease !== undefined) return this.end(ttl, leases, lease)
    }
  }

  expire(now: number): boolean {
    for (const [ttl, leases] of this.leases) {
      if (now < leases.first) continue
      for (const lease of leases.byClient.values()) {
        leases.first = lease.until
        if (now < lease.until) break
        this.end(ttl, leases, lease)
      }
    }
    return this.leases.size === 0
  }

  get all(): ReadonlyMap<string, ClientInfo> {
    const all = new Map<string, ClientInfo>()
    for (const leases of this.leases.values()) {
      for (const { info } of leases.byClient.values()) all.set(info.client, info)
    }
    return all
  }

  get stats(): PresenceStats {
    let clients = 0
    for (const leases of this.leases.values()) clients += leases.byClient.size
    return { clients, users: this.users.size }
  }

  private end(ttl: number, leases: Leases, { info: { client, user } }: Lease): void {
    leases.byClient.delete(client)
    if (leases.byClient.size === 0) this.leases.delete(ttl)
    const left = (this.users.get(user) ?? 0) - 1
    if (left > 0) this.users.set(user, left)
    else this.users.delete(user)
  }
}

/**
 * Everybody in all channels.
 *
 * @internal
 */
export class MemoryPresence {
  readonly channels: ExpiringMap<Members>
  private readonly now: () => number

  private constructor(channels: ExpiringMap<Members>, now: () => number) {
    this.channels = channels
    this.now = now
  }

  static readonly make: Effect.Effect<MemoryPresence, never, Scope.Scope> = Effect.gen(function*() {
    const now = yield* monotonic
    return new MemoryPresence(yield* ExpiringMap.make<Members>(now), now)
  })

  readonly presence: Presence["Type"] = {
    add: (channel, info, ttl) =>
      Effect.sync(() => {
        const now = this.now()
        const found = this.channels.get(channel, now)
        const members = found ?? new Members()
        members.add(info, ttl, now)
        if (found === undefined) this.channels.set(channel, members)
      }),
    remove: (channel, info) =>
      Effect.sync(() => {
        const now = this.now()
        const members = this.channels.get(channel, now)
        if (members === undefined) return
        members.remove(info.client)
        if (members.expire(now)) this.channels.delete(channel)
      }),
    get: (channel) => Effect.sync(() => this.channels.get(channel, this.now())?.all ?? new Map<string, ClientInfo>()),
    stats: (channel) => Effect.sync(() => this.channels.get(channel, this.now())?.stats ?? { clients: 0, users: 0 })
  }
}

/**
 * Makes a presence in memory, for as long as the current scope is open.
 *
 * @since 1.0.0
 * @category constructors
 */
export const make: Effect.Effect<Presence["Type"], never, Scope.Scope> = Effect.map(
  MemoryPresence.make,
  ({ presence }) => presence
)

/**
 * Who is in a channel, for a hub of one process. Times follow the `Clock`; who has left without a word is not seen after
 * the lease, and the memory is given back within a few seconds.
 *
 * @since 1.0.0
 * @category layers
 */
export const layer: Layer.Layer<Presence> = Layer.scoped(Presence, make)
