/**
 * A client's presence is a lease: it ends unless the session renews it.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import type { ProtocolError } from "./ProtocolCode.js"
import type { Session } from "./Session.js"
import * as Subscribing from "./Subscribing.js"
import type { Subscription } from "./Subscription.js"

/** @internal */
export class PresenceLease {
  private readonly session: Session
  private renewAt = Infinity

  constructor(session: Session) {
    this.session = session
  }

  /** With a random part, so that many clients do not act at once. */
  start(now: number): void {
    this.renewAt = now + this.session.node.config.presenceInterval * (0.5 + Math.random() / 2)
  }

  /** It may be lost. Within a quarter of the interval, so that many sessions do not do it at once. */
  renewSoon(): void {
    const { config: { presenceInterval }, now } = this.session.node
    const soon = presenceInterval / 4
    // One that is soon already stays, in how many channels ever it was lost.
    if (this.renewAt > now() + soon) this.renewAt = now() + Math.random() * soon
  }

  /** Renews it in all channels, if it is time. */
  look(now: number): void {
    if (now < this.renewAt) return
    const { node, subscriptions } = this.session
    this.renewAt = now + node.config.presenceInterval
    const present = [...subscriptions.values()].filter(({ present }) => present)
    if (present.length === 0) return
    const busy = Effect.sync(() => this.renewSoon())
    node.fork(
      Effect.forEach(
        present,
        (subscription) => this.session.ifFree(subscription.channel, this.renew(subscription), busy),
        {
          discard: true
        }
      )
    )
  }

  private renew(subscription: Subscription): Effect.Effect<void> {
    return Effect.suspend(() => subscription.status === "Live" ? Subscribing.addPresence(subscription) : Effect.void)
      .pipe(
        Effect.catchAll((error: ProtocolError) => {
          this.renewSoon()
          return this.session.node.faults.complain("presence", error)
        })
      )
  }
}
