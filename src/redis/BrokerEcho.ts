/**
 * How long it takes until a publication is heard.
 *
 * @since 1.0.0
 */
import * as Metrics from "./RedisMetrics.js"
import type { RedisConfig } from "./RedisOptions.js"

/** Milliseconds from one measurement to the next: under load most publications are let pass. */
const pause = 100

/**
 * Measures what a node publishes and hears itself, so that no clocks are compared: one command at a time, which is known
 * again by what it says.
 *
 * @internal
 */
export class Echo {
  /** Whether the next command is measured. */
  isDue = false
  private channel: string | undefined
  private content = ""
  private sentAt = 0
  private dueAt = 0
  /** What is not heard by then is never heard: the connection would have been given up. */
  private readonly patience: number

  constructor({ commandTimeout, pingInterval }: RedisConfig) {
    this.patience = pingInterval + commandTimeout
  }

  /** Once for all that goes out together. */
  look(): void {
    this.isDue = performance.now() >= this.dueAt
  }

  sent(channel: string, content: string): void {
    this.isDue = false
    this.channel = channel
    this.content = content
    this.sentAt = performance.now()
    this.dueAt = this.sentAt + this.patience
  }

  heard(channel: string, message: string): void {
    if (channel !== this.channel || !message.endsWith(this.content)) return
    const now = performance.now()
    Metrics.receive.unsafeUpdate((now - this.sentAt) / 1000, [])
    this.end(now + pause)
  }

  /** Of this channel something failed, or may be missed. */
  forget(channel: string): void {
    if (channel === this.channel) this.end(0)
  }

  private end(dueAt: number): void {
    this.channel = undefined
    this.content = ""
    this.dueAt = dueAt
  }
}
