/**
 * Laws of a service, as data: to be run by any test runner, against any implementation.
 *
 * @since 1.0.0
 */
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Runtime from "effect/Runtime"

/**
 * An implementation does not keep a law.
 *
 * @since 1.0.0
 * @category errors
 */
export class LawBroken extends Data.TaggedError("LawBroken")<{
  readonly law: string
  readonly details: string
}> {
  override get message() {
    return `${this.law}\n${this.details}`
  }
}

/**
 * One law, and how to check it. Its name begins with its number in the service's documentation, if it has one.
 *
 * @since 1.0.0
 * @category models
 */
export interface Law<out E, out R> {
  readonly name: string
  readonly check: Effect.Effect<void, LawBroken | E, R>
}

/**
 * What all laws need of the implementation's surroundings.
 *
 * @since 1.0.0
 * @category models
 */
export interface LawOptions<R> {
  /** Lets time pass: `TestClock.adjust` for what follows the `Clock`, `Effect.sleep` for what has a clock of its own. */
  readonly wait: (millis: number) => Effect.Effect<unknown, never, R>
  /**
   * The unit of the times that laws try, in milliseconds: they wait for a few of it, and look half of it before and after
   * a limit. Where time is real, it should be long compared with an operation. Defaults to 1000.
   */
  readonly tick?: number | undefined
  /** Random runs of the comparison with the model. Defaults to 100. */
  readonly numRuns?: number | undefined
  /** Of the random runs. Defaults to a random one. */
  readonly seed?: number | undefined
}

/**
 * Fails if the two differ as JSON: absent and `undefined` are the same, and the order of keys does not matter.
 *
 * @internal
 */
export type Same = (what: string, actual: unknown, expected: unknown) => Effect.Effect<void, LawBroken>

const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => a < b ? -1 : 1))
      : inner) ?? "undefined"

/** @internal */
export const sameFor = (law: string): Same => (what, actual, expected) =>
  Effect.suspend(() => {
    const [is, should] = [canonical(actual), canonical(expected)]
    return is === should ? Effect.void : new LawBroken({ law, details: `${what}: ${is}, not ${should}` })
  })

/** @internal */
export const law = <E, R>(name: string, body: (same: Same) => Effect.Effect<unknown, LawBroken | E, R>): Law<E, R> => ({
  name,
  check: Effect.asVoid(Effect.suspend(() => body(sameFor(name))))
})

/** @internal */
export const tickOf = (options: { readonly tick?: number | undefined }): number => options.tick ?? 1000

/**
 * Milliseconds of the fiber's clock. Where only `wait` lets time pass, it may stand still.
 *
 * @internal
 */
export const millisNow: Effect.Effect<number> = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos) / 1e6)

/** How much longer than its waits a law may take, in ticks: it looks half of one before and after a limit. */
const allowance = 0.4

/** Ticks that are twice as long as the one before. */
const mostDoublings = 6

/**
 * Checks what depends on time. Where all took so long that the outcome says nothing, it is checked again, with a tick
 * that is twice as long.
 *
 * @internal
 */
export const inTime = <A, E, R, R2>(
  options: LawOptions<R2>,
  check: (tick: number, wait: (ticks: number) => Effect.Effect<unknown, never, R2>) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  const attempt = (tick: number, doublings: number): Effect.Effect<A, E, R> =>
    Effect.gen(function*() {
      let waited = 0
      const before = yield* millisNow
      const exit = yield* Effect.exit(check(tick, (ticks) => {
        waited += ticks * tick
        return options.wait(ticks * tick)
      }))
      const late = (yield* millisNow) - before - waited
      return yield* late > allowance * tick && doublings < mostDoublings ? attempt(2 * tick, doublings + 1) : exit
    })
  return attempt(tickOf(options), 0)
}

/**
 * A name that no earlier run has used: what an implementation keeps may outlive the run.
 *
 * @internal
 */
export const freshName: Effect.Effect<string> = Effect.map(
  Random.nextIntBetween(0, 2 ** 48),
  (number) => `law-${number.toString(36)}`
)

const patience = 40

/**
 * Waits until something holds that may take a while to arrive, for one tick at most.
 *
 * @internal
 */
export const eventually = <R>(options: LawOptions<R>, holds: () => boolean): Effect.Effect<void, never, R> => {
  let tries = 0
  return Effect.whileLoop({
    while: () => !holds() && tries < 2 * patience,
    body: () => tries++ < patience ? Effect.yieldNow() : options.wait(tickOf(options) / patience),
    step: () => {}
  })
}

/**
 * Runs a random property with the fibers' own surroundings.
 *
 * @internal
 */
export const checkProperty = <E, R>(
  law: string,
  check: (run: (effect: Effect.Effect<void, E, R>) => Promise<void>) => Promise<void>
): Effect.Effect<void, LawBroken, R> =>
  Effect.flatMap(Effect.runtime<R>(), (runtime) =>
    Effect.tryPromise({
      try: () => check(Runtime.runPromise(runtime)),
      catch: (error) => new LawBroken({ law, details: error instanceof Error ? error.message : String(error) })
    }))
