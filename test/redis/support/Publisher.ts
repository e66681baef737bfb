/** Publishes 200 times per second, whatever happens. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as HubNode from "./HubNode.js"
import type { Ledger } from "./Witness.js"

const again = (waiting: Array<() => void>): Effect.Effect<void> =>
  Effect.async((resume) => {
    waiting.push(() => resume(Effect.void))
  })

/** How many in a second. */
const rate = 200

export class Publisher {
  readonly done = { tried: 0, acknowledged: 0, failed: 0 }
  readonly errors = new Set<string>()
  private readonly since = performance.now()
  private readonly published: Array<readonly [HubNode.Position, unknown]> = []
  private readonly onDone: Array<() => void> = []
  private readonly onFailed: Array<() => void> = []

  private once(at: { readonly port: number }, channel: string): Effect.Effect<void> {
    return Effect.suspend(() => {
      const data = ++this.done.tried
      return Effect.match(HubNode.publish(at, channel, data), {
        onFailure: (error) => {
          this.done.failed++
          this.errors.add(error.message)
          for (const resume of this.onFailed.splice(0)) resume()
        },
        onSuccess: ({ epoch, offset }) => {
          this.done.acknowledged++
          if (epoch !== undefined && offset !== undefined) this.published.push([{ epoch, offset }, data])
          for (const resume of this.onDone.splice(0)) resume()
        }
      })
    })
  }

  /** What is due by now, also if there was no time for it when it was. */
  private get due(): number {
    return Math.floor((performance.now() - this.since) * rate / 1000) - this.done.tried
  }

  /** How many it has tried in a second, on average. */
  get rate(): number {
    return this.done.tried * 1000 / (performance.now() - this.since)
  }

  /** Completes when as many more are acknowledged. */
  next(count: number): Effect.Effect<void> {
    return Effect.repeatN(again(this.onDone), count - 1)
  }

  /** Completes when as many more have failed. */
  fails(count: number): Effect.Effect<void> {
    return Effect.repeatN(again(this.onFailed), count - 1)
  }

  /** What was acknowledged is where it was said to be. */
  check(ledger: Ledger): void {
    for (const [position, data] of this.published) ledger.enter(position, data, "the publisher")
  }

  /** Publishes until it is stopped, which waits for what is on its way. */
  static readonly make = (
    at: { readonly port: number },
    channel: string
  ): Effect.Effect<{ readonly publisher: Publisher; readonly stop: Effect.Effect<void> }, never, Scope.Scope> =>
    Effect.gen(function*() {
      const publisher = new Publisher()
      const pending = yield* FiberSet.make<void>()
      const run = yield* FiberSet.runtime(pending)<never>()
      const fiber = yield* Effect.sync(() => {
        for (let left = publisher.due; left > 0; left--) run(publisher.once(at, channel))
      }).pipe(
        Effect.repeat(Schedule.spaced("5 millis")),
        Effect.forkScoped
      )
      return { publisher, stop: Effect.zipRight(Fiber.interrupt(fiber), FiberSet.awaitEmpty(pending)) }
    })
}
