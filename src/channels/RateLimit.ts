/**
 * How often a client may do something.
 *
 * @since 1.0.0
 */

/** A token bucket that holds what a second brings. */
class RateLimit {
  private tokens: number
  private at: number
  private readonly perSecond: number

  constructor(perSecond: number, now: number) {
    this.perSecond = perSecond
    this.tokens = perSecond
    this.at = now
  }

  /** Takes one, if there is one. Time in milliseconds. */
  take(now: number): boolean {
    this.tokens = Math.min(this.perSecond, this.tokens + (now - this.at) * this.perSecond / 1000)
    this.at = now
    if (this.tokens < 1) return false
    this.tokens--
    return true
  }
}

/**
 * A bucket for each thing that a client may do only so often.
 *
 * @internal
 */
export class RateLimits {
  private readonly buckets = new Map<string, RateLimit>()

  /** Takes one of what is named so. Time in milliseconds. */
  take(name: string, perSecond: number, now: number): boolean {
    let bucket = this.buckets.get(name)
    if (bucket === undefined) this.buckets.set(name, bucket = new RateLimit(perSecond, now))
    return bucket.take(now)
  }
}
