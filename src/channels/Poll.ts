/**
 * One question to many nodes, and the answers that come.
 *
 * @since 1.0.0
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import type { Answers } from "./Cluster.js"

/** @internal */
export class Poll {
  private readonly waiting: Set<string>
  private readonly isEnough: ((answer: string) => boolean) | undefined
  private readonly answers: Array<Answers["answers"][number]> = []
  private readonly over = Deferred.unsafeMake<void>(FiberId.none)

  constructor(nodes: Iterable<string>, isEnough?: (answer: string) => boolean) {
    this.waiting = new Set(nodes)
    this.isEnough = isEnough
    if (this.waiting.size === 0) this.end()
  }

  /** A second answer, and one of a node that was not asked, do not count. */
  take(node: string, answer: string): void {
    if (!this.waiting.delete(node)) return
    this.answers.push({ node, answer })
    if (this.isEnough?.(answer) === true) this.waiting.clear()
    if (this.waiting.size === 0) this.end()
  }

  private end(): void {
    Deferred.unsafeDone(this.over, Effect.void)
  }

  /** All answers, or those that came within so many milliseconds. */
  within(patience: number): Effect.Effect<Answers> {
    return Effect.map(Effect.timeoutOption(Deferred.await(this.over), patience), () => ({
      answers: this.answers,
      missing: [...this.waiting]
    }))
  }
}
