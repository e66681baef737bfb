/**
 * The pings that a client is sent, and the pongs that it owes.
 *
 * @since 1.0.0
 */
import * as ChannelMetrics from "./ChannelMetrics.js"
import type { ChannelsConfig } from "./ChannelsConfig.js"

type Times = Pick<ChannelsConfig, "pingInterval" | "pongTimeout">

/** @internal */
export class Heartbeat {
  /** When the next ping is sent. */
  private pingAt = Infinity
  /** Pings that wait for their pong. */
  private pings = 0
  private pongAt = Infinity

  /** With a random part, so that many clients do not act at once. */
  start(now: number, { pingInterval }: Times): void {
    if (pingInterval > 0) this.pingAt = now + pingInterval * (0.5 + Math.random() / 2)
  }

  /** Whether a ping is to be sent now. */
  beat(now: number, { pingInterval, pongTimeout }: Times): boolean {
    if (now < this.pingAt) return false
    this.pingAt = now + pingInterval
    this.pongAt = Math.min(this.pongAt, now + pongTimeout)
    this.pings++
    return true
  }

  /** Whether a pong is late. */
  isLost(now: number): boolean {
    return now >= this.pongAt
  }

  /** A pong came. Whether there was a ping for it. */
  take(now: number, { pingInterval, pongTimeout }: Times): boolean {
    if (this.pings === 0) return false
    if (this.pings === 1) ChannelMetrics.pongLatency.unsafeUpdate((now - this.pingAt + pingInterval) / 1000, [])
    this.pongAt = --this.pings === 0 ? Infinity : now + pongTimeout
    return true
  }
}
