/**
 * What is late, and what only was not read yet.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import type { RedisConfig } from "./RedisOptions.js"

/** @internal */
export const late = ({ commandTimeout }: RedisConfig): Error =>
  new Error(`Redis did not answer within ${commandTimeout} ms`)

/**
 * Calls when all is read that has come by now. After a turn of the event loop that took long, timers are due before
 * answers are read that are there already: who judges by a timer looks after this.
 *
 * @internal
 */
export const afterReading = (look: () => void): void => void setImmediate(look)

/** @internal */
export const reading: Effect.Effect<void> = Effect.async((resume) => afterReading(() => resume(Effect.void)))
