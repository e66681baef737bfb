/**
 * One at a time.
 *
 * @since 1.0.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

interface Turn {
  wake: () => void
  /** It is done, or was given up. */
  isOver: boolean
}

const nobody: Array<Turn> = []

/**
 * A semaphore of one permit that is fair, wakes one fiber at a time, and loses no permit to an interrupt: Effect's own
 * takes the permit while it can be interrupted, and a fiber that yields just then and is interrupted never gives it back.
 * Whoever waits here may be interrupted; who has the lock cannot be before it is certain that it is given back.
 *
 * @internal
 */
export class Lock {
  private isHeld = false
  /** In their order; those before `head` are over. Most locks are never waited for. */
  private waiting = nobody
  private head = 0

  /** Who is next. Those who gave up before him are forgotten. */
  private findNext(): Turn | undefined {
    while (this.waiting[this.head]?.isOver === true) this.head++
    if (this.head >= 1024) {
      this.waiting = this.waiting.slice(this.head)
      this.head = 0
    }
    const found = this.waiting[this.head]
    if (found === undefined) {
      this.waiting = nobody
      this.head = 0
    }
    return found
  }

  private wakeNext(): void {
    if (!this.isHeld) this.findNext()?.wake()
  }

  /** Whether nobody has it, or waits for it. */
  get isFree(): boolean {
    return !this.isHeld && this.findNext() === undefined
  }

  private take(): boolean {
    if (!this.isFree) return false
    return this.isHeld = true
  }

  private takeAs(turn: Turn): boolean {
    if (this.isHeld || this.findNext() !== turn) return false
    turn.isOver = true
    return this.isHeld = true
  }

  private get release(): Effect.Effect<void> {
    return Effect.sync(() => {
      this.isHeld = false
      this.wakeNext()
    })
  }

  /** Runs the effect when nobody else has the lock. */
  with<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.uninterruptibleMask((restore) => {
      const locked = Effect.ensuring(restore(effect), this.release)
      if (this.take()) return locked
      const turn: Turn = { wake: () => {}, isOver: false }
      if (this.waiting === nobody) this.waiting = []
      this.waiting.push(turn)
      const woken = Effect.async<void>((resume) => {
        turn.wake = () => resume(Effect.void)
        if (!this.isHeld && this.findNext() === turn) turn.wake()
      })
      const waited = Effect.whileLoop({
        while: () => !this.takeAs(turn),
        body: () => restore(woken),
        step: () => {}
      })
      const givenUp = Effect.sync(() => {
        turn.isOver = true
        this.wakeNext()
      })
      return Effect.zipRight(Effect.onInterrupt(waited, () => givenUp), locked)
    })
  }
}

/**
 * Runs the effect when `locked` comes to it, or `late` instead if that takes too long. Once begun it is not interrupted.
 *
 * @internal
 */
export const beginWithin = <A, E, R>(
  locked: (effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>,
  effect: Effect.Effect<A, E, R>,
  patience: Duration.DurationInput,
  late: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    let begun = false
    const work = locked(Effect.suspend(() => {
      begun = true
      return Effect.uninterruptible(effect)
    }))
    const tooLate = Effect.suspend(() => begun ? Effect.never : late)
    return Effect.raceFirst(work, Effect.zipRight(Effect.sleep(patience), tooLate))
  })

/**
 * A lock for each name, for as long as somebody has it or waits for it.
 *
 * @internal
 */
export class Locks {
  private readonly locks = new Map<string, { readonly lock: Lock; users: number }>()

  /** Runs the effect when nobody else has the lock of the name. */
  with<A, E, R>(name: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.uninterruptibleMask((restore) => {
      const found = this.locks.get(name) ?? { lock: new Lock(), users: 0 }
      if (found.users++ === 0) this.locks.set(name, found)
      return Effect.ensuring(
        restore(found.lock.with(effect)),
        Effect.sync(() => {
          if (--found.users === 0) this.locks.delete(name)
        })
      )
    })
  }

  /** Runs the effect if nobody has the lock of the name now, or `otherwise`. Once begun it is not interrupted. */
  ifFree<A, E, R>(
    name: string,
    effect: Effect.Effect<A, E, R>,
    otherwise: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E, R> {
    return Effect.uninterruptibleMask((restore) => this.locks.has(name) ? restore(otherwise) : this.with(name, effect))
  }

  /** Names whose lock somebody has, or waits for. */
  get size(): number {
    return this.locks.size
  }
}
