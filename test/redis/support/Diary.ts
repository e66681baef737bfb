/** What a node says of itself, again and again, while something is done to it. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as HubNode from "./HubNode.js"

interface Entry {
  readonly at: number
  /** What `/ready` said just before and just after `/metrics`. */
  readonly ready: readonly [boolean, boolean]
  readonly took: number
  readonly connections: number
  readonly reconnects: number
  readonly resubscribes: number
  readonly errors: number
}

const counters = ["reconnects", "resubscribes", "errors"] as const

type Counter = typeof counters[number]

/** The shortest time in which a connection is made again: what is asked within less was not overtaken by that. */
const shortestReconnect = 25

export class Diary {
  readonly node: HubNode.HubNode
  private readonly entries: Array<Entry> = []
  private readonly turn = Effect.unsafeMakeSemaphore(1)
  private unanswered = 0

  private constructor(node: HubNode.HubNode) {
    this.node = node
  }

  /** Asks the node every 200 milliseconds, until the scope closes. */
  static readonly keep = (node: HubNode.HubNode): Effect.Effect<Diary, never, Scope.Scope> =>
    Effect.gen(function*() {
      const diary = new Diary(node)
      yield* diary.look
      yield* Effect.forkScoped(Effect.forever(Effect.zipRight(Effect.sleep("200 millis"), diary.look)))
      return diary
    })

  /** Asks it once. */
  get look(): Effect.Effect<void> {
    return Effect.gen(this, function*() {
      const at = performance.now()
      const before = yield* HubNode.ready(this.node)
      const metrics = yield* HubNode.metrics(this.node)
      const after = yield* HubNode.ready(this.node)
      this.entries.push({
        at,
        ready: [before, after],
        took: performance.now() - at,
        connections: metrics("ws_hub_redis_connections"),
        reconnects: metrics("ws_hub_redis_reconnects_total"),
        resubscribes: metrics("ws_hub_redis_resubscribes_total"),
        errors: metrics("ws_hub_redis_errors_total")
      })
    }).pipe(Effect.catchAll(() => Effect.sync(() => void this.unanswered++)), this.turn.withPermits(1))
  }

  /** What it said, each as often as it changed. */
  get ready(): ReadonlyArray<boolean> {
    const said = this.entries.flatMap(({ ready }) => ready)
    return said.filter((ready, at) => ready !== said[at - 1])
  }

  /** What was added to a counter. */
  added(counter: Counter): number {
    const [first] = this.entries
    const last = this.entries.at(-1)
    return first === undefined || last === undefined ? NaN : last[counter] - first[counter]
  }

  /** The times between these two at which it said that it is ready, or that it is not. */
  said(ready: boolean, from: number, to: number): ReadonlyArray<number> {
    return this.entries.filter((entry) => entry.at >= from && entry.at <= to && entry.ready.includes(ready)).map((
      entry
    ) => entry.at)
  }

  /**
   * It answered always, and its counters never went back. With one server it is ready exactly while it has both
   * connections: nothing is hidden, and nothing is made up.
   */
  check(): void {
    assert.strictEqual(this.unanswered, 0, "it did not answer")
    const [first] = this.entries
    for (const [at, entry] of this.entries.entries()) {
      const before = this.entries[at - 1] ?? entry
      for (const counter of counters) assert.isAtLeast(entry[counter], before[counter], counter)
      const [ready, still] = entry.ready
      if (first?.connections === 2 && ready === still && entry.took < shortestReconnect) {
        assert.strictEqual(entry.connections === 2, ready, JSON.stringify(entry))
      }
    }
  }
}
