/**
 * A cluster within one process: what two nodes are tested with.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Answers, Ask, Cluster, Member } from "./Cluster.js"
import { monotonic } from "./ExpiringMap.js"
import { Poll } from "./Poll.js"

/** Milliseconds. */
interface Times {
  /** How long a node is known after it was last heard of. */
  readonly lease: number
  /** How long answers are waited for. */
  readonly timeout: number
}

class Lease {
  readonly member: Member
  readonly scope: Scope.Scope
  until = 0
  isAlive = true

  constructor(member: Member, scope: Scope.Scope) {
    this.member = member
    this.scope = scope
  }
}

/** @internal */
export class MemoryCluster {
  private readonly leases = new Map<string, Lease>()
  private readonly now: () => number
  private readonly times: Times

  private constructor(now: () => number, times: Times) {
    this.now = now
    this.times = times
  }

  static make({ lease = 10_000, timeout = 1000 }: Partial<Times> = {}): Effect.Effect<MemoryCluster> {
    return Effect.map(monotonic, (now) => new MemoryCluster(now, { lease, timeout }))
  }

  readonly cluster: Cluster["Type"] = {
    join: (member) =>
      Effect.gen(this, function*() {
        const lease = new Lease(member, yield* Effect.scope)
        yield* Effect.acquireRelease(
          Effect.sync(() => {
            this.renew(lease)
            this.leases.set(member.uid, lease)
          }),
          () => Effect.sync(() => this.leases.delete(member.uid))
        )
        yield* Effect.sync(() => this.renew(lease)).pipe(
          Effect.delay(this.times.lease / 3),
          Effect.forever,
          Effect.interruptible,
          Effect.forkScoped
        )
        const ask: Ask = (request, isEnough) => Effect.suspend(() => this.ask(member, request, isEnough))
        return ask
      })
  }

  /** The node is gone, and could not say so. */
  kill(uid: string): void {
    const lease = this.leases.get(uid)
    if (lease !== undefined) lease.isAlive = false
  }

  private renew(lease: Lease): void {
    if (lease.isAlive) lease.until = this.now() + this.times.lease
  }

  private ask(
    { uid }: Member,
    request: string,
    isEnough: ((answer: string) => boolean) | undefined
  ): Effect.Effect<Answers> {
    const now = this.now()
    for (const [other, { until }] of this.leases) if (now >= until) this.leases.delete(other)
    const others = [...this.leases.values()].filter(({ member }) => member.uid !== uid)
    const poll = new Poll(others.map(({ member }) => member.uid), isEnough)
    // In the other node's care, as if it were another process: it does not see who waits for it.
    const tell = ({ isAlive, member, scope }: Lease) =>
      isAlive
        ? Effect.forkIn(
          Effect.interruptible(Effect.map(member.answer(request), (answer) => poll.take(member.uid, answer))),
          scope
        )
        : Effect.void
    return Effect.zipRight(Effect.forEach(others, tell, { discard: true }), poll.within(this.times.timeout))
  }
}
