/**
 * How much may wait for Redis.
 *
 * @since 1.0.0
 */
import type { RedisConfig } from "./RedisOptions.js"

/** @internal */
export const unitsOf = (args: ReadonlyArray<string>): number => {
  let units = 0
  for (const arg of args) units += arg.length
  return units
}

/**
 * What waits for an answer, also if nobody waits for the answer any more.
 *
 * @internal
 */
export class RedisBound {
  private count = 0
  private units = 0
  private readonly config: RedisConfig

  constructor(config: RedisConfig) {
    this.config = config
  }

  /** Why no more is taken now. */
  get refusal(): Error | undefined {
    const { config, count, units } = this
    if (count < config.maxPending && units < config.maxPendingUnits) return undefined
    const what = count >= config.maxPending ? `${count} commands` : `${units} characters`
    return new Error(`Redis is too slow: it has not answered ${what}`)
  }

  /** `weight`: how many publications it is. */
  add(weight: number, units: number): void {
    this.count += weight
    this.units += units
  }

  remove(weight: number, units: number): void {
    this.count -= weight
    this.units -= units
  }
}
