/**
 * How often a client may do something.
 *
 * @since 1.0.0
 */

/**
 * A token bucket that holds what a second brings.
 *
 * @internal
 */
export class RateLimit {
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
